"""Running the inline tests of rules on the real engine."""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.engine import Engine
from sentinel.model.alert import Transition
from sentinel.model.rule import CaseDef
from sentinel.rules.casebook import EPOCH, Failure, Outcome, compare, outcome_of, readings, subject
from sentinel.rules.evaluate import conclude
from sentinel.rules.ruleset import CompiledRule, RuleSet


def run_case(compiled: CompiledRule, case: CaseDef, ruleset: RuleSet) -> Outcome:
    """One test on a fresh engine that holds this rule alone (and every event definition)."""
    alone = RuleSet.build([compiled], ruleset.events.values(), ruleset.extractors)
    engine = Engine(alone)
    transitions: list[Transition] = []
    for reading in readings(compiled.rule, case):
        transitions += engine.step(reading)
    entity = subject(compiled.rule)
    finding = engine.finding(compiled.rule.id, entity, EPOCH + case.at)
    return outcome_of(compiled.rule, transitions, finding, lambda: conclude(compiled, entity, finding, engine.beliefs))


def trials(ruleset: RuleSet) -> Iterator[tuple[CompiledRule, CaseDef, Outcome]]:
    """Every inline test with what came of it."""
    for _, compiled in sorted(ruleset.rules.items()):
        for case in compiled.rule.tests:
            yield compiled, case, run_case(compiled, case, ruleset)


def run_tests(ruleset: RuleSet) -> Iterator[tuple[str, str, Failure | None]]:
    """(rule id, test name, failure or None) for every inline test."""
    for compiled, case, outcome in trials(ruleset):
        yield compiled.rule.id, case.name, compare(compiled.rule, case, outcome)
