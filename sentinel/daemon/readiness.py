"""Notifies the service manager: readiness, the watchdog's keep-alive, and a one-line status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sentinel.daemon import systemd
from sentinel.daemon.supervisor import SourceState
from sentinel.engine.engine import Engine
from sentinel.model.alert import SEVERITY_RANK
from sentinel.model.text import counted, escape

#: Names in the line of `systemctl status`; the rest is counted.
_SHOWN = 3
_LONGEST_NAME = 60


class Readiness:
    """Driven by the ticks that the engine processed: a running event loop with a stalled engine sends nothing."""

    def __init__(self, interval: float | None, notify: Callable[..., object] = systemd.notify) -> None:
        #: seconds between keep-alives, None without a watchdog
        self._interval = interval
        self._notify = notify
        self._fed = float("-inf")
        self._status = ""
        self._looked = False
        self._ready = False

    def begin(self) -> None:
        """The rules are loaded and the earlier run's state is restored."""
        self._notify("STATUS=the rules are loaded; the first look at servers, logs, GPUs and the kernel")

    def looked(self, states: Iterable[SourceState]) -> None:
        """Call before a tick goes to the engine: notes whether every source has reported by then, readings or a fault."""
        self._looked = self._looked or all(state.health != "starting" for state in states)

    def took_tick(self, now: float, status: str) -> bool:
        """The engine has processed a tick and everything before it. Returns whether this made the daemon ready.

        `now` is in seconds of a monotonic clock.
        """
        messages = []
        became = self._looked and not self._ready
        if became:
            self._ready = True
            messages.append("READY=1")
        if self._interval is not None and now - self._fed >= self._interval:
            self._fed = now
            messages.append("WATCHDOG=1")
        if self._ready and status != self._status:
            self._status = status
            messages.append(f"STATUS={status}")
        if messages:
            self._notify(*messages)
        return became


def headline(engine: Engine, now: float, failed: Sequence[str], troubles: Sequence[str]) -> str:
    """One line: what is watched, what fires (worst first, silenced alerts left out), unreadable sources, and other troubles."""
    servers = sum(1 for run in engine.state.runs.values() if run.exact and not run.gone)
    gpus = sum(1 for entity in engine.state.facts.entities() if entity.scope == "gpu")
    watched = counted(servers, "server") + (f", {counted(gpus, 'GPU')}" if gpus else "")
    firing = [record for record in engine.book.open() if record.state == "firing"]
    loud = [r for r in firing if engine.silences.covering(r.rule, r.entity, now) is None]
    rules = engine.ruleset.rules
    loud.sort(key=lambda r: (SEVERITY_RANK[rules[r.rule].rule.severity_of(r.notice.cause)], r.rule, r.entity.name))
    names = [f"{r.rule} ({_short(r.entity.name)})" if r.entity.name else r.rule for r in loud]
    parts = [watched, f"firing: {_list(names)}" if names else "no alert"]
    if len(firing) > len(loud):
        parts.append(f"{len(firing) - len(loud)} silenced")
    if failed:
        parts.append(f"cannot read: {_list([_short(name) for name in sorted(failed)])}")
    return "; ".join([*parts, *troubles])


def _list(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    shown = escape(name)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 3] + "..."
