"""Runs the inline tests of rules on the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from sentinel.engine.engine import Engine
from sentinel.engine.rules.compile import compile_rule
from sentinel.engine.rules.conclude import conclude
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.alert import Transition
from sentinel.model.reading import LogLines, Reading, ServerFound, ServerGone
from sentinel.model.rule import CaseDef
from sentinel.rulefiles.testing.readings import EPOCH, Failure, Outcome, compare, outcome_of, readings, subject
from sentinel.rulefiles.testing.timeline import Moment, timeline


class _Run:
    """One test on a fresh engine with this rule alone (and every event definition)."""

    def __init__(self, compiled: CompiledRule, case: CaseDef, ruleset: RuleSet) -> None:
        self._compiled = compiled
        self._case = case
        self._alone = RuleSet.build([compiled], ruleset.events.values(), ruleset.extractors)
        self._found: ServerFound | None = None
        self.entity = subject(compiled.rule)
        self.engine = Engine(self._alone)
        self.transitions: list[Transition] = []

    def go(self, after: Callable[[Reading], None] | None = None) -> Outcome:
        """Feed every reading; call `after` following each of them."""
        outcomes: list[Outcome] = []
        restarts = list(self._case.sentinel_restarts)
        expected = [at for at, _ in self._case.earlier]
        for reading in readings(self._compiled.rule, self._case):
            while expected and reading.at > EPOCH + expected[0]:
                outcomes.append(self._outcome(EPOCH + expected.pop(0)))
            while restarts and reading.at >= EPOCH + restarts[0]:
                self._restart(EPOCH + restarts.pop(0))
            if isinstance(reading, ServerFound):
                self._found = reading
            elif isinstance(reading, ServerGone):
                self._found = None
            self.transitions += self.engine.step(reading)
            if after is not None:
                after(reading)
        outcomes += [self._outcome(EPOCH + at) for at in expected]
        return replace(self._outcome(EPOCH + self._case.at), earlier=tuple(outcomes))

    def _restart(self, at: float) -> None:
        """Restart sentinel: a new engine from its checkpoint, and the process is found again."""
        saved = json.loads(json.dumps(self.engine.dump()))
        self.engine = Engine(self._alone)
        self.engine.load(saved)
        if self._found is not None:
            self.transitions += self.engine.step(replace(self._found, at=at))

    def _outcome(self, at: float) -> Outcome:
        finding = self.engine.finding(self._compiled.rule.id, self.entity, at)
        return outcome_of(self._compiled.rule, self.transitions, finding, lambda: conclude(finding))


def run_case(compiled: CompiledRule, case: CaseDef, ruleset: RuleSet) -> Outcome:
    """The outcome of one test."""
    return _Run(compiled, case, ruleset).go()


def watch_case(compiled: CompiledRule, case: CaseDef, ruleset: RuleSet) -> list[str]:
    """The course of one test, for people: each check, the alert, and the events of each line."""
    run = _Run(compiled, case, ruleset)
    moments: list[Moment] = []
    notes = [(at, "sentinel restarts") for at in case.sentinel_restarts]
    rule = compiled.rule.id

    def look(reading: Reading) -> None:
        at = reading.at - EPOCH
        record = run.engine.book.peek(rule, run.entity)
        state: str = "inactive" if record is None else record.state
        if run.transitions and run.transitions[-1].state == "resolved" and state == "inactive":
            state = "resolved"
        if moments and moments[-1].at == at:
            moments.pop()
        moments.append(Moment(at, run.engine.finding(rule, run.entity, reading.at).checks, state))
        if isinstance(reading, LogLines):
            notes.append((at, _made_of(reading, run.engine)))
        elif isinstance(reading, ServerGone):
            notes.append((at, "the server's process ends"))
        elif isinstance(reading, ServerFound) and at > 0:
            notes.append((at, "a new process of the server is found"))

    run.go(look)
    return timeline(moments, [((t.at or EPOCH) - EPOCH, t) for t in run.transitions if t.entity == run.entity], notes)


def _made_of(reading: LogLines, engine: Engine) -> str:
    extractor = engine.ruleset.extractors.get(reading.kind)
    names = [match.event.name for match in extractor.events(reading.data)] if extractor is not None else []
    line = reading.data.decode("utf-8", "replace").strip()
    return f"{reading.kind} line '{line:.60}' is " + (f"event {', '.join(names)}" if names else "no event that sentinel knows")


def trials(ruleset: RuleSet) -> Iterator[tuple[CompiledRule, CaseDef, Outcome]]:
    """Every inline test with its outcome."""
    for _, compiled in sorted(ruleset.rules.items()):
        for case in compiled.rule.tests:
            yield compiled, case, run_case(compiled, case, ruleset)


def run_tests(ruleset: RuleSet) -> Iterator[tuple[str, str, Failure | None]]:
    """(rule id, test name, failure or None) for every inline test. A failing test runs twice, to record its course.

    A test of a rule that passes without its overrides and fails under them has their files in `Failure.override`.
    """
    bases = {one.rule: compile_rule(one.base) for one in ruleset.overrides}
    for compiled, case, outcome in trials(ruleset):
        rule = compiled.rule
        failure = compare(rule, case, outcome)
        if failure is not None and rule.origins and f"test '{case.name}'" not in rule.origins:
            # A test of the rule itself states the rule's behaviour: changing that is an override's purpose.
            base = bases[rule.id]
            if compare(base.rule, case, run_case(base, case, ruleset)) is None:
                failure = replace(failure, override=", ".join(dict.fromkeys(rule.origins.values())))
        if failure is not None and not failure.override:
            failure = replace(failure, timeline=tuple(watch_case(compiled, case, ruleset)))
        yield rule.id, case.name, failure
