"""Judging takes shortcuts: a value is read when it is asked for, and a quiet rule is left early. None of it may show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.facts.store import Fact
from sentinel.engine.rules import quick_no
from sentinel.engine.rules.cel_syntax import conjuncts
from sentinel.engine.rules.compile import compile_rule
from sentinel.engine.rules.conclude import cause_of, later
from sentinel.engine.rules.evaluate import Finding, evaluate, judge, matching
from sentinel.engine.rules.expression import ExpressionError, context
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.alert import Verdict
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Event
from sentinel.model.rule import EventBinding, Named, RuleDef, WindowDef

SERVER = Entity("server", "llama.service")
AT = 1_000.0
_RULE = RuleDef("deep", "0" * 32, "deep", "warning", "server", summary="deep", when="deep")
#: Few values of each type: comparisons with what the rules name have to come out both ways.
_POOLS: Mapping[str, tuple[Any, ...]] = {
    "flag": (True, False),
    "int": (-1, 0, 1, 4096),
    "float": (0.0, 1.0, 2.5),
    "text": ("", "ready", "loading", "hip"),
}
_FIELDS: st.SearchStrategy[Mapping[str, Value]] = st.dictionaries(
    st.sampled_from(["ctx", "train", "server_state", "scope", "anon", "file", "shmem", "mlock_requested"]),
    st.sampled_from([0, 4096, 1.0, True, "loading", "cgroup"]),
)


@dataclass
class _World:
    """What is believed, as plain tables."""

    facts: dict[Entity, dict[str, Fact]]
    events: dict[str, tuple[int, Event]] = field(default_factory=dict)
    unobserved: frozenset[str] = frozenset()

    def fact(self, entity: Entity, signal: str, at: float) -> Fact | None:
        return self.facts.get(entity, {}).get(signal)

    def facts_of(self, entity: Entity) -> Mapping[str, Fact]:
        return self.facts.get(entity, {})

    def why_missing(self, entity: Entity, signal: str, at: float) -> Unknown:
        return Unknown(f"{signal} was not drawn")

    def window(self, entity: Entity, window: WindowDef, at: float) -> float | None:
        return None

    def happened(self, entity: Entity, event: str, since: float) -> tuple[int, Event | None]:
        return self.events.get(event, (0, None))

    def oldest(self, entity: Entity, event: str, since: float) -> float:
        return AT

    def run_start(self, entity: Entity) -> float:
        return 0.0

    def observed(self, entity: Entity, event: str) -> Unknown | None:
        return Unknown("nobody looks") if event in self.unobserved else None

    def still(self, entity: Entity, events: Iterable[str]) -> _World:
        return self


@pytest.fixture(scope="module", autouse=True)
def _at_once() -> Iterator[None]:
    """A rule's quick answer is asked for from the first time on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_no, "_FIRST", 0)
        yield


@st.composite
def _worlds(draw: st.DrawFn, compiled: CompiledRule) -> _World:
    facts: dict[Entity, dict[str, Fact]] = {SERVER: {}, HOST: {}}
    for signal in sorted(compiled.signals):
        value = draw(st.sampled_from((None, *_POOLS[CATALOGUE[signal].type])))
        if value is not None:
            facts[HOST if signal.startswith("host.") else SERVER][signal] = Fact(value, AT, "drawn")
    events = {}
    for name in sorted(compiled.events):
        if count := draw(st.integers(0, 3)):
            events[name] = (count, Event(AT - draw(st.sampled_from([0.0, 5.0])), name, SERVER, draw(_FIELDS)))
    unobserved = draw(st.frozensets(st.sampled_from(sorted(compiled.events)))) if compiled.events else frozenset()
    return _World(facts, events, unobserved)


def _plainly(compiled: CompiledRule, world: _World) -> tuple[dict[str, Any], Any, Any]:
    """Every expression on one context of all that is known: checks by name, `when`, `clear`."""
    known: dict[str, Any] = {"server": {"name": SERVER.name}, "host": {}, "gpu": {}}
    for signal in compiled.signals:
        scope, _, key = signal.partition(".")
        fact = world.facts_of(HOST if scope == "host" else SERVER).get(signal)
        if fact is not None:
            known[scope][key] = fact.value
    for name, binding in compiled.bindings.items():
        count, last = world.happened(SERVER, binding.event, 0.0)
        if last is not None:
            known[name] = {"count": count, "age": AT - last.at, "fields": dict(last.fields)}
        elif not world.observed(SERVER, binding.event):
            known[name] = {"count": 0, "fields": {}}
    checks = {}
    # Again and again, so that their order does not matter, until nothing changes any more.
    for _ in compiled.steps:
        before = dict(known)
        for name, condition in (*compiled.values, *compiled.checks):
            value = condition.evaluate(context(known))
            if value is not None:
                known[name] = value
            checks[name] = None if value is None else value is True
        if known == before:
            break
    ask = context(known)
    clear = compiled.clear.evaluate(ask) if compiled.clear is not None else False
    return {name: checks[name] for name, _ in compiled.checks}, compiled.when.evaluate(ask), clear


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_shortcuts_judge_as_the_expressions_do(ruleset: RuleSet, data: st.DataObject) -> None:
    """On any facts and events, after any others: the same checks, verdict and clearing, for every shipped rule."""
    compiled = data.draw(st.sampled_from([r for r in ruleset.rules.values() if r.rule.scope == "server"]))
    world = data.draw(_worlds(compiled))
    try:
        checks, when, clear = _plainly(compiled, world)
    except Exception as error:
        # A drawn field has the wrong type for its expression; both ways have to refuse it.
        with pytest.raises(type(error)):
            evaluate(compiled, SERVER, AT, world)
        return
    finding = evaluate(compiled, SERVER, AT, world)

    assert {c.check: c.value for c in finding.checks} == checks
    assert finding.verdict is (Verdict.UNKNOWN if when is None else Verdict.MATCH if when is True else Verdict.NO_MATCH)
    assert finding.clear == clear
    quick = matching(compiled, SERVER, AT, world)
    assert isinstance(quick, Finding) == (finding.verdict is Verdict.MATCH)
    if isinstance(quick, Finding):
        assert (quick.checks, quick.clear, quick.event_at) == (finding.checks, finding.clear, finding.event_at)


def _with_ages(ruleset: RuleSet, data: st.DataObject) -> tuple[CompiledRule, _World]:
    """A rule of servers, and facts for it whose events are of different ages."""
    compiled = data.draw(st.sampled_from([r for r in ruleset.rules.values() if r.rule.scope == "server"]))
    world = data.draw(_worlds(compiled))
    for name, (count, event) in world.events.items():
        age = data.draw(st.sampled_from([-5.0, 0.0, 4.0, 10.0, 59.0, 300.0, 899.0, 901.0]))
        world.events[name] = (count, replace(event, at=AT - age))
    return compiled, world


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_rule_that_rests_would_not_have_matched(ruleset: RuleSet, data: st.DataObject) -> None:
    """Until the time that was said, if nothing but time passes: for every shipped rule."""
    compiled, world = _with_ages(ruleset, data)
    try:
        until = matching(compiled, SERVER, AT, world)
        at = AT + data.draw(st.sampled_from([0.5, 1.0, 6.0, 11.0, 61.0, 300.0, 900.0, 4000.0]))
        if isinstance(until, float) and at < until:
            assert not isinstance(matching(compiled, SERVER, at, world), Finding)
    except ExpressionError:
        # A drawn field has the wrong type for its expression.
        return


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_what_matches_stands_until_the_time_that_was_said(ruleset: RuleSet, data: st.DataObject) -> None:
    """If nothing but time passes: the same verdict, clearing, newest event and cause, for every shipped rule."""
    compiled, world = _with_ages(ruleset, data)
    try:
        finding = judge(compiled, SERVER, AT, world)
        cause = cause_of(finding.scene)
        later(finding)
        until = finding.scene.known.until
        at = AT + data.draw(st.sampled_from([0.5, 1.0, 6.0, 11.0, 61.0, 300.0, 900.0, 4000.0]))
        if at < until:
            again = judge(compiled, SERVER, at, world)
            assert (again.verdict, again.clear, again.event_at) == (finding.verdict, finding.clear, finding.event_at)
            assert cause_of(again.scene) is cause
    except ExpressionError:
        # A drawn field has the wrong type for its expression.
        return


@pytest.mark.parametrize(
    ("when", "ages", "until"),
    [
        ("gone.age > 10.0", {"gone": 4.0}, AT + 6.0),
        ("gone.age >= 10.0", {"gone": 10.5}, None),
        ("gone.age < 10.0 && begun.age > 20.0", {"gone": 4.0, "begun": 15.0}, AT + 5.0),
        ("gone.age < 10.0", {"gone": 10.5}, float("inf")),
        ("gone.age < begun.age", {"gone": 8.0, "begun": 4.0}, float("inf")),
        # Its time is to come: until then it has no age that grows.
        ("gone.age < begun.age", {"gone": 8.0, "begun": -4.0}, float("-inf")),
        ("begun.age + 1.0 > gone.age", {"gone": 8.0, "begun": 4.0}, float("inf")),
        ("begun.age + 1.0 > 10.0", {"begun": 4.0}, float("-inf")),
        ("gone.age - begun.age < 2.0", {"gone": 8.0, "begun": 4.0}, float("inf")),
        ("gone.age - begun.age < 2.0", {"gone": 8.0, "begun": -4.0}, float("-inf")),
        ("gone.age * 2.0 < begun.age", {"gone": 8.0, "begun": 4.0}, float("-inf")),
        ("gone.age > 10.0", {}, float("inf")),
    ],
)
def test_a_rule_rests_until_an_age_passes_what_it_is_compared_with(
    when: str, ages: dict[str, float], until: float | None
) -> None:
    bindings = tuple(EventBinding(name, name, None) for name in ("gone", "begun"))
    compiled = compile_rule(replace(_RULE, when=when, events=bindings))
    world = _World({SERVER: {}, HOST: {}}, {name: (1, Event(AT - age, name, SERVER)) for name, age in ages.items()})
    found = matching(compiled, SERVER, AT, world)
    if until is None:
        assert isinstance(found, Finding)
    else:
        assert isinstance(found, float)
        assert found == pytest.approx(until, abs=0.01)


def test_a_chain_of_thousands_is_judged_and_so_is_what_is_left_out_at_first() -> None:
    chain = tuple(Named(f"v{n}", f"v{n + 1} + 1") for n in range(2000))
    rule = replace(_RULE, values=(*chain, Named("v2000", "1")), checks=(Named("deep", "v0 == 2001"), Named("aside", "v1 == 0")))
    found = matching(compile_rule(rule), SERVER, AT, _World({SERVER: {}, HOST: {}}))
    assert isinstance(found, Finding)
    assert {c.check: c.value for c in found.checks} == {"deep": True, "aside": False}


def test_values_that_read_each_other_are_unknown() -> None:
    rule = replace(_RULE, values=(Named("a", "b + 1"), Named("b", "a + 1")), checks=(Named("deep", "a == 1"),))
    assert judge(compile_rule(rule), SERVER, AT, _World({SERVER: {}, HOST: {}})).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("a", ("a",)),
        ("a && !b && (c || d)", ("a", "!b", "(c || d)")),
        ("a && b || c", ("a && b || c",)),
        ("a && (x ? b : c)", ("a", "(x ? b : c)")),
        ("x ? a && b : c", ("x ? a && b : c",)),
        ("s == ' && ' && t.exists(i, i && b)", ("s == ' && '", "t.exists(i, i && b)")),
    ],
)
def test_the_outermost_conjunction_is_taken_apart(source: str, parts: tuple[str, ...]) -> None:
    assert conjuncts(source) == parts
