"""Finds cycles: rules that inhibit each other, values and checks that read each other."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.engine.rules.evaluation_order import Reads, cycle, cycle_through, in_order
from sentinel.engine.rules.expression import Condition, ExpressionError
from sentinel.model.problem import Keys, Problem
from sentinel.model.rule import Named, RuleDef
from sentinel.rulefiles.toml.tables import Findings


def check_inhibits(rules: Iterable[RuleDef]) -> list[Problem]:
    """A problem for each rule that inhibits itself through others."""
    rules = list(rules)
    effects = {rule.id: rule.inhibits for rule in rules}
    problems = []
    for rule in rules:
        way = cycle_through(rule.id, effects)
        if way:
            problems.append(Problem(rule.path, "inhibits", f"forms a cycle: {' -> '.join(way)}", keys=("inhibits",)))
    return problems


def in_order_of_evaluation(rule: RuleDef, findings: Findings) -> list[tuple[Keys, str]]:
    """The keys and the expression of each value and check, those it reads before it. Notes a cycle, and a name given twice."""
    keys: dict[str, Keys] = {}
    expressions = {}
    for kind, parts in (("window", rule.windows), ("event", rule.events), ("value", rule.values), ("check", rule.checks)):
        for part in parts:
            if part.name in keys:
                findings.error((kind, part.name), f"is the name of a [{keys[part.name][0]}] too; each needs a name of its own")
                continue
            keys[part.name] = (kind, part.name)
            if isinstance(part, Named):
                expressions[part.name] = part.expression
    reads: Reads = {name: _paths(expression) for name, expression in expressions.items()}
    way = cycle(reads)
    if way:
        findings.error(keys[way[0]], f"forms a cycle: {' -> '.join(way)}; none of them could ever be known")
    return [(keys[name], expressions[name]) for name in in_order(reads)]


def _paths(expression: str) -> tuple[str, ...]:
    try:
        return Condition(expression).paths
    except ExpressionError:
        return ()
