"""Transitions of the history as alerts: one row from the time it fired to the time it was over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sentinel.model.text import duration, escape
from sentinel.terminal.names import of_alert, without_name
from sentinel.terminal.style import Style
from sentinel.terminal.times import clock, seconds_of

_HEAD = ("SINCE", "LASTED", "", "RULE", "SERVER", "WHAT")
_SHORT = {"critical": "CRIT", "warning": "WARN"}


class Episode(NamedTuple):
    """An alert from firing to its end. `began` is None where the history begins after it, `ended` while it is open."""

    last: Mapping[str, Any]
    severity: str
    began: float | None
    ended: float | None
    silenced: bool


def episodes(transitions: Iterable[Mapping[str, Any]]) -> list[Episode]:
    """Oldest first. What was pending and never fired is left out: it notified no one."""
    done: list[Episode] = []
    running: dict[str, Episode] = {}
    for one in transitions:
        key, at = one["fingerprint"], seconds_of(one.get("at"))
        before = running.get(key)
        if one["state"] == "firing":
            silenced = bool(one.get("silenced"))
            began = at if before is None else before.began
            running[key] = Episode(one, one["severity"], began, None, silenced)
        elif one["state"] == "resolved" and one["previous"] == "firing":
            running.pop(key, None)
            if before is None:
                # It fired before the time that was asked for.
                before = Episode(one, one["severity"], None, None, silenced=False)
            done.append(before._replace(ended=at))
    return sorted([*done, *running.values()], key=lambda one: one.began or one.ended or 0.0)


def rows_of(found: Iterable[Episode], style: Style, now: float) -> list[tuple[str, ...]]:
    """The table, its head first."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for one in found:
        since = clock(one.began, now, style.zone, "%H:%M") if one.began is not None else "before"
        end = "open" if one.ended is None else duration(one.ended - one.began) if one.began is not None else "?"
        severity = "mute" if one.silenced else _SHORT.get(one.severity, one.severity)
        what = without_name(one.last)
        rows.append((since, end, severity, escape(one.last["rule"]), of_alert(one.last), what))
    return rows
