"""A campaign against the real daemon: its rows, each a list of what is wrong, and the table and page of all of them.

`make faults` and `make attacks` are campaigns; each has columns of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from faults.daemon import NotWell

#: Columns of a line of the table; a terminal of a hundred columns holds it.
_WIDTH = 100


@dataclass
class Row:
    """What one of them came to. What is wrong is a list of sentences: an empty one is a pass."""

    #: what was done, with the numbers
    did: str
    #: the message that a person sees
    said: str = field(default="", kw_only=True)
    #: figures that the row rests on
    notes: list[str] = field(default_factory=list, kw_only=True)
    wrong: list[str] = field(default_factory=list, kw_only=True)
    #: why it could not be tried here
    skipped: str = field(default="", kw_only=True)

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
    def figures(self) -> tuple[str, ...]:
        """Measured values as text, one for each column of the campaign."""
        return ()

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What was lost or leaked: name and text."""
        return ()


R = TypeVar("R", bound=Row)
Made = TypeVar("Made", bound=Row, covariant=True)


class Trial(Protocol[Made]):
    """One row. Raises NotWell where what should come does not."""

    def __call__(self, *, short: bool) -> Made: ...


@dataclass(frozen=True)
class Campaign(Generic[R]):
    """All rows of one kind by name. `row` makes an empty one, `columns` names its figures, `lead` is what the page says first."""

    what: str
    trials: Mapping[str, Trial[R]]
    row: Callable[[str], R]
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    lead: str
    #: why none of them can be tried here
    why_not: Callable[[], str] = lambda: ""

    def attempt(self, name: str, *, short: bool, say: Callable[[str], None] = lambda _text: None) -> R:
        """Try one. A bug of sentinel, or something that never came, is a failure of its row and not the end of the campaign."""
        say(f"{name} ...")
        begin = time.monotonic()
        trial = self.trials[name]
        row = self.row(str(trial.__doc__).strip())
        if reason := self.why_not():
            row.skipped = reason
        else:
            try:
                row = trial(short=short)
            except NotWell as why:
                row.wrong.append(str(why))
            except (OSError, subprocess.SubprocessError) as error:
                row.skipped = f"could not be tried here: {error}"
        took = f"{time.monotonic() - begin:.0f} s"
        say(f"{name}: {row.verdict} in {took} {' '.join(row.figures)}{''.join(f'; {wrong}' for wrong in row.wrong)}")
        return row

    def main(self, before: Callable[[], None] = lambda: None) -> int:
        """Try what was asked for on the command line; 1 where something is wrong."""
        parser = argparse.ArgumentParser(description=f"{self.what.capitalize()}s against the real daemon.")
        parser.add_argument("--short", action="store_true", help="smaller numbers")
        parser.add_argument("--only", nargs="+", choices=sorted(self.trials), help="some of them")
        parser.add_argument("--markdown", type=Path, help="write the table to this page too")
        arguments = parser.parse_args()
        before()

        def say(text: str) -> None:
            print(text, file=sys.stderr, flush=True)

        begin = time.monotonic()
        rows: list[tuple[str, R]] = []
        for name in self.trials:
            if arguments.only is None or name in arguments.only:
                rows.append((name, self.attempt(name, short=arguments.short, say=say)))
                if arguments.markdown:
                    # After each: a campaign that is ended early has what it had.
                    arguments.markdown.write_text(self.page(rows), encoding="utf-8")
        print(self.table(rows))
        print(f"\n{len(rows)} {self.what}s in {(time.monotonic() - begin) / 60:.1f} min: ", end="")
        print(", ".join(f"{sum(row.verdict == v for _, row in rows)} {v}" for v in ("pass", "FAIL", "skipped")))
        return int(any(row.wrong for _, row in rows))

    def table(self, rows: Sequence[tuple[str, R]]) -> str:
        """All rows as text: name, figures and verdict on one line, the rest below it."""
        head = "".join(f"{column:>18}" for column in self.columns)
        lines = [f"{self.what:<24}{head}{'result':>10}", "-" * _WIDTH]
        for name, row in rows:
            lines.append(f"{name:<24}{''.join(f'{figure:>18}' for figure in row.figures)}{row.verdict:>10}")
            facts = [("did", row.did), *row.facts, ("said", row.said or "nothing")]
            facts = [("skipped", row.skipped)] if row.skipped else facts
            facts += [("", note) for note in row.notes] + [("WRONG", wrong) for wrong in row.wrong]
            for label, text in facts:
                lines += textwrap.wrap(text, _WIDTH, initial_indent=f"    {label:<8}", subsequent_indent=" " * 12)
        return "\n".join(lines)

    def page(self, rows: Sequence[tuple[str, R]]) -> str:
        """The same for docs/, with its date and machine."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        load = f"load {os.getloadavg()[0]:.1f} at the end"
        names = [self.what, "what was done", *self.columns, *self.facts, "said", "result"]
        lines = [
            f"# {self.what.capitalize()}s\n",
            f"What `make {self.what}s` printed on {day} on {os.cpu_count()} processors ({load}).",
            self.lead,
            f"`python {self.what}s/run.py --only NAME` makes one of them.\n",
            f"| {' | '.join(names)} |",
            "|---|---|" + "---:|" * len(self.columns) + "---|" * (len(self.facts) + 2),
        ]
        for name, row in rows:
            did = "; ".join([row.skipped or row.did, *row.notes, *row.wrong])
            cells = (name, did, *row.figures, *(text for _, text in row.facts), row.said or "nothing", row.verdict)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        return "\n".join(lines) + "\n"
