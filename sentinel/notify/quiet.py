"""Quiet hours: times of the local day in which only what is urgent is sent."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

_RANGE = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")


def parse(text: str) -> tuple[int, int] | None:
    """First and last-but-one minute of the day of ``22:00-07:00``; None if it is no range of time."""
    found = _RANGE.match(text)
    if found is None:
        return None
    hour, minute, until_hour, until_minute = map(int, found.groups())
    span = hour * 60 + minute, until_hour * 60 + until_minute
    return None if span[0] == span[1] else span


@dataclass(frozen=True, slots=True)
class Quiet:
    """Ranges of minutes of the day; one may go over midnight."""

    spans: tuple[tuple[int, int], ...] = ()
    local: Callable[[float], time.struct_time] = time.localtime

    def at(self, wall: float) -> bool:
        """Whether that moment is in quiet hours."""
        if not self.spans:
            return False
        here = self.local(wall)
        minute = here.tm_hour * 60 + here.tm_min
        return any(first <= minute < last if first < last else minute >= first or minute < last for first, last in self.spans)
