"""Draws the course of an inline test: the value of each check over time, small enough for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sentinel.model.alert import CheckResult, Transition
from sentinel.model.text import duration

#: columns of time; the names are to their left, and all of it on a terminal of 60 columns
_COLUMNS = 40
_CHECK = {True: "#", False: ".", None: "?"}
_STATE = {"inactive": "-", "pending": "p", "firing": "F", "resolved": "r"}
_LEGEND = ("# true  . false  ? unknown", "- quiet  p pending  F firing  r resolved")
#: Changes that are listed one by one; of a test with more, the beginning and the end.
_MOST = 24


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of a test, seconds from its beginning: the checks of the rule then, and the state of its alert."""

    at: float
    checks: tuple[CheckResult, ...]
    state: str


def timeline(
    moments: Sequence[Moment], transitions: Iterable[tuple[float, Transition]], notes: Iterable[tuple[float, str]]
) -> list[str]:
    """The strip of each check and of the alert, then what changed, with the values read.

    `notes` are other things that happened, each with its time.
    """
    if not moments:
        return []
    changes = [*_changes(moments), *((at, f"alert {t.previous} -> {t.state} ({t.reason})") for at, t in transitions), *notes]
    changes.sort(key=lambda change: change[0])
    lines = [f"+{at:g}s".ljust(8) + f" {what}" for at, what in changes]
    if len(lines) > _MOST:
        half = _MOST // 2
        lines = [*lines[:half], f"... {len(lines) - _MOST} more changes", *lines[-half:]]
    return [*_strips(moments), *lines]


def _strips(moments: Sequence[Moment]) -> Iterator[str]:
    last = moments[-1].at
    columns = min(_COLUMNS, len(moments))
    picked = [_as_of(moments, last * (i + 1) / columns) for i in range(columns)]
    names = [check.check for check in moments[0].checks]
    width = max(len(name) for name in (*names, "alert"))
    yield f"{'':<{width}}  0 s{duration(last):>{max(1, columns - 3)}}"
    for i, name in enumerate(names):
        yield f"{name:<{width}}  " + "".join(_CHECK[moment.checks[i].value] for moment in picked)
    yield f"{'alert':<{width}}  " + "".join(_STATE.get(moment.state, "-") for moment in picked)
    yield from (f"{'':<{width}}  {text}" for text in _LEGEND)


def _as_of(moments: Sequence[Moment], at: float) -> Moment:
    return max((m for m in moments if m.at <= at + 1e-6), key=lambda m: m.at, default=moments[0])


def _changes(moments: Sequence[Moment]) -> Iterator[tuple[float, str]]:
    """Each value of a check that differs from the one before, with what it read."""
    said: dict[str, CheckResult] = {}
    for moment in moments:
        for check in moment.checks:
            before = said.get(check.check)
            if before is None or before.value is not check.value:
                value = "unknown" if check.value is None else str(check.value).lower()
                # Values that did not change are not listed again.
                news = {name: read for name, read in check.reads.items() if before is None or before.reads.get(name) != read}
                reads = ", ".join(f"{name} = {'unknown' if read is None else repr(read)[:60]}" for name, read in news.items())
                yield moment.at, f"{check.check} is {value}" + (f"   ({reads})" if reads else "")
                said[check.check] = check
