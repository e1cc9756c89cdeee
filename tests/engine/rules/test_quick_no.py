"""The quick answer of a rule, against the whole judgement: no rule may be left that matches."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from sentinel.engine.facts.state import EngineState
from sentinel.engine.rules.compile import compile_rule
from sentinel.engine.rules.evaluate import judge
from sentinel.engine.rules.operations import Undecided
from sentinel.engine.rules.quick_no import always
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.engine.rules.scene import Known
from sentinel.model.alert import Verdict
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.reading import Event
from sentinel.model.rule import EventBinding, Named, RuleDef

SERVER = Entity("server", "llama.service")
AT = 1_000.0
_RULE = RuleDef(
    "quick", "0" * 32, "quick", "warning", "server", summary="quick", when="true", events=(EventBinding("hit", "hit", 60.0),)
)
#: of each signal the values that are tried; None is unknown
_TRIED: dict[str, tuple[Value | None, ...]] = {
    "server.is_router": (None, True, False),
    "server.state": (None, "ready", "exited"),
    "server.slots": (None, 0, 4),
    "host.kernel_log_readable": (None, True, False),
}


@pytest.mark.parametrize(
    "when",
    [
        "server.is_router",
        "!server.is_router",
        "!!server.is_router",
        "!server.is_router == host.kernel_log_readable",
        "!(server.is_router || server.slots > 2)",
        "!(server.is_router && server.slots > 2) && has(server.state)",
        "server.is_router || !has(server.slots) && server.state == 'ready'",
        "has(server.state) ? server.state != 'ready' : has(server.slots)",
        "!(has(server.state) ? server.state in ['ready', 'failed'] : server.slots >= 4)",
        "(server.is_router ? 1 : 2) == 2",
        "server.slots + 1 > 4 || host.kernel_log_readable",
        "hit.count > 0 && hit.age < 30.0",
        "!(hit.count == 0 || server.state != 'exited')",
        "of_router",
        "!of_router && !idle",
        "idle ? of_router : !of_router",
        "of_router == idle",
        "server.state.matches('^re') && server.is_router",
    ],
)
def test_the_quick_answer_is_that_of_the_whole_judgement(when: str) -> None:
    named = (Named("of_router", "has(server.is_router) && server.is_router"), Named("idle", "server.slots == 0 || hit.count > 1"))
    compiled = compile_rule(replace(_RULE, when=when, checks=named))
    whole = compiled.quick.written()
    assert whole is not always
    for values, happened in product(product(*_TRIED.values()), (0, 1, 2)):
        world = EngineState({})
        for signal, value in zip(_TRIED, values, strict=True):
            if value is not None:
                world.put(HOST if signal.startswith("host.") else SERVER, signal, value, AT, "test")
        for number in range(happened):
            world.log.add(Event(AT - 20.0 * number, "hit", SERVER))
        matches = judge(compiled, SERVER, AT, world).verdict is Verdict.MATCH
        known = Known(compiled, SERVER, AT, world)
        try:
            quick = bool(whole(known, known.facts, known.host))
        except Undecided:
            # What only CEL decides is left to it.
            assert "matches" in when
        else:
            assert quick is matches, (values, happened)


def test_every_shipped_rule_has_one(ruleset: RuleSet) -> None:
    assert [rule_id for rule_id, compiled in ruleset.rules.items() if compiled.quick.written() is always] == []


@pytest.mark.parametrize("checks", [(Named("a", "b"), Named("b", "a")), tuple(Named(f"c{n}", f"c{n + 1}") for n in range(2000))])
def test_what_cannot_be_written_so_is_judged_in_full(checks: tuple[Named, ...]) -> None:
    compiled = compile_rule(replace(_RULE, when=checks[0].name, checks=checks))
    assert compiled.quick.written() is always
