"""Mistakes in expressions that no single evaluation shows, and causes that can never be told."""

from __future__ import annotations

import pytest
from sample_rules import GOOD

from sentinel.engine.rules.cel_syntax import bracketed, choice, comparison, disjuncts, plain
from sentinel.engine.rules.expression import Condition, context
from sentinel.model.problem import Problem
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load_events, load_rules


def _problems(old: str, new: str) -> list[Problem]:
    assert old in GOOD
    definitions, _ = load_events(read([shipped()])[1])
    return load_rules({"rule.toml": GOOD.replace(old, new, 1).encode()}, definitions)[2]


def _of_check(expression: str) -> list[Problem]:
    return _problems('slow = "speed < 1.0"', f'slow = """{expression}"""')


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("speed > 100.0 && server.rss_bytes + speed > 1.0", "mixes types: server.rss_bytes + speed:"),
        ("speed > 1.0 || server.user > 3", "compares 'server.user', which is text, with 3, which is number"),
        ("speed > 1.0 ? true : server.rss_bytes * speed > 1.0", "mixes types: server.rss_bytes * speed:"),
        ("speed > 100.0 && (speed < 1.0 || !(server.pid + speed > 1.0))", "mixes types: server.pid + speed:"),
        ("speed > 100.0 && double(server.pid + 1.5) > 1.0", "mixes types: server.pid + 1.5:"),
        ("server.user == server.pid", "compares 'server.user', which is text, with 'server.pid', which is number"),
        ("3 < server.user", "compares 3, which is number, with 'server.user', which is text"),
        ("server.argv_readable == server.pid", "compares 'server.argv_readable', which is flag, with 'server.pid'"),
        ("server.user < server.unit", "is text and has no order"),
        ("speed > 100.0 && server.pid", "must be true or false: 'server.pid' is int"),
        ("server.pid in ['a', 'b']", "looks for 'server.pid', which is number, in a list of text"),
        ("(speed > 100.0 ? 1 : 'x') == 1", "gives int or text:"),
        ("speed > 100.0 && server.pid.contains('1')", "CEL has no function 'contains' for values of these types"),
        ("server.user.lower() == 'root'", "CEL has no function 'lower'"),
        ("speed > 100.0 && server.user.matches('[')", "not a valid regex"),
    ],
)
def test_a_mistake_behind_what_the_samples_make_false_is_found_once(expression: str, what: str) -> None:
    found = _of_check(expression)
    assert len(found) == 1, [str(p) for p in found]
    assert found[0].where == "check.slow"
    assert what in found[0].what
    assert found[0].level == "error"


@pytest.mark.parametrize(
    "expression",
    [
        "has(server.user) && server.user == 'a && b || 3 < x ? 1 : 2'",
        "server.user.matches('^[0-9]+$') && int(server.user) > 3",
        "server.pid != 0 && 10 / server.pid > 1",
        "['a'].exists(speed, speed == 'b')",
        "speed < 1.0 // not: && server.pid + speed > 1.0",
        "server.pid > 1.5 && {'a': 1}['a'] == 1",
        "server.pid == 7 && [1, 2][server.pid] == 1",
        "server.rss_bytes - server.swap_bytes > 0 && server.start_time + server.stalled_seconds > 0.0",
        "server.slots_busy <= server.threads || server.ctx_requested * server.rss_bytes > server.swap_bytes",
        "server.rss_bytes > server.cache_ram_asked * 1048576",
    ],
)
def test_a_right_expression_has_no_finding(expression: str) -> None:
    assert [str(p) for p in _of_check(expression)] == []


def test_a_value_that_the_samples_make_null_has_the_type_of_its_other_side() -> None:
    """A sample of null made every use of it a type mistake."""
    share = 'share = "double(server.rss_bytes) / double(host.mem_total_bytes)"'
    value = 'many = "server.slots > 100 ? server.slots : null"'
    assert _problems(share, f'{value}\nmore = "many + 1"') == []
    assert "mixes types: many + 1.5" in _problems(share, f'{value}\nmore = "many + 1.5"')[0].what


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("server.rss_bytes > server.cache_ram_asked", "'server.rss_bytes' is in bytes, 'server.cache_ram_asked' in MiB"),
        ("server.rss_bytes + server.ctx_requested > 7", "'server.ctx_requested' in tokens"),
        ("speed < 1.0 && double(server.pid) > 1.0 && server.slot_fill < server.stalled_seconds", "is in ratio"),
        ("double(server.rss_bytes) < server.stalled_seconds", "is in bytes"),
        ("server.stalled_seconds > server.start_time", "in epoch s"),
    ],
)
def test_two_signals_of_different_units_are_warned_of(expression: str, what: str) -> None:
    found = _of_check(expression)
    assert [p.level for p in found] == ["warning"]
    assert what in found[0].what


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("failed.count > 0", "failed.count>0", "cause 'no-gpu', which comes first, is true whenever"),
        ("failed.count > 0", "slow && (failed.count > 0)", "cause 'no-gpu', which comes first, is true whenever"),
        ("slow && failed.count > 0", "failed.count > 0 && speed > 0.1 && slow", "cause 'no-gpu', which comes first"),
        ("slow || failed.count > 0", "slow && speed > 0.1", "cause 'no-gpu', which comes first"),
        ("true", "slow", "cause 'no-gpu', which comes first, is always true"),
        ("failed.count > 0", "slow && !slow", "its condition is never true"),
        ("failed.count > 0", "false", "its condition is never true"),
    ],
)
def test_a_cause_that_can_never_be_reported_is_found(first: str, second: str, why: str) -> None:
    found = _problems('when = "failed.count > 0"', f'when = "{first}"\ntext = "a"\n[[cause]]\nid = "second"\nwhen = "{second}"')
    assert [p.where for p in found] == ["cause 'second'.when", *(["cause 'other'"] if first == "true" else [])]
    assert why in found[0].what


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("slow && failed.count > 0", "slow"),
        ("failed.count > 0", "slow || failed.count > 0"),
        ("failed.fields.api == 'a b'", "failed.fields.api == 'ab'"),
        ("slow ? failed.count > 0 : false", "slow && speed > 0.1"),
        ("failed.count > 0", "(slow || failed.count > 0) && (!slow || failed.count > 0)"),
    ],
)
def test_a_cause_that_can_be_reported_is_left_alone(first: str, second: str) -> None:
    found = _problems('when = "failed.count > 0"', f'when = "{first}"\ntext = "a"\n[[cause]]\nid = "second"\nwhen = "{second}"')
    assert found == []


def test_a_place_that_a_list_does_not_have_is_unknown() -> None:
    """It ended the daemon: an IndexError is no KeyError."""
    assert Condition("[1, 2][n] == 1").evaluate(context({"n": 7})) is None


def test_expressions_are_taken_apart_outside_of_texts_and_brackets() -> None:
    assert disjuncts("a || (b || c) || d == ' || '") == ("a", "(b || c)", "d == ' || '")
    assert choice("a ? b ? 1 : 2 : {1: 2}[1]") == ("a", "b ? 1 : 2", "{1: 2}[1]")
    assert choice("(a ? b : c)") is None
    assert comparison("x + 1 <= size(y < z)") == ("x + 1", "<=", "size(y < z)")
    assert comparison("min in list") == ("min", "in", "list")
    assert [*bracketed("f(a, (b)) + [c][0] + has(d) + {'e': 1}")] == ["a", "(b)", "c", "0"]
    assert plain(" ( a  &&\n b in c // why\n)") == "a&&b in c"
    assert plain("(a) || (b)") == "(a)||(b)"
