"""How well sentinel tells the failures apart, and how soon: one table, each figure beside its target.

make eval                              everything, with the real llama-server: about four minutes
python eval/run.py --cases             the labelled cases only: a few seconds, the same answer each time
python eval/run.py --why 'NAME'        one case: what was told, and each check of its rule
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figure import Figure, table
from eval import score, wild
from eval.case import Case, CaseError, load
from eval.judge import corpus, judge
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import load_paths, shipped


def main() -> int:
    """Judge and measure; 1 where a target was missed, 2 where the cases cannot be read."""
    parser = argparse.ArgumentParser(description="Judge labelled cases and measure against the real llama-server.")
    parser.add_argument("--cases", action="store_true", help="the labelled cases only")
    parser.add_argument("--why", metavar="NAME", help="one case in full")
    arguments = parser.parse_args()
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        return 2
    try:
        cases = load()
        return _one(cases, arguments.why, ruleset) if arguments.why else _all(cases, ruleset, live=not arguments.cases)
    except CaseError as error:
        print(error, file=sys.stderr)
        return 2


def _one(cases: list[Case], name: str, ruleset: RuleSet) -> int:
    found = [case for case in cases if name in case.name]
    for case in found:
        result = judge(case, ruleset, corpus())
        print(f"{case.group}: {case.name}\n  {case.told_by}")
        print(f"  expected: {case.rule or 'silence'} {case.cause}")
        print(f"  told: {result.skipped or ''}")
        for rule, told in result.told.items():
            print(f"    {told.severity} {rule} ({told.cause}): {told.summary}")
    return 0 if found else 2


def _all(cases: list[Case], ruleset: RuleSet, *, live: bool) -> int:
    results = [judge(case, ruleset, corpus()) for case in cases]
    found = score.score(results)
    print(score.table(found))
    print()
    for era, (bad, good, recorded) in score.eras(results).items():
        print(f"{era:<13} {bad:>3} failures, {good:>3} healthy or look-alike; {recorded:>3} of them recorded")
    print()
    figures = [Figure(t.name, t.value, t.target, t.met) for t in found.targets]
    figures += wild.run(ruleset)
    if live:
        from eval import live as real

        figures += real.run(ruleset)
    print(table(figures))
    if found.wrongs:
        print("\nwhat came out wrong:")
        print("\n".join(f"  {wrong}" for wrong in found.wrongs))
    return int(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
