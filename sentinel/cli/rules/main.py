"""`sentinel rules list|lint|test|coverage`; `show` is beside it."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Collection
from dataclasses import replace

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import emit, passing, style, watched, working
from sentinel.cli.rules.loading import loaded
from sentinel.cli.rules.show import show
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.problem import Problem
from sentinel.model.text import counted, escape
from sentinel.rulefiles.files import Loaded
from sentinel.rulefiles.testing.coverage import coverage
from sentinel.rulefiles.testing.readings import Failure
from sentinel.rulefiles.testing.runner import run_tests, trials
from sentinel.terminal.style import DIM
from sentinel.terminal.table import table

#: (rule, test, what differed from the expectation)
Result = tuple[str, str, Failure | None]
#: Columns for what a rule is judged for beside its title.
_WIDE = 120
#: Fewer tests than this finish before another process has started.
_FEW_TESTS = 40


def main(arguments: argparse.Namespace) -> int:
    """Run an action on rule files; needs no daemon."""
    paths = [*arguments.paths, *arguments.rules]
    with working("checking the rules"):
        found = loaded(paths, tests=arguments.action not in ("list", "show"))
    # Only the named files are checked; the machine's other rules are loaded because they may refer to them.
    mine = _mine(found) if paths else found.ruleset
    if arguments.action == "lint":
        return _lint(mine, list(found.problems), as_json=arguments.json)
    if found.ruleset is None or mine is None:
        for problem in found.problems:
            print(problem, file=sys.stderr)
        return CRITICAL
    if arguments.action == "test":
        return _test(mine, as_json=arguments.json)
    if arguments.action == "coverage":
        files = found.files if paths else {r.rule.path for r in mine.rules.values()} | {e.path for e in mine.events.values()}
        return _coverage(mine, files, as_json=arguments.json)
    if arguments.action == "show":
        return show(found.ruleset, arguments.rule, as_json=arguments.json)
    return _list(mine, as_json=arguments.json)


def _mine(found: Loaded) -> RuleSet | None:
    """The rules of the named files and those that they override, with all events."""
    if found.ruleset is None:
        return None
    overridden = {one.rule for one in found.ruleset.overrides if one.path in found.files}
    rules = {i: r for i, r in found.ruleset.rules.items() if r.rule.path in found.files or i in overridden}
    return replace(found.ruleset, rules=rules)


def _list(ruleset: RuleSet, *, as_json: bool) -> int:
    rows = [r.rule for _, r in sorted(ruleset.rules.items())]
    off = [one for one in ruleset.overrides if not one.enabled]
    if as_json:
        emit(
            {
                "rules": [
                    {
                        "id": r.id,
                        "severity": r.severity,
                        "scope": r.scope,
                        "title": r.title,
                        "file": r.path,
                        "overridden_by": sorted({*r.origins.values()}),
                    }
                    for r in rows
                ],
                "switched_off": [{"id": one.rule, "file": one.path} for one in off],
            }
        )
        return OK
    look = style()
    lines: list[tuple[str, str, str, str]] = []
    for rule in rows:
        lines.append((rule.id, rule.severity, rule.scope, rule.title + ("  (overridden)" if rule.origins else "")))
    lines += [(one.rule, "off", one.base.scope, f"switched off by {escape(one.path)}") for one in off]

    def paint(row: int, column: int, text: str) -> str:
        if row == 0:
            return look.paint(text, DIM)
        return look.by_state(text, lines[row - 1][1]) if column == 1 else text

    # A title is more than what it is judged for, where there is no room for both.
    shown = [("RULE", "SEVERITY", "OF EACH", "DETECTS THAT"), *lines]
    narrow = [(name, severity, "", title) for name, severity, _, title in shown]
    for line in table(shown if look.width >= _WIDE else narrow, look, flexible=(3,), paint=paint, folded=True):
        print(line)
    return OK


def _lint(ruleset: RuleSet | None, problems: list[Problem], *, as_json: bool) -> int:
    errors = [p for p in problems if p.level == "error"]
    if as_json:
        emit({"problems": [_row(p) for p in problems]})
        return CRITICAL if errors else OK
    # The position first, as compilers print it, so that editors find it; warnings after all errors.
    for problem in sorted(problems, key=lambda p: p.level):
        print(problem)
    if errors:
        print(f"{counted(len(errors), 'error')}, {counted(len(problems) - len(errors), 'warning')}")
        return CRITICAL
    rules, events = (len(ruleset.rules), len(ruleset.events)) if ruleset is not None else (0, 0)
    print(
        f"{counted(rules, 'rule')} and {counted(events, 'event')} are well formed"
        + (f", {counted(len(problems), 'warning')}" if problems else "")
    )
    return OK


def _row(problem: Problem) -> dict[str, str | int | None]:
    """A problem for programs; `line` is null if it concerns the whole file."""
    return {
        "file": problem.file,
        "line": problem.line or None,
        "where": problem.where,
        "what": problem.what,
        "level": problem.level,
    }


def _test(ruleset: RuleSet, *, as_json: bool) -> int:
    results = _outcomes(ruleset)
    failures = [f for _, _, f in results if f is not None and not f.override]
    changed = [f for _, _, f in results if f is not None and f.override]
    if as_json:
        rows = [
            {
                "rule": rule,
                "test": name,
                "passed": f is None,
                "changed_by": f.override if f else "",
                "what": list(f.what) if f else [],
                "timeline": list(f.timeline) if f else [],
            }
            for rule, name, f in results
        ]
        emit({"passed": sum(f is None for _, _, f in results), "failed": len(failures), "tests": rows})
        return CRITICAL if failures else OK
    for failure in failures:
        print(f"{failure.rule}: '{failure.case}'")
        for line in failure.what:
            print(f"  {line}")
        for line in failure.timeline:
            print(f"    {line}")
    if changed:
        print("With overrides these tests of the rules come out otherwise; that is no failure, see that it is what you want:")
    for one in changed:
        print(f"  {one.rule}: '{one.case}': {'; '.join(one.what)} ({escape(one.override)})")
    other = f", {len(changed)} otherwise under an override" if changed else ""
    print(f"{len(results) - len(failures) - len(changed)} passed, {len(failures)} failed{other}")
    return CRITICAL if failures else OK


def _outcomes(ruleset: RuleSet) -> list[Result]:
    """The result of every test, in the order of the rules. Tests are independent, so they run on all processors.

    The shipped tests take 2.6 s on one processor. The workers are forked, because compiled rules cannot be pickled.
    """
    processors = len(os.sched_getaffinity(0))
    if processors < 2 or sum(len(one.rule.tests) for one in ruleset.rules.values()) < _FEW_TESTS:
        with working("running the tests"):
            return list(run_tests(ruleset))
    with multiprocessing.get_context("fork").Pool(processors, _Worker.take, (ruleset,)) as pool:
        found: list[Result] = []
        seen = watched()
        for results in pool.imap(_Worker.run, sorted(ruleset.rules)):
            found += results
            if seen:
                passing(f"running the tests ... {len(found)} of {sum(len(one.rule.tests) for one in ruleset.rules.values())}")
        if seen:
            passing("")
        return found


class _Worker:
    """A process that runs tests, with the rules it was forked with."""

    ruleset: RuleSet

    @classmethod
    def take(cls, ruleset: RuleSet) -> None:
        cls.ruleset = ruleset

    @classmethod
    def run(cls, rule: str) -> list[Result]:
        return list(run_tests(replace(cls.ruleset, rules={rule: cls.ruleset.rules[rule]})))


def _coverage(ruleset: RuleSet, files: Collection[str], *, as_json: bool) -> int:
    with working("running the tests"):
        found = coverage(ruleset, trials(ruleset), files)
    code = CRITICAL if found.gaps else OK
    if as_json:
        gaps = [{"file": gap.file, "where": gap.where, "what": gap.what} for gap in found.gaps]
        # `wordings` is the old name of `patterns`, and stays.
        tried, there = ({**counts, "wordings": counts["patterns"]} for counts in (found.tried, found.there))
        emit({"tried": tried, "there": there, "gaps": gaps})
        return code
    for gap in found.gaps:
        print(gap)
    print("tried: " + ", ".join(f"{found.tried[kind]} of {there} {kind}" for kind, there in found.there.items()))
    return code
