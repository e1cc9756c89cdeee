"""llama.cpp build numbers and ranges of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildRange:
    """llama.cpp build numbers, both ends included; None is open. ``b5000-`` is BuildRange(5000, None)."""

    low: int | None
    high: int | None

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "any"
        low = "" if self.low is None else f"b{self.low}"
        return f"{low}-" if self.high is None else f"{low}-b{self.high}"

    @property
    def words(self) -> str:
        """For people: ``b10884 and newer``, ``up to b10883``, ``b3942 to b5300``."""
        if self.low is None:
            return "any build" if self.high is None else f"up to b{self.high}"
        return f"b{self.low} and newer" if self.high is None else f"b{self.low} to b{self.high}"
