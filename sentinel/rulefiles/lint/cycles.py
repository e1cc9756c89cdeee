"""Checks `inhibits` over all rules: in a cycle every alert would inhibit itself."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.model.problem import Problem
from sentinel.model.rule import RuleDef


def check_inhibits(rules: Iterable[RuleDef]) -> list[Problem]:
    """A problem for each rule that inhibits itself through others."""
    known = {rule.id: rule for rule in rules}
    problems = []
    for rule in known.values():
        way = _way_back(rule.id, known)
        if way:
            problems.append(Problem(rule.path, "inhibits", f"goes in a circle: {' -> '.join(way)}", keys=("inhibits",)))
    return problems


def _way_back(start: str, known: dict[str, RuleDef]) -> list[str]:
    """The shortest path from a rule through `inhibits` back to itself; empty if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for effect in known[way[-1]].inhibits:
            if effect == start:
                return [*way, start]
            if effect in known and effect not in seen:
                seen.add(effect)
                ways.append([*way, effect])
    return []
