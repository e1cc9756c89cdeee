"""How well sentinel does on what strangers reported: the share of right rule, cause and fix, and what it said that was untrue.

make eval-wild                            every case of eval/wild
python eval/wild.py NAME...               those whose name begins so
python eval/wild.py --folder F NAME...    a folder in the same form, or with an expect.tsv
python eval/wild.py -v NAME               with the whole answer
python eval/wild.py --docs docs/wild.md   write the page of first looks; with --check say whether it is stale
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figure import Figure, table
from eval import wild_page
from eval.wild_case import WILD, CaseError, Outcome, chosen, judge, load
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import load_paths, shipped

#: Percent of the failures that must come out right.
_RULE, _CAUSE, _FIX = 100, 95, 90


def main(words: Sequence[str] | None = None) -> int:
    """Judge; 1 where a target was missed, 2 where the cases cannot be read."""
    options = argparse.ArgumentParser(description="Judge cases made from public reports.")
    options.add_argument("names", metavar="NAME", nargs="*", help="only cases whose name begins so")
    options.add_argument("--folder", type=Path, default=WILD, help="where the cases are (default: eval/wild)")
    options.add_argument("-v", "--verbose", action="store_true", help="every case, with the whole answer")
    options.add_argument("--docs", type=Path, metavar="FILE", help="write the page of first looks")
    options.add_argument("--check", action="store_true", help="with --docs: write nothing, say whether it is stale")
    arguments = options.parse_args(words)
    try:
        cases = load(arguments.folder)
    except (CaseError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.docs is not None:
        return wild_page.write(cases, arguments.docs, check=arguments.check)
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        return 2
    outcomes = [judge(case, ruleset) for case in chosen(cases, arguments.names)]
    for outcome in outcomes:
        if arguments.verbose or not outcome.holds:
            print(line(outcome))
        if arguments.verbose:
            print("".join(f"        {row}\n" for row in outcome.answer.splitlines()))
    found = figures(outcomes)
    print(table(found))
    for row in wild_page.shares(cases):
        print(row)
    return int(any(figure.met is False for figure in found))


def run(ruleset: RuleSet) -> list[Figure]:
    """For the table of `make eval`: the project's own cases."""
    return figures([judge(case, ruleset) for case in load()])


def line(outcome: Outcome) -> str:
    """One case in one line, as `R C F` where rule, cause and fix are right, `!` where something untrue was said."""
    case = outcome.case
    fired = ", ".join(outcome.fired) or "nothing"
    wrong = f"; said what it must never say: {outcome.wrong!r}" if outcome.wrong else ""
    if case.healthy:
        return f"{'quiet' if outcome.rule and not outcome.wrong else 'FALSE'} {case.name}: fired {fired}{wrong}"
    marks = "".join(
        letter if right else "-" for letter, right in zip("RCF", (outcome.rule, outcome.cause, outcome.fix), strict=True)
    )
    return f"{marks}{'!' if outcome.wrong else ' '} {case.name}: wanted {case.rule}, fired {fired}{wrong}"


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Each share beside its target."""
    failures = [outcome for outcome in outcomes if not outcome.case.healthy]
    healthy = [outcome for outcome in outcomes if outcome.case.healthy]
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    return [
        _share("wild: right rule", sum(o.rule for o in failures), len(failures), _RULE),
        _share("wild: right cause", sum(o.cause for o in failures), len(failures), _CAUSE),
        _share("wild: right fix, nothing harmful", sum(o.fix and not o.wrong for o in failures), len(failures), _FIX),
        _share("wild: healthy left alone", sum(o.rule and not o.wrong for o in healthy), len(healthy), 100),
        Figure("wild: said what is untrue or harmful", str(wrong), "0", wrong == 0),
    ]


def _share(name: str, right: int, of: int, target: int) -> Figure:
    return Figure(name, f"{right} of {of}", f">= {target} %", right * 100 >= target * of)


if __name__ == "__main__":
    sys.exit(main())
