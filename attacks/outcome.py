"""What an attack came to, and the table of all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

#: What no attack may do: megabytes of the daemon at its peak, seconds of a wait for the API, seconds until an alert of an honest
#: server was notified. The unit is killed at 128 MB.
MOST_MB = 100.0
MOST_WAIT = 1.0
MOST_ALERT = 5.0
_WIDTH = 100


@dataclass
class Attack:
    """One row. What is wrong is a list of sentences: an empty one is a pass."""

    #: what the attacker did, with the numbers
    did: str
    #: peak of the daemon's resident memory, MB
    peak: float | None = None
    #: longest wait for an answer of the API, seconds
    wait: float | None = None
    #: from the line of the honest server's log to the notification of its alert, seconds
    alert: float | None = None
    #: what the attacker or a reader got that was not theirs
    leaked: str = "nothing"
    #: what the daemon reported about it
    said: str = ""
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    #: why it could not be tried here
    skipped: str = ""

    def expect(self, holds: object, otherwise: str) -> None:
        """A claim of the row."""
        if not holds:
            self.wrong.append(otherwise)

    def leak(self, what: str) -> None:
        """Something leaked: the row fails."""
        self.leaked = what
        self.wrong.append(f"leaked: {what}")

    @property
    def verdict(self) -> str:
        """One word."""
        if self.skipped:
            return "skipped"
        return "FAIL" if self.wrong else "pass"

    @property
    def figures(self) -> tuple[str, str, str]:
        """Peak, wait and alert as text."""
        return (
            "-" if self.peak is None else f"{self.peak:.0f} MB",
            "-" if self.wait is None else f"{self.wait:.2f} s",
            "-" if self.alert is None else f"{self.alert:.2f} s",
        )


Rows = Iterable[tuple[str, Attack]]


def table(rows: Rows) -> str:
    """All rows as text: name and figures on one line, what was done, leaked and said below it."""
    lines = [f"{'attack':<30}{'peak':>10}{'API wait':>12}{'alert after':>14}{'result':>10}", "-" * _WIDTH]
    for name, row in rows:
        peak, wait, alert = row.figures
        lines.append(f"{name:<30}{peak:>10}{wait:>12}{alert:>14}{row.verdict:>10}")
        told = (
            [("skipped", row.skipped)]
            if row.skipped
            else [("did", row.did), ("leaked", row.leaked), ("said", row.said or "nothing")]
        )
        told += [("", note) for note in row.notes] + [("WRONG", wrong) for wrong in row.wrong]
        for label, text in told:
            lines += textwrap.wrap(text, _WIDTH, initial_indent=f"    {label:<8}", subsequent_indent=" " * 12)
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """The same for a page."""
    lines = [
        "| attack | what was done | peak memory | API wait | alert after | leaked | said | result |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    for name, row in rows:
        did = "; ".join([row.skipped or row.did, *row.notes, *row.wrong])
        cells = (name, did, *row.figures, row.leaked, row.said or "nothing", row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)
