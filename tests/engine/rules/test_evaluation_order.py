"""The order of values and checks in a rule file changes no verdict; a cycle of them is an error."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_rules import GOOD

from sentinel.engine.engine import Engine
from sentinel.engine.rules.evaluation_order import cycle, cycle_through, in_order
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Verdict
from sentinel.model.entity import Entity
from sentinel.model.problem import Problem
from sentinel.model.reading import Samples
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load

SERVER = Entity("server", "llama.service")
LINES = ('slow = "server.slots < 3 && small"', 'small = "half < 2.0"', 'other = "!slow"')
VALUES = ('half = "whole / 2.0"', 'whole = "double(server.slots)"')


def loaded(*checks: str, values: tuple[str, ...] = VALUES) -> tuple[RuleSet | None, list[Problem]]:
    text = GOOD.replace('slow = "speed < 1.0"', "\n".join(checks)).replace("[value]\n", "[value]\n" + "\n".join(values) + "\n")
    return load({"rule.toml": text.encode()}, read([shipped()])[1])


@pytest.mark.parametrize("checks", list(permutations(LINES)))
@pytest.mark.parametrize("values", [VALUES, VALUES[::-1]])
def test_a_check_may_read_one_that_is_written_below_it(checks: tuple[str, ...], values: tuple[str, ...]) -> None:
    ruleset, problems = loaded(*checks, values=values)
    assert ruleset is not None, problems
    engine = Engine(ruleset)
    engine.step(Samples(1e9, "test", SERVER, {"server.slots": 2}))
    found = engine.finding("too-slow", SERVER, 1e9)
    assert found.verdict is Verdict.MATCH
    assert {c.check: c.value for c in found.checks} == {"slow": True, "small": True, "other": False}
    assert [c.check for c in found.checks] == [line.partition(" ")[0] for line in checks], "shown in another order"


def test_a_value_may_read_a_check() -> None:
    ruleset, problems = loaded('slow = "share > 1.0"', 'many = "server.slots > 3"', values=('share = "many ? 2.0 : 0.5"',))
    assert ruleset is None, "share stands in the sample already"
    assert any("share" in str(p) for p in problems)
    ruleset, problems = loaded('slow = "part > 1.0"', 'many = "server.slots > 3"', values=('part = "many ? 2.0 : 0.5"',))
    assert ruleset is not None, problems
    engine = Engine(ruleset)
    engine.step(Samples(1e9, "test", SERVER, {"server.slots": 4}))
    assert engine.finding("too-slow", SERVER, 1e9).verdict is Verdict.MATCH


@pytest.mark.parametrize(
    ("checks", "values", "expected"),
    [
        (
            ('slow = "!quick"', 'quick = "!slow"'),
            (),
            "rule.toml:16: check.slow: forms a cycle: slow -> quick -> slow; none of",
        ),
        (('slow = "slow || server.slots > 3"',), (), "rule.toml:16: check.slow: forms a cycle: slow -> slow"),
        (
            ('slow = "part > 1.0"',),
            ('part = "slow ? 2.0 : 0.5"',),
            "rule.toml:13: value.part: forms a cycle: part -> slow -> part",
        ),
    ],
)
def test_a_cycle_is_one_error(checks: tuple[str, ...], values: tuple[str, ...], expected: str) -> None:
    ruleset, problems = loaded(*checks, values=values)
    assert ruleset is None
    (problem,) = problems
    assert str(problem).startswith(expected)


@pytest.mark.parametrize(
    ("checks", "values", "expected"),
    [
        (
            ('slow = "speed < 1.0"',),
            ('speed = "1.0"',),
            "value.speed: is the name of a [window] too; each needs a name of its own",
        ),
        (('slow = "speed < 1.0"', 'failed = "speed > 1.0"'), (), "check.failed: is the name of a [event] too"),
        (('slow = "speed < 1.0"', 'share = "speed > 1.0"'), (), "check.share: is the name of a [value] too"),
    ],
)
def test_a_name_given_twice_is_an_error(checks: tuple[str, ...], values: tuple[str, ...], expected: str) -> None:
    """One of the two would be read in place of the other."""
    ruleset, problems = loaded(*checks, values=values)
    assert ruleset is None
    assert any(expected in str(p) for p in problems), problems


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES, unique=True).map(tuple), max_size=6))
@settings(max_examples=examples(200), deadline=None)
def test_each_comes_after_what_it_reads_unless_there_is_a_cycle(reads: dict[str, tuple[str, ...]]) -> None:
    order = in_order(reads)
    assert sorted(order) == sorted(reads)
    found = cycle(reads)
    early = [(name, one) for name in reads for one in reads[name] if one in reads and order.index(one) >= order.index(name)]
    assert bool(found) == bool(early) == any(cycle_through(name, reads) for name in reads)
    if found:
        assert found[0] == found[-1]
        assert all(after in reads[before] for before, after in pairwise(found))


def test_names_that_stand_in_order_stay_and_a_long_chain_is_no_matter() -> None:
    assert in_order({"a": (), "b": ("a",), "c": ("speed",), "d": ("c", "a")}) == ("a", "b", "c", "d")
    chain = {str(n): (str(n + 1),) for n in range(20000)}
    assert in_order(chain)[0] == "19999"
    assert cycle(chain) == ()
