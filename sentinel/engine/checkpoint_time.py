"""Shifts a checkpoint's times after the wall clock was set, or after a pause in observation. Pure, on a checkpoint's plain data.

The wall clock may have been set between two runs: without this an alert's hold would begin in the future and last for a day,
and a silence of an hour would be over at once, or last until tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sentinel.engine.facts.catalogue import CATALOGUE

#: A pause of at most this long changes nothing: the max age of facts is longer. Seconds.
SHORT = 10.0
#: The boot clock and the wall clock are read one after the other, and NTP moves them apart by that much. Seconds.
_SAME = 2.0

_LIFE = ("since", "matched_at", "clear_since", "spent_at")


def set_by(saved: Mapping[str, Any], now: float, since_boot: float, boot_id: str) -> float:
    """Seconds by which the wall clock was set between the checkpoint and `now`; positive: forward.

    Within one boot the boot clock shows it. After a reboot only a clock that went back is certain.
    """
    if boot_id and saved["boot_id"] == boot_id:
        ahead = now - float(saved["at"]) - (since_boot - float(saved["since_boot"]))
        return ahead if abs(ahead) > _SAME else 0.0
    return min(0.0, now - float(saved["at"]))


def rebase(engine: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What `Engine.dump` returned, with every time shifted by so many seconds."""
    return {
        **engine,
        "facts": [
            [scope, name, signal, value + seconds if _is_time(signal, value) else value, at + seconds, source]
            for scope, name, signal, value, at, source in engine["facts"]
        ],
        "events": [[at + seconds, *rest] for at, *rest in engine["events"]],
        "runs": [
            [scope, name, start + seconds, pid, exact, gone, gone_at + seconds]
            for scope, name, start, pid, exact, gone, gone_at in engine["runs"]
        ],
        "alerts": [_alert(row, seconds) for row in engine["alerts"]],
    }


def _is_time(signal: str, value: object) -> bool:
    known = CATALOGUE.get(signal)
    return known is not None and known.unit == "epoch s" and isinstance(value, int | float)


def _alert(row: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    moved = {**row, "life": _moved(row["life"], _LIFE, seconds)}
    if row.get("gate") is not None:
        moved["gate"] = _moved(row["gate"], ("not_before",), seconds)
    if row.get("flaps") is not None:
        flaps = _moved(row["flaps"], ("since", "moved_at"), seconds)
        moved["flaps"] = {**flaps, "times": [at + seconds for at in flaps["times"]]}
    return moved


def rebase_silences(silences: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What `Silences.dump` returned, shifted: a silence of two hours lasts two hours, whatever the clock is set to."""
    return {**silences, "silences": [_moved(row, ("at", "until"), seconds) for row in silences["silences"]]}


def postpone(engine: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What `Engine.dump` returned, after a pause of so many seconds: a hold time counts only observed time."""
    rows = []
    for row in engine["alerts"]:
        life = row["life"]
        late = ("since",) if life.get("state") == "pending" else ("clear_since",)
        rows.append({**row, "life": _moved(life, late, seconds)})
    return {**engine, "alerts": rows}


def _moved(values: Mapping[str, Any], names: Iterable[str], seconds: float) -> dict[str, Any]:
    return {**values, **{name: values[name] + seconds for name in names if values.get(name) is not None}}
