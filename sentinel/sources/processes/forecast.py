"""Forecast of a server's memory: its minimum need, how much of that it holds, and what is left for the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from sentinel.memory.requirement import Need
from sentinel.model.entity import Unknown, Value
from sentinel.sources import gpu_nodes
from sentinel.sources.fs import Roots
from sentinel.sources.processes import requirement
from sentinel.sources.processes.headroom import Room, room
from sentinel.sources.processes.server_process import ServerProcess

_NEED = (
    "need_bytes", "need_weights_bytes", "need_locked_bytes", "need_cache_bytes", "need_cache_token_bytes", "need_ctx",
    "need_compute_bytes", "need_left_out",
)  # fmt: skip
_ROOM = ("memory_left_bytes", "memory_left_where", "swap_left_bytes", "brake_left_bytes", "brake_left_where")
#: A GPU may pin host pages that no account of the process shows; what it took is then the memory the machine lost since the
#: server's start, which must have been observed from the start. Seconds.
_FROM_THE_START = 10.0


@dataclass(slots=True)
class Outlook:
    """Kept per process. `unfinished`: it holds less than it needs, so the load continues."""

    need: Need | Unknown | None = None
    lock_limit: int | Unknown = Unknown("not read yet")  # noqa: RUF009 - Unknown is frozen
    unfinished: bool = True
    _gpu: bool = False
    #: headroom plus own memory when first seen
    _first: int | None = field(default=None)

    def requirement(self, roots: Roots, server: ServerProcess) -> dict[str, Value | Unknown]:
        """Signals ``server.need_*`` and ``server.lock_limit_bytes``; read once, because neither changes."""
        if self.need is not None:
            return {}
        unreadable = "" if server.values.get("server.argv_readable") is True else "its environment cannot be read"
        memlock = server.values.get("server.memlock_limit_bytes", Unknown("its limits cannot be read"))
        limit = memlock if isinstance(memlock, int | Unknown) else Unknown("its limits cannot be read")
        self.lock_limit = requirement.lock_limit(roots, server.pid, limit)
        self.need = found = requirement.needed(roots, server.requested, server.model, self.lock_limit, unreadable)
        self._gpu = gpu_nodes.any_node(roots)
        values: dict[str, Value | Unknown] = {"server.lock_limit_bytes": self.lock_limit}
        if isinstance(found, Unknown):
            return values | {f"server.{name}": found for name in _NEED}
        return values | {
            "server.need_bytes": found.total,
            "server.need_weights_bytes": found.weights_bytes,
            "server.need_locked_bytes": found.locked_bytes,
            "server.need_cache_bytes": found.cache_bytes,
            "server.need_cache_token_bytes": found.cache_token_bytes,
            "server.need_ctx": found.ctx,
            "server.need_compute_bytes": found.compute_bytes,
            "server.need_left_out": found.left_out,
        }

    def room(self, roots: Roots, server: ServerProcess) -> Room | Unknown:
        """Read before the process's own memory: what it takes in between must not look like a shortage."""
        return room(roots, server.member)

    def held(self, found: Room | Unknown, values: dict[str, Value | Unknown], age: float) -> dict[str, Value | Unknown]:
        """Signals of the headroom, and ``server.firm_bytes``: the process's unreclaimable memory."""
        unreclaimable = unreclaimable_bytes(values)
        signals: dict[str, Value | Unknown] = {"server.firm_bytes": unreclaimable}
        if isinstance(found, Unknown):
            self.unfinished = False
            return signals | {f"server.{name}": found for name in _ROOM}
        signals |= {
            "server.memory_left_bytes": found.left_bytes,
            "server.memory_left_where": found.where,
            "server.swap_left_bytes": found.swap_bytes,
            "server.brake_left_bytes": found.memory_high_bytes,
            "server.brake_left_where": found.memory_high_where,
        }
        if isinstance(unreclaimable, Unknown):
            return signals
        if self._first is None:
            self._first = found.left_bytes + unreclaimable if not self._gpu or age < _FROM_THE_START else -1
        if self._gpu and self._first < 0:
            signals["server.firm_bytes"] = Unknown(
                "the load had begun before sentinel looked, and memory pinned for a GPU shows in no account of the process"
            )
        elif self._gpu:
            signals["server.firm_bytes"] = unreclaimable = max(unreclaimable, self._first - found.left_bytes)
        if isinstance(self.need, Need):
            self.unfinished = unreclaimable < self.need.total
        return signals


def unreclaimable_bytes(values: dict[str, Value | Unknown]) -> int | Unknown:
    """Anonymous, shared and locked memory, including what of it is swapped out."""
    names = ("rss_anon_bytes", "rss_shmem_bytes", "locked_bytes", "rss_file_bytes", "swap_bytes")
    numbers = []
    for name in names:
        value = values[f"server.{name}"]
        if isinstance(value, Unknown):
            return value
        numbers.append(int(value))
    anon, shmem, locked, file, swapped = numbers
    # locked memory is the mapped file if the weights are mapped, and part of the anonymous memory if not
    return anon + shmem + min(locked, file) + swapped
