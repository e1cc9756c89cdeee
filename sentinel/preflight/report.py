"""The result of a preflight as plain data; the JSON and the text output are made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentinel.llama.settings import Item
from sentinel.memory.fit import FitNote, FitVerdict
from sentinel.preflight.machine import Machine
from sentinel.preflight.suggest import Suggestion

API_VERSION = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """What a limit leaves for the command, in bytes. `what` is a key: MemAvailable, cgroup:/..., memlock, vram-free."""

    place: str
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """`command` and `model` name what was judged; `missing` is what a better answer would need to know."""

    verdict: FitVerdict
    whys: tuple[FitNote, ...]
    memory: tuple[Item, ...] = ()
    limits: tuple[Limit, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    missing: tuple[str, ...] = ()
    argv: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The documented keys of a preflight."""
        return {
            "api_version": API_VERSION,
            "verdict": self.verdict,
            "why": [_why(why) for why in self.whys],
            "memory": [_item(item) for item in self.memory],
            "limits": [{"place": limit.place, "what": limit.what, "bytes": limit.bytes} for limit in self.limits],
            "suggestions": [
                {"argv": list(one.argv), "memory": [_item(item) for item in one.memory], "why": one.why}
                for one in self.suggestions
            ],
            "missing": list(self.missing),
        }


def limits_of(machine: Machine) -> tuple[Limit, ...]:
    """Every limit that applies, the devices first."""
    found = []
    if isinstance(machine.gpus, tuple):
        found += [Limit(gpu.name, "vram-free", gpu.free_bytes) for gpu in machine.gpus if gpu.free_bytes is not None]
    found += [Limit("host", what, left) for what, left in machine.ceilings]
    if isinstance(machine.lock_limit, int) and machine.lock_limit >= 0:
        found.append(Limit("host", "memlock", machine.lock_limit))
    found.append(Limit("host", "swap-free", machine.swap_bytes))
    return tuple(found)


def _why(why: FitNote) -> dict[str, Any]:
    found: dict[str, Any] = {"id": why.id, "text": why.text}
    return found if why.at_share is None else found | {"at_share": why.at_share}


def _item(item: Item) -> dict[str, Any]:
    return {
        "place": item.place,
        "kind": item.kind,
        "bytes": item.bytes,
        "low": item.low,
        "high": item.high,
        "locked": item.locked,
        "mapped": item.mapped,
    }
