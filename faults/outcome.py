"""What a fault came to."""

from __future__ import annotations

from dataclasses import dataclass

from faults.campaign import Row


@dataclass
class Outcome(Row):
    """One row of the table of faults."""

    #: what was lost, or delivered twice
    lost: str = "nothing"
    #: seconds from the end of the fault until all was well again; None where there is no such moment
    well_after: float | None = None

    @property
    def figures(self) -> tuple[str, ...]:
        return ("-" if self.well_after is None else f"{self.well_after:.1f} s",)

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        return (("lost", self.lost),)
