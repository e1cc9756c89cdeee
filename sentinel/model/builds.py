"""Ranges of llama.cpp builds, and operations on them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_RANGE = re.compile(r"(?:b(\d{1,9}))?-(?:b(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class BuildRange:
    """llama.cpp build numbers, both ends included; None is open. ``b5000-`` is BuildRange(5000, None)."""

    low: int | None = None
    high: int | None = None

    @classmethod
    def parse(cls, text: str) -> BuildRange | None:
        """``b5000-``, ``-b5300``, ``b3942-b5300`` or ``any``; None for another text."""
        if text == "any":
            return ANY
        match = _RANGE.fullmatch(text)
        if match is None or text == "-":
            return None
        low, high = (int(end) if end else None for end in match.groups())
        return cls(low, high)

    @classmethod
    def of(cls, build: int | None) -> BuildRange:
        """The range of one build; any if it is unknown."""
        return cls(build, build)

    def __str__(self) -> str:
        if self == ANY:
            return "any"
        low = "" if self.low is None else f"b{self.low}"
        return f"{low}-" if self.high is None else f"{low}-b{self.high}"

    @property
    def words(self) -> str:
        """For people: ``b10884 and newer``, ``up to b10883``, ``b3942 to b5300``."""
        if self.low is None:
            return "any build" if self.high is None else f"up to b{self.high}"
        if self.low == self.high:
            return f"b{self.low}"
        return f"b{self.low} and newer" if self.high is None else f"b{self.low} to b{self.high}"

    @property
    def is_empty(self) -> bool:
        """The first build is after the last."""
        return self.low is not None and self.high is not None and self.low > self.high

    def __contains__(self, build: int) -> bool:
        return (self.low is None or self.low <= build) and (self.high is None or build <= self.high)

    def __and__(self, other: BuildRange) -> BuildRange:
        """The builds in both; empty if they have none in common."""
        lows = [end for end in (self.low, other.low) if end is not None]
        highs = [end for end in (self.high, other.high) if end is not None]
        return BuildRange(max(lows, default=None), min(highs, default=None))

    def overlaps(self, other: BuildRange) -> bool:
        """Neither range ends before the other begins: they share a build, unless one is empty."""
        beyond = self.high is not None and other.low is not None and other.low > self.high
        return not beyond and not (self.low is not None and other.high is not None and other.high < self.low)

    def covers(self, other: BuildRange) -> bool:
        """Every build of the other is in this one."""
        return self & other == other

    def is_before(self, build: int) -> bool:
        """All of it is older than the build."""
        return self.high is not None and self.high < build

    def is_from(self, build: int) -> bool:
        """All of it is the build or newer."""
        return self.low is not None and self.low >= build


ANY = BuildRange()


def common(ranges: Iterable[BuildRange]) -> BuildRange | None:
    """The builds that are in every range; None if there are none."""
    both = ANY
    for one in ranges:
        both &= one
    return None if both.is_empty else both
