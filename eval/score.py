"""Verdicts against labels: a row a failure, the totals with their targets, and every case that came out wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eval.case import SILENT
from eval.judge import Judged

#: The right cause is told in this share of the failures that were judged.
RIGHT_CAUSE = 0.95
#: Cases there must be, of failures and of those that expect silence.
ENOUGH = 60


@dataclass(slots=True)
class Row:
    """Counts of one file of cases."""

    group: str
    cases: int = 0
    named: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    #: alerts that nobody asked for, by severity; of a failure's case those beside the expected one
    critical: int = 0
    warning: int = 0
    info: int = 0
    skipped: int = 0
    not_built: int = 0
    #: rules that knew enough to judge, and how many rules there were, summed over the cases seen beside the process
    able: int = 0
    asked: int = 0
    wrongs: list[str] = field(default_factory=list)

    def take(self, judged: Judged) -> None:
        """Count one case in."""
        case = judged.case
        self.cases += 1
        if judged.skipped:
            self.not_built += judged.skipped == "not built"
            self.skipped += judged.skipped != "not built"
            return
        self.able += judged.able[0]
        self.asked += judged.able[1]
        for rule, told in sorted(judged.told.items()):
            if rule == case.rule or rule in case.also:
                continue
            setattr(self, told.severity, getattr(self, told.severity) + 1)
            self.wrongs.append(f"{self.group}: '{case.name}': {told.severity} {rule} ({told.cause}): {told.summary}")
        if not case.rule:
            return
        mine = judged.told.get(case.rule)
        if mine is None:
            self.missed += 1
            self.wrongs.append(f"{self.group}: '{case.name}': missed; told: {', '.join(judged.told) or 'nothing'}")
            return
        self.named += 1
        if mine.cause == case.cause:
            self.right += 1
        else:
            self.wrong += 1
            self.wrongs.append(f"{self.group}: '{case.name}': cause {mine.cause}, is {case.cause}: {mine.summary}")


@dataclass(frozen=True, slots=True)
class Target:
    """A total and what it should be; `met` is None where nothing could be judged."""

    name: str
    value: str
    target: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Score:
    """Rows of failures, rows of silence, totals."""

    failures: tuple[Row, ...]
    silent: tuple[Row, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The totals."""
        rows = self.failures
        judged = sum(r.cases - r.skipped - r.not_built for r in rows)
        named, right = sum(r.named for r in rows), sum(r.right for r in rows)
        healthy = sum(r.cases for r in self.silent)
        loud = sum(r.critical + r.warning for r in self.silent)
        beside = sum(r.critical + r.warning for r in rows)
        able, asked = sum(r.able for r in self.silent), sum(r.asked for r in self.silent)
        missing = sum(r.not_built for r in rows)
        share = right / judged if judged else 0.0
        return (
            Target("cases of failures", str(sum(r.cases for r in rows)), f">= {ENOUGH}", sum(r.cases for r in rows) >= ENOUGH),
            Target("healthy and look-alike cases", str(healthy), f">= {ENOUGH}", healthy >= ENOUGH),
            Target("failures named", f"{named} of {judged}", "all", named == judged if judged else None),
            Target("right cause", f"{right} of {judged} ({share:.1%})", f">= {RIGHT_CAUSE:.0%}", share >= RIGHT_CAUSE),
            Target("alerts on healthy and look-alike cases", str(loud), "0", loud == 0),
            Target("rules that knew enough to speak in them", f"{able / asked if asked else 0.0:.1%}", "", None),
            Target("alerts beside the right one", str(beside), "0", beside == 0),
            Target("cases whose rule or cause is not built", str(missing), "", None),
        )

    @property
    def wrongs(self) -> tuple[str, ...]:
        """Everything that came out wrong, a line each."""
        return tuple(wrong for row in (*self.failures, *self.silent) for wrong in row.wrongs)


def score(results: Iterable[Judged]) -> Score:
    """Count the cases."""
    rows: dict[str, Row] = {}
    for judged in results:
        rows.setdefault(judged.case.group, Row(judged.case.group)).take(judged)
    loud = tuple(row for group, row in sorted(rows.items()) if group not in SILENT)
    return Score(loud, tuple(row for group, row in sorted(rows.items()) if group in SILENT))


def eras(results: Sequence[Judged]) -> dict[str, tuple[int, int, int]]:
    """For each era: cases of failures, cases that expect silence, and how many of both are recorded."""
    out: dict[str, tuple[int, int, int]] = {}
    for judged in results:
        case = judged.case
        bad, good, recorded = out.get(case.era, (0, 0, 0))
        out[case.era] = (bad + bool(case.rule), good + (not case.rule), recorded + (case.origin == "recorded"))
    return dict(sorted(out.items()))


def table(found: Score) -> str:
    """The rows as aligned text."""
    head = ["", "cases", "named", "right", "wrong", "missed", "critical", "warning", "info", "skipped", "not built"]
    rows = [head]
    for row in (*found.failures, *found.silent):
        verdicts = [row.named, row.right, row.wrong, row.missed] if row in found.failures else [""] * 4
        counts = [row.cases, *verdicts, row.critical, row.warning, row.info, row.skipped, row.not_built]
        rows.append([row.group, *(str(count) for count in counts)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for first, *rest in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((f"{first:<{widths[0]}}", *cells)))
    return "\n".join(lines)
