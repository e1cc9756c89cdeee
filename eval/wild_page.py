"""docs/wild.md: every first look at a public report, misses included."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from eval.wild_case import Case, FirstLook

#: The measure is of the newest looks: what was mended for earlier kinds must show on new ones.
LAST = 30
#: Numbered cases of one name are counted thirty at a time, in the order in which they were looked up.
_ROUND = 30
_NUMBERED = re.compile(r"([a-z]+)-(\d\d)-")
_THREAD = re.compile(r"\b[\w.-]+/[\w.-]+#\d+|https?://\S+?(?=[\s)>,;]|\.?$)", re.MULTILINE)
_HEAD = """\
# First looks: public reports that sentinel had never seen

A fault that the author of a rule made up is one that the rule knows. So each kind of failure is tried on reports of strangers:
issue threads of llama.cpp, of the programs that start it, and of the drivers below it.

For each report a small log is composed from the facts that were reported, in the messages of the build concerned; no log and no
sentence is copied. What must be said (rule, cause, fix) and what must never be said is written down before `sentinel diagnose`
runs on it for the first time. That first answer is recorded here as it was, before anything is mended. What is mended then is the
kind of failure, not the case. Today every case holds (`make eval-wild`; the few that do not stand in
[known-misses.toml](../eval/wild/known-misses.toml)), which says little: these cases have been seen. The newest first looks are
the measure.

"""


def write(cases: Iterable[Case], file: Path, *, check: bool) -> int:
    """Write the page, or with `check` say whether it is stale."""
    made = page(cases)
    if not check:
        file.write_text(made, encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == made:
        return 0
    print(f"{file} is stale: run `make docs`", file=sys.stderr)
    return 1


def page(cases: Iterable[Case]) -> str:
    """The whole page."""
    looks = _looks(cases)
    rows = ["| case | report | looked at | rule | cause | fix | untrue or harmful |", "|---|---|---|---|---|---|---|"]
    for case, look in looks:
        marks = ("quiet" if look.rule else "**false alarm**", "", "") if case.healthy else _marks(look)
        rows.append(
            f"| {case.name} | {_thread(case)} | {look.on:%Y-%m-%d} | {' | '.join(marks)} | {_cell(look.false_statement)} |"
        )
    return _HEAD + "".join(f"- {row}\n" for row in shares(cases)) + "\n" + "".join(_rounds(looks)) + "\n".join(rows) + "\n"


def shares(cases: Iterable[Case]) -> list[str]:
    """Of all first looks and of the last thirty at failures."""
    looks = _looks(cases)
    failures = [look for case, look in looks if not case.healthy]
    healthy = [look for case, look in looks if case.healthy]
    last = failures[-LAST:]
    out = [f"all first looks at failures: {_shares(failures)}"]
    if len(last) < len(failures):
        out.append(f"the last {len(last)} of them: {_shares(last)}")
    quiet = sum(look.rule for look in healthy)
    return [*out, f"first looks at healthy servers: {quiet} of {len(healthy)} left alone"]


def _rounds(looks: Sequence[tuple[Case, FirstLook]]) -> list[str]:
    """A table of the thirties that are whole, with a blank line after it; nothing where there is none."""
    rounds: dict[str, list[tuple[Case, FirstLook]]] = {}
    for case, look in looks:
        if (number := _NUMBERED.match(case.name)) is not None:
            first = (int(number[2]) - 1) // _ROUND * _ROUND + 1
            rounds.setdefault(f"{number[1]}-{first:02} to {first + _ROUND - 1:02}", []).append((case, look))
    rows = [_round(name, its) for name, its in rounds.items() if len(its) == _ROUND]
    head = ["| cases | failures | rule | cause | fix | untrue or harmful | healthy left alone |\n", f"|{'---|' * 7}\n"]
    return [*head, *rows, "\n"] if rows else []


def _round(name: str, looks: Sequence[tuple[Case, FirstLook]]) -> str:
    failures = [look for case, look in looks if not case.healthy]
    healthy = [look for case, look in looks if case.healthy]
    right = [sum(getattr(look, key) for look in failures) for key in ("rule", "cause", "fix")]
    false = sum(bool(look.false_statement) for _, look in looks)
    cells = [name, len(failures), *right, false, f"{sum(look.rule for look in healthy)} of {len(healthy)}"]
    return f"| {' | '.join(str(cell) for cell in cells)} |\n"


def _shares(looks: Sequence[FirstLook]) -> str:
    rule, cause, fix = (sum(getattr(look, key) for look in looks) for key in ("rule", "cause", "fix"))
    false = sum(bool(look.false_statement) for look in looks)
    return f"rule {rule}, cause {cause}, fix {fix} of {len(looks)}; something untrue or harmful in {false}"


def _looks(cases: Iterable[Case]) -> list[tuple[Case, FirstLook]]:
    looks = [(case, case.first_look) for case in cases if case.first_look is not None]
    return sorted(looks, key=lambda pair: (pair[1].on, pair[0].name))


def _marks(look: FirstLook) -> tuple[str, ...]:
    return tuple("right" if right else "missed" for right in (look.rule, look.cause, look.fix))


def _thread(case: Case) -> str:
    found = _THREAD.search((case.folder / "README.md").read_text(encoding="utf-8"))
    return found.group() if found is not None else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
