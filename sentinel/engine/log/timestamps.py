"""When a line was printed: by a wall clock in it, by llama-server's own stamp (seconds since its process began), or when read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sentinel.engine.log.claims import Matched
from sentinel.model.input_limits import MOST_LOG_CLOCKS
from sentinel.model.reading import ClaimedLines, LogLines

#: A stamp that much ahead of the clock, of a process that young, is of the process before: its last lines were read when the next
#: was known already. Later the clock may have been set since. Seconds.
_AHEAD, _YOUNG = 2.0, 30.0


@dataclass(slots=True)
class _Clock:
    base: float
    elapsed: float
    stale: bool = False


class Stamps:
    """Remembers for each log its last stamp: the stamps of the next run start again at zero, up to a second before its process is
    seen, and counted from the start of the previous run they would date back by that run's whole duration.
    """

    def __init__(self) -> None:
        self._clocks: dict[str, _Clock] = {}

    def time_of(self, reading: LogLines | ClaimedLines, match: Matched, *, process: float | None = None) -> float:
        """Seconds since the epoch; never later than the reading. Call it once for each line, in order; where neither the line has
        a wall clock nor the reading a base, it is the reading's.

        `process` is the start of the server's process as far as it is known: its first lines are often read before it is.
        """
        if match.wall is not None:
            return min(match.wall, reading.at)
        base = reading.elapsed_base
        if base is None or (elapsed := match.elapsed) is None:
            return reading.at
        if base + elapsed > reading.at + _AHEAD and reading.at - base < _YOUNG and not reading.backlog:
            return min(base - 1.0, reading.at)
        clock = self._clocks.get(reading.source)
        if clock is None or clock.base != base:
            if len(self._clocks) >= MOST_LOG_CLOCKS:
                self._clocks.clear()
            clock = self._clocks[reading.source] = _Clock(base, elapsed)
        elif elapsed < clock.elapsed and not reading.backlog:
            # One process stamps its lines in order. A start that fails early prints no line that begins a run, and on a quick
            # machine all of its lines are read before the end of the process before it is known.
            clock.stale = True
        clock.elapsed = elapsed
        if clock.stale:
            return min(process + elapsed, reading.at) if process is not None and process > base else reading.at
        return min(base + elapsed, reading.at)

    def dump(self) -> list[tuple[str, float, float, bool]]:
        """Plain data for a snapshot: log, start that its stamps count from, last stamp, whether they count from a later start."""
        return [(log, clock.base, clock.elapsed, clock.stale) for log, clock in self._clocks.items()]

    def load(self, rows: Iterable[tuple[str, float, float, bool]]) -> None:
        """Restore what `dump` returned."""
        self._clocks = {log: _Clock(base, elapsed, stale) for log, base, elapsed, stale in rows}
