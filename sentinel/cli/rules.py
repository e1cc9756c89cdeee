"""`sentinel rules list|show|lint|test|coverage`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import counted, emit
from sentinel.model.problem import Problem, did_you_mean
from sentinel.rulefiles import load_paths, read, shipped
from sentinel.rules.coverage import coverage
from sentinel.rules.ruleset import CompiledRule, RuleSet
from sentinel.trial import run_tests, trials


def main(arguments: argparse.Namespace) -> int:
    """Act on rule files; needs no daemon."""
    paths = [Path(p) for p in arguments.paths] or [shipped()]
    ruleset, problems = load_paths(paths)
    if arguments.action == "lint":
        return _lint(ruleset, problems, as_json=arguments.json)
    if ruleset is None:
        for problem in problems:
            print(problem, file=sys.stderr)
        return CRITICAL
    if arguments.action == "test":
        return _test(ruleset, as_json=arguments.json)
    if arguments.action == "coverage":
        return _coverage(ruleset, paths, as_json=arguments.json)
    if arguments.action == "show":
        return _show(ruleset, arguments.rule, as_json=arguments.json)
    rows = [r.rule for _, r in sorted(ruleset.rules.items())]
    if arguments.json:
        emit({"rules": [{"id": r.id, "severity": r.severity, "scope": r.scope, "title": r.title, "file": r.path} for r in rows]})
    else:
        for rule in rows:
            print(f"{rule.id:<20} {rule.severity:<9} {rule.scope:<7} {rule.title}")
    return OK


def _lint(ruleset: RuleSet | None, problems: list[Problem], *, as_json: bool) -> int:
    errors = [p for p in problems if p.level == "error"]
    if as_json:
        emit({"problems": [_row(p) for p in problems]})
        return CRITICAL if errors else OK
    # The place first, as compilers do, so that editors find it; warnings after all errors.
    for problem in sorted(problems, key=lambda p: p.level):
        print(problem)
    if errors:
        print(f"{counted(len(errors), 'error')}, {counted(len(problems) - len(errors), 'warning')}")
        return CRITICAL
    rules, events = (len(ruleset.rules), len(ruleset.events)) if ruleset is not None else (0, 0)
    print(f"{rules} rules and {events} events are well formed" + (f", {counted(len(problems), 'warning')}" if problems else ""))
    return OK


def _row(problem: Problem) -> dict[str, str | int | None]:
    """A finding for programs; `line` is null where the file as a whole is meant."""
    return {
        "file": problem.file,
        "line": problem.line or None,
        "where": problem.where,
        "what": problem.what,
        "level": problem.level,
    }


def _test(ruleset: RuleSet, *, as_json: bool) -> int:
    results = list(run_tests(ruleset))
    failures = [f for _, _, f in results if f is not None]
    if as_json:
        rows = [
            {
                "rule": rule,
                "test": name,
                "passed": f is None,
                "what": list(f.what) if f else [],
                "timeline": list(f.timeline) if f else [],
            }
            for rule, name, f in results
        ]
        emit({"passed": len(results) - len(failures), "failed": len(failures), "tests": rows})
        return CRITICAL if failures else OK
    for failure in failures:
        print(f"{failure.rule}: '{failure.case}'")
        for line in failure.what:
            print(f"  {line}")
        for line in failure.timeline:
            print(f"    {line}")
    print(f"{len(results) - len(failures)} passed, {len(failures)} failed")
    return CRITICAL if failures else OK


def _coverage(ruleset: RuleSet, paths: list[Path], *, as_json: bool) -> int:
    rules, events, _ = read(paths)
    found = coverage(ruleset, trials(ruleset), {*rules, *events})
    code = CRITICAL if found.gaps else OK
    if as_json:
        gaps = [{"file": gap.file, "where": gap.where, "what": gap.what} for gap in found.gaps]
        emit({"tried": dict(found.tried), "there": dict(found.there), "gaps": gaps})
        return code
    for gap in found.gaps:
        print(gap)
    print("tried: " + ", ".join(f"{found.tried[kind]} of {there} {kind}" for kind, there in found.there.items()))
    return code


def _show(ruleset: RuleSet, rule_id: str, *, as_json: bool) -> int:
    compiled = ruleset.rules.get(rule_id)
    if compiled is None:
        print(
            f"sentinel: there is no rule '{rule_id}'{did_you_mean(rule_id, ruleset.rules)}; `sentinel rules list` shows all",
            file=sys.stderr,
        )
        return CRITICAL
    rule = compiled.rule
    if as_json:
        emit(
            {
                "id": rule.id,
                "title": rule.title,
                "severity": rule.severity,
                "scope": rule.scope,
                "when": rule.when,
                "for": rule.hold,
                "clear": rule.clear,
                "checks": {c.name: c.expression for c in rule.checks},
                "causes": [{"id": c.id, "when": c.when, "text": c.text, "fixes": [f.do for f in c.fixes]} for c in rule.causes],
                "reads": sorted(compiled.signals),
                "file": rule.path,
            }
        )
        return OK
    _print(compiled)
    return OK


def _print(compiled: CompiledRule) -> None:
    rule = compiled.rule
    print(f"{rule.id}: {rule.title}")
    print(f"  {rule.severity}, judged for each {rule.scope}, knowledge from {', '.join(rule.basis)}")
    print(f"  {rule.path}")
    print("\nChecks")
    for check in rule.checks:
        print(f"  {check.name:<20} {' '.join(check.expression.split())}")
    print(f"\nFires when {' '.join(rule.when.split())}" + (f", for {rule.hold:g} s" if rule.hold else ""))
    print("\nCauses, the first that holds")
    for cause in rule.causes:
        print(f"  {cause.id}: {cause.text}")
        for fix in cause.fixes:
            print(f"      fix: {fix.do}")
            if fix.command:
                print(f"           $ {fix.command}")
    if rule.false_positives:
        print("\nStays quiet for")
        for text in rule.false_positives:
            print(f"  {text}")
    print(f"\nReads {', '.join(sorted(compiled.signals))}")
