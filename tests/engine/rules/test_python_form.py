"""The form that an expression has in Python gives what CEL gives: value, type, unknown, and mistakes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from effort import examples

from sentinel.engine.rules.compile import operands
from sentinel.engine.rules.expression import Condition, ExpressionError, context
from sentinel.engine.rules.python_form import translated
from sentinel.engine.rules.ruleset import RuleSet

TABLES, EVENTS = frozenset({"server", "host", "gpu"}), frozenset({"killed"})
#: of every type, and where types, signs and 64 bits matter; None is unknown
_VALUES = (
    None, True, False, 0, 1, 2, -1, -7, 4096, 1 << 40, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63),
    0.0, 1.0, -2.5, 90.0, 1e300, math.inf, math.nan, "", "ready", "a && b", "13", "hip, cuda", "/", "\u00e4",
)  # fmt: skip


class Names(dict[str, Any]):
    def __missing__(self, name: str) -> None:
        return None


def _context(names: Mapping[str, Any], events: frozenset[str]) -> Any:
    """As rules give values to CEL: scopes are always there, an event where it is known whether it happened."""
    tables: dict[str, Any] = {scope: {} for scope in TABLES}
    tables |= {event: {"fields": {}} for event in events if names.get(f"{event}.count") is not None}
    for name, value in names.items():
        *outer, last = name.split(".", 2)
        if value is None or (outer and outer[0] not in tables):
            continue
        here = tables
        for part in outer:
            here = here[part]
        here[last] = value
    return context(tables)


def _outcome(condition: Condition, names: Names, events: frozenset[str], *, by_cel: bool) -> tuple[type, str]:
    try:
        if by_cel:
            value = condition.evaluate(_context(names, events))
        else:
            value = condition.ask(names, lambda _: _context(names, events))
    except ExpressionError as error:
        return ExpressionError, str(error)
    return type(value), repr(value)


def _conditions(ruleset: RuleSet) -> Iterator[tuple[Condition, frozenset[str]]]:
    for compiled in ruleset.rules.values():
        events = frozenset(compiled.bindings)
        said = [c for _, c in compiled.values + compiled.checks] + [compiled.when, compiled.clear]
        said += operands(compiled.rule)
        for cause in compiled.causes:
            said += [cause.when, *(fix.when for fix in cause.fixes)]
        yield from ((condition, events) for condition in said if condition is not None)


def test_every_shipped_expression_has_a_form(ruleset: RuleSet) -> None:
    sources = {(condition.source, events) for condition, events in _conditions(ruleset)}
    assert len(sources) > 500
    assert [source for source, events in sources if translated(source, TABLES, events) is None] == []


def test_every_shipped_expression_gives_what_cel_gives(ruleset: RuleSet) -> None:
    """On values of any type under every name that it reads."""
    chance = random.Random(7)
    likely = [value for value in _VALUES if value is None or isinstance(value, bool | int)]
    wrong = []
    for condition, events in {c.source: (c, events) for c, events in _conditions(ruleset)}.values():
        happened = {path.split(".")[0] for path in condition.paths} & events
        for n in range(examples(12)):
            names = Names({path: chance.choice(likely if n % 3 else _VALUES) for path in condition.paths})
            names |= {f"{event}.count": chance.choice((None, 0, 1, 3)) for event in happened}
            for path in [p for p in condition.paths if p.split(".")[0] in events and not names[f"{p.split('.')[0]}.count"]]:
                # An event that did not happen, or of which nothing is known, has no age and no fields.
                if path != f"{path.split('.')[0]}.count":
                    names[path] = None
            ours = _outcome(condition, names, events, by_cel=False)
            theirs = _outcome(condition, names, events, by_cel=True)
            if ours != theirs:
                wrong.append((condition.source, dict(names), ours, theirs))
    assert wrong == []


_PAIRS = [f"x {sign} y" for sign in ("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&&", "||")]
_PAIRS += [
    "x in [y]",
    "x in [1, y, 'a']",
    "x.contains(y)",
    "x.startsWith(y)",
    "x.endsWith(y)",
    "x ? y : null",
    "(x ? y : null) == x",
]
_PAIRS += ["-x - -y", "!x || !y", "double(x) / double(y)", "int(x) + int(y)", "string(x) + string(y)", "x - y - 1 < x * 2 + y"]
_PAIRS += [
    "server.a == x && has(server.b)",
    "has(killed.fields.a) ? killed.fields.a == x : y",
    "killed.count > 0 || x",
    "has(killed.age)",
]


@pytest.mark.parametrize("source", _PAIRS)
def test_operands_of_every_type(source: str) -> None:
    condition = Condition(source)
    condition.declare(TABLES, EVENTS)
    assert translated(source, TABLES, EVENTS) is not None
    for x, y, count in itertools.product(_VALUES, _VALUES, (None, 0, 2) if "killed" in source else (None,)):
        names = Names({"x": x, "y": y, "server.a": y, "killed.count": count})
        names |= {"killed.fields.a": x, "killed.age": 1.5} if count else {}
        assert _outcome(condition, names, EVENTS, by_cel=False) == _outcome(condition, names, EVENTS, by_cel=True), dict(names)


@pytest.mark.parametrize(
    "source",
    [
"server['state'] == 'x'", "size(x) > 1", "type(x) == int", "[1, 2].exists(i, i == x)", "x in y",
        "killed.fields.size() > 0", "killed == x", "server", "x.matches('a')", "0x10 == x", "1u == x", "r'a' == x",
        "x == 1 // one", r"'\n' == x", "has(x)", "{'a': 1}.a == x", "'''a''' == x", "x ? y ? 1 : 2 : 3",
        "x == 9223372036854775808", "(1 + 1).x", "x.y", "x ==", "(x", "",
    ],
)  # fmt: skip
def test_what_has_no_form_is_left_to_cel(source: str) -> None:
    assert translated(source, TABLES, EVENTS) is None


@pytest.mark.parametrize("source", ["(" * 900 + "x" + ")" * 900, "!" * 1900 + "x", "-" * 1900 + "1"])
def test_what_is_nested_very_deeply_has_none(source: str) -> None:
    assert translated(source, TABLES, EVENTS) is None


@pytest.mark.parametrize("sign", ["+", "-", "*"])
def test_each_operand_of_a_long_sum_is_read_once(sign: str) -> None:
    """Sums were computed twice, and the sums in them twice each time: twelve terms took 540 us."""

    class Counted(Names):
        read = 0

        def __getitem__(self, name: str) -> int:
            self.read += 1
            return 1

    names = Counted()
    function = translated(f" {sign} ".join(["x"] * 40), TABLES, EVENTS)
    assert function is not None
    function(names)
    assert names.read == 40


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("2 - 1 - 1", 0), ("8 / 4 / 2", 1), ("1 + 2 * 3 == 7", True), ("!true == false", True), ("1 < 2 == true", True),
        ("true || false && false", True), ("-7 / 2", -3), ("-7 % 3", -1), (r"'it\'s' + " + '""', "it's"), ("1.5e3", 1500.0),
        ("false ? 1 : true ? 2 : 3", 2), ("('a' + 'b').contains('b')", True), ("2 in [1, 2] == true", True), ("--1", 1),
    ],
)  # fmt: skip
def test_precedence_and_literals(source: str, value: object) -> None:
    function = translated(source, TABLES, EVENTS)
    assert function is not None
    assert function(Names()) == value == Condition(source).evaluate(context({}))
