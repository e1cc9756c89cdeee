"""Expressions against a slow reading of the same expressions: what is known decides where it can, and nothing else does.

The reference knows three truths and numbers that may be unknown, nothing of CEL, of errors or of memory.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.rules.cel_syntax import conjuncts
from sentinel.engine.rules.expression import Condition, context

#: What is known by dotted name. A name that is not there is unknown.
Known = Mapping[str, Any]
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS = ("server.slots", "host.gpu_count", "kills", "killed.count", "killed.fields.pid")
_TEXTS = ("server.state", "killed.fields.comm")
_FLAGS = ("asked", "server.ready", "host.seen")


@dataclass(frozen=True)
class Expr:
    """An expression as text, and what it comes to: True, False or None for unknown."""

    text: str
    truth: Callable[[Known], bool | None]


@dataclass(frozen=True)
class Operand:
    """A number or a text as it is written, and its value, None for unknown."""

    text: str
    value: Callable[[Known], Any]


def _name(path: str) -> Operand:
    return Operand(path, lambda known: known.get(path))


def _constant(text: str, value: Any) -> Operand:
    return Operand(text, lambda known: value)


def _sum(left: Operand, right: Operand) -> Operand:
    def value(known: Known) -> Any:
        one, other = left.value(known), right.value(known)
        return None if one is None or other is None else one + other

    return Operand(f"({left.text} + {right.text})", value)


def _quotient(left: Operand, right: Operand) -> Operand:
    """Towards zero, as CEL divides whole numbers; by zero is unknown."""

    def value(known: Known) -> Any:
        one, other = left.value(known), right.value(known)
        if one is None or not other:
            return None
        whole = abs(one) // abs(other)
        return whole if (one < 0) == (other < 0) else -whole

    return Operand(f"({left.text} / {right.text})", value)


def _compared(left: Operand, sign: str, right: Operand) -> Expr:
    def truth(known: Known) -> bool | None:
        one, other = left.value(known), right.value(known)
        return None if one is None or other is None else _COMPARE[sign](one, other)

    return Expr(f"{left.text} {sign} {right.text}", truth)


def _has(path: str) -> Expr:
    """Whether a value is there. Of an event that nobody looked for it is unknown what it had."""

    def truth(known: Known) -> bool | None:
        if path.startswith("killed.") and "killed.count" not in known:
            return None
        return path in known

    return Expr(f"has({path})", truth)


def _both(left: Expr, right: Expr) -> Expr:
    def truth(known: Known) -> bool | None:
        sides = {left.truth(known), right.truth(known)}
        return False if False in sides else None if None in sides else True

    return Expr(f"({left.text} && {right.text})", truth)


def _either(left: Expr, right: Expr) -> Expr:
    def truth(known: Known) -> bool | None:
        sides = {left.truth(known), right.truth(known)}
        return True if True in sides else None if None in sides else False

    return Expr(f"({left.text} || {right.text})", truth)


def _negated(inner: Expr) -> Expr:
    def truth(known: Known) -> bool | None:
        value = inner.truth(known)
        return None if value is None else not value

    return Expr(f"!({inner.text})", truth)


def _chosen(asked: Expr, yes: Expr, no: Expr) -> Expr:
    def truth(known: Known) -> bool | None:
        value = asked.truth(known)
        return None if value is None else (yes if value else no).truth(known)

    return Expr(f"({asked.text} ? {yes.text} : {no.text})", truth)


_numbers = st.recursive(
    st.one_of(st.sampled_from(_NUMBERS).map(_name), st.integers(-3, 3).map(lambda n: _constant(str(n), n))),
    lambda inner: st.one_of(st.builds(_sum, inner, inner), st.builds(_quotient, inner, inner)),
    max_leaves=3,
)
_texts = st.one_of(
    st.sampled_from(_TEXTS).map(_name),
    st.sampled_from(("ready", "", "a && b", "x || !y ? (")).map(lambda text: _constant(f"'{text}'", text)),
)
_signs = st.sampled_from(sorted(_COMPARE))
_leaves = st.one_of(
    st.builds(_compared, _numbers, _signs, _numbers),
    st.builds(_compared, _texts, st.sampled_from(["==", "!="]), _texts),
    st.sampled_from(_FLAGS).map(lambda path: Expr(path, lambda known: known.get(path))),
    st.sampled_from([p for p in (*_NUMBERS, *_TEXTS, *_FLAGS) if "." in p]).map(_has),
    st.sampled_from([Expr("true", lambda known: True), Expr("false", lambda known: False)]),
)
_expressions = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(_both, inner, inner),
        st.builds(_either, inner, inner),
        st.builds(_negated, inner),
        st.builds(_chosen, inner, inner, inner),
    ),
    max_leaves=10,
)
_worlds = st.fixed_dictionaries(
    {},
    optional={
        **{path: st.integers(-2, 2) for path in _NUMBERS},
        **{path: st.sampled_from(["ready", "loading", "", "a && b"]) for path in _TEXTS},
        **{path: st.booleans() for path in _FLAGS},
    },
).map(lambda known: known if "killed.count" in known else {k: v for k, v in known.items() if not k.startswith("killed.")})


def _tables(names: Iterable[str], known: Known) -> Any:
    """As a rule's values are given to CEL: scopes are always there, an event where it is known whether it happened."""
    tables: dict[str, Any] = {"server": {}, "host": {}}
    if "killed.count" in known:
        tables["killed"] = {"fields": {}}
    for name in names:
        if name in known:
            *outer, last = name.split(".")
            here = tables
            for part in outer:
                here = here[part]
            here[last] = known[name]
    return context(tables)


@given(_expressions, st.lists(_worlds, min_size=1, max_size=4))
@settings(max_examples=examples(600), deadline=None)
def test_expressions_come_to_what_three_valued_logic_says(expr: Expr, worlds: list[dict[str, Any]]) -> None:
    """By CEL and by the form in Python: unknown only where no value of what is missing could decide less."""
    condition = Condition(expr.text)
    condition.declare(frozenset({"server", "host"}), frozenset({"killed"}))
    for known in worlds:
        wanted = expr.truth(known)
        assert condition.evaluate(_tables(known, known)) is wanted
        assert condition.ask(defaultdict(lambda: None, known), lambda _asked, known=known: _tables(known, known)) is wanted  # type: ignore[misc]


@given(st.lists(_expressions, min_size=1, max_size=4), _worlds)
@settings(max_examples=examples(200), deadline=None)
def test_the_parts_of_a_conjunction_say_what_the_whole_says(parts: list[Expr], known: dict[str, Any]) -> None:
    """A quiet rule is left at the first part that is false: the parts must be those, whatever their texts hold."""
    source = " && ".join(part.text if part.text.startswith("(") else f"({part.text})" for part in parts)
    found = conjuncts(source)
    truths = [Condition(part).evaluate(_tables(known, known)) for part in found]
    whole = Condition(source).evaluate(_tables(known, known))
    assert len(found) == len(parts)
    assert whole is (False if False in truths else None if None in truths else True)


@given(_expressions, _worlds, st.data())
@settings(max_examples=examples(300), deadline=None)
def test_to_learn_more_never_changes_what_is_certain(expr: Expr, known: dict[str, Any], data: st.DataObject) -> None:
    """What is true or false stays so whatever the values are that were missing; `has` asks just that, so it is left out."""
    if "has(" in expr.text:
        return
    before = Condition(expr.text).evaluate(_tables(known, known))
    if before is not None:
        more = {**data.draw(_worlds), **known}
        if "killed.count" not in more:
            more = {k: v for k, v in more.items() if not k.startswith("killed.")}
        assert Condition(expr.text).evaluate(_tables(more, more)) is before


@pytest.mark.parametrize(
    ("source", "known", "truth"),
    [
        ("server.slots > 1 && false", {}, False),
        ("server.slots > 1 || true", {}, True),
        ("server.slots == server.slots", {}, None),
        ("!(kills > 0)", {}, None),
        ("asked ? true : server.ready", {"asked": True}, True),
        ("asked ? true : true", {}, None),
        ("has(killed.fields.pid)", {"killed.count": 1}, False),
        ("has(killed.fields.pid)", {}, None),
        ("has(server.slots) && server.slots > 1", {}, False),
        ("kills / killed.count > 0 || asked", {"kills": 1, "killed.count": 0, "asked": True}, True),
    ],
)
def test_some_of_them_by_hand(source: str, known: dict[str, Any], truth: bool | None) -> None:
    assert Condition(source).evaluate(_tables(known, known)) is truth
