"""The time of the lines of saved logs: from a wall-clock prefix, else from llama-server's own timestamps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sentinel.diagnose.senders import Line
from sentinel.engine.log.envelope import strip
from sentinel.model.alert import Transition

#: How a rule names the window that it counts in; how often a start failed in it is not known without times either.
_SPAN = re.compile(r"(?:(?:, \d+ times)? in ten minutes| in (?:(?:the last )?15 min(?:utes)?|24 hours))\b")
_STAMP = re.compile(rb"(?:\[ {0,4}(\d{1,5})\] )?(?:\x1b\[[\d;]*m)*(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3})[ \x1b]")
#: Lines of 2024's builds, with the time inside the line.
_DATED_WITHIN = (b"{", b"INFO", b"WARN", b" ERR", b"time=", b"ERR")


@dataclass(slots=True)
class LogClock:
    """Maps lines to the engine's clock. Monotonic."""

    #: the start of undated time
    base: float
    dated: bool
    at: float = 0.0
    _origin: float | None = None
    #: of each process: the origin of its timestamps, and the last one
    _stamps: dict[tuple[str, int | None], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = self.base

    def shift(self, seconds: float) -> None:
        """Move undated time forward."""
        self.base += seconds
        if not self.dated:
            self.at += seconds

    def of(self, line: Line, who: str) -> float:
        """The time of a line."""
        now = self._wall(line)
        if now is None:
            now = self._elapsed(line.text, who) if line.kind == "llama-server" else None
        self.at = self.at if now is None else max(self.at, now)
        return self.at

    def comparable(self, line: Line) -> bool:
        """Whether the line's time is comparable with those of the other lines."""
        return line.epoch is not None if self.dated else line.local is not None and self._origin is not None

    def of_other(self, line: Line) -> float:
        """The time of a line of another log, without advancing the clock."""
        now = self._wall(line)
        return self.at if now is None else now

    def starts_at(self, local: float) -> None:
        """Set the origin: the first local time without a zone."""
        self._origin = local if self._origin is None else self._origin

    def _wall(self, line: Line) -> float | None:
        if self.dated:
            if line.epoch is not None:
                return line.epoch
            if line.text.startswith(_DATED_WITHIN):
                return strip(line.text[:4096].decode("utf-8", "replace")).wall
            return None
        if line.local is None:
            return None
        self.starts_at(line.local)
        return self.base + max(0.0, line.local - (self._origin or 0.0))

    def _elapsed(self, text: bytes, who: str) -> float | None:
        match = _STAMP.match(text)
        if match is None:
            return None
        elapsed = int(match[2]) * 60 + int(match[3]) + int(match[4]) / 1e3
        process = who, None if match[1] is None else int(match[1])
        offset, last = self._stamps.get(process, (0.0, 0.0))
        if process[1] is not None and (process not in self._stamps or elapsed < last):
            # A child's timestamps count from its own start, which is now.
            offset = self.at - self.base - elapsed
        elif elapsed < last:
            offset += last
        self._stamps[process] = offset, elapsed
        return self.base + offset + elapsed


def begins(lines: Iterable[Line]) -> float | None:
    """The first absolute time; None if no line has a time with a zone."""
    for line in lines:
        if line.local is not None:
            return None
        if line.epoch is not None:
            return line.epoch
        wall = strip(line.text.decode("utf-8", "replace")).wall
        if wall is not None:
            return wall
    return None


def undated(transition: Transition) -> Transition:
    """The transition for a log without dates: its times mean nothing to a reader, and neither do spans of time in its words."""
    cause = transition.cause
    return replace(
        transition,
        at=None,
        since=None,
        summary=_SPAN.sub("", transition.summary),
        cause=None if cause is None else replace(cause, text=_SPAN.sub("", cause.text)),
    )
