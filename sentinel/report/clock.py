"""Times of a page: in the zone of the machine that it is about, wherever it is read. Pure."""

from __future__ import annotations

from datetime import timedelta, timezone

from sentinel.terminal.times import clock, moment

#: In a page of less, seconds distinguish times.
_SHORT = 1800


class Clock:
    """Says when: the time, with the date in a page of more than one day; in a log without dates, how long after its begin."""

    def __init__(self, offset: int, begin: float, end: float, *, relative: bool = False) -> None:
        self._zone = timezone(timedelta(seconds=offset))
        self._origin = begin if relative else None
        days = moment(begin, self._zone, "%Y-%m-%d") != moment(end, self._zone, "%Y-%m-%d")
        self._form = "%d %b %H:%M" if days else "%H:%M" if end - begin > _SHORT else "%H:%M:%S"

    def __call__(self, at: float) -> str:
        """``16:05``, ``23 Nov 16:05`` or ``16:05:12``, as the page's length needs; ``+0:12:05``."""
        if self._origin is not None:
            minutes, seconds = divmod(round(max(at - self._origin, 0.0)), 60)
            return f"+{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        return moment(at, self._zone, self._form)

    def exact(self, at: float) -> str:
        """``2026-11-23 16:05:12``."""
        return clock(at, None, self._zone)
