"""What a fault came to, and the table of all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Columns of a line of the table; a terminal of a hundred columns holds it.
_WIDTH = 100


@dataclass
class Outcome:
    """One row. What is wrong is a list of sentences: an empty one is a pass."""

    #: what was done to it, with the numbers
    did: str
    #: what was lost, or delivered twice
    lost: str = "nothing"
    #: the message that a person sees
    said: str = ""
    #: seconds from the end of the fault until all was well again; None where there is no such moment
    well_after: float | None = None
    #: figures that the row rests on
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    #: why it could not be tried here
    skipped: str = ""

    def expect(self, holds: object, otherwise: str) -> None:
        """A claim of the row."""
        if not holds:
            self.wrong.append(otherwise)

    @property
    def verdict(self) -> str:
        """One word."""
        if self.skipped:
            return "skipped"
        return "FAIL" if self.wrong else "pass"

    @property
    def well(self) -> str:
        """The last column but one."""
        return "-" if self.well_after is None else f"{self.well_after:.1f} s"


def table(rows: Iterable[tuple[str, Outcome]]) -> str:
    """All rows as text: name, time and verdict on one line, what was done, lost and said below it."""
    lines = [f"{'fault':<24}{'well again after':>18}{'result':>10}", "-" * _WIDTH]
    for name, row in rows:
        lines.append(f"{name:<24}{row.well:>18}{row.verdict:>10}")
        facts = (
            [("skipped", row.skipped)] if row.skipped else [("did", row.did), ("lost", row.lost), ("said", row.said or "nothing")]
        )
        facts += [("", note) for note in row.notes] + [("WRONG", wrong) for wrong in row.wrong]
        for label, text in facts:
            lines += textwrap.wrap(text, _WIDTH, initial_indent=f"    {label:<8}", subsequent_indent=" " * 12)
    return "\n".join(lines)


def markdown(rows: Iterable[tuple[str, Outcome]]) -> str:
    """The same for a page."""
    lines = ["| fault | what was done | lost | said | well again after | result |", "|---|---|---|---|---:|---|"]
    for name, row in rows:
        did = "; ".join([row.skipped or row.did, *row.notes, *row.wrong])
        cells = (name, did, row.lost, row.said or "nothing", row.well, row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)
