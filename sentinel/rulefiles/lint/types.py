"""Type check of expressions: evaluates an expression and each of its parts on sample values of the right types.

Evaluating ``a && b`` as a whole checks only ``a`` if the sample makes it false: each operand is evaluated by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.cel_syntax import bracketed, choice, comparison, conjuncts, disjuncts, masked
from sentinel.engine.rules.expression import Condition, ExpressionError, context
from sentinel.model.problem import Keys
from sentinel.rulefiles.lint.names import KnownNames
from sentinel.rulefiles.toml.tables import Findings

#: Characters that an expression may produce from texts of one character each.
_LONGEST_TEXT = 1000
#: Characters of a part that a message shows.
_SHOWN = 80
_ORDERED = ("<", "<=", ">", ">=")
_PATH = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"
_NAME = re.compile(r"[A-Za-z_][\w.]*")
#: a single name or number cannot mix units
_SIMPLE = re.compile(r"[\w.]+")
_CONVERTED = re.compile(rf"\b(?:double|int)\(\s*({_PATH})\s*\)")
#: Two adjacent names, neither of them multiplied, divided or called.
_SIDE_BY_SIDE = re.compile(rf"(?<![\w.])({_PATH})\s*(==|!=|<=|>=|<|>|\+|-)\s*(?=({_PATH})(?![\w.])(?!\s*[(*/%\[]))")
_FACTOR_BEFORE = re.compile(r"[*/%]\s*$")
#: Units of measure. The catalogue's other units are counts (slots, layers), some of which may be compared with each other.
_MEASURES = frozenset({"bytes", "MiB", "bytes/s", "s", "epoch s", "ratio", "%", "celsius", "W", "Hz", "GT/s", "tokens/s", "1/s"})
#: A time plus a duration is a time.
_ADDED = frozenset({"s", "epoch s"})


def check_expression(keys: Keys, expression: str, names: KnownNames, findings: Findings) -> None:
    """Note the mistakes of one expression; the result of a value becomes the sample of its name."""
    try:
        condition = Condition(expression)
    except ExpressionError as error:
        findings.error(keys, f"is not CEL: {error}", error.row)
        return
    # Check every name, not only up to the first wrong one.
    if sum(not names.check(path, keys) for path in condition.paths):
        return
    parts = _TypeCheck(context(names.of(condition.paths)))
    mistakes = tuple(dict.fromkeys(parts.mistakes(expression)))
    for mistake in mistakes:
        findings.error(keys, mistake)
    for mistake in dict.fromkeys(_units(expression)):
        findings.warning(keys, mistake)
    if mistakes:
        return
    value = parts.sample(expression)
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        findings.error(keys, f"makes a text of {len(value)} characters of texts of one; it would grow without bounds")
    elif keys[0] == "value":
        names.samples[str(keys[1])] = value
        if isinstance(value, bool):
            findings.warning(keys, "is true or false: make it a [check]")
    elif value is not None and not isinstance(value, bool):
        findings.error(keys, f"must be true or false, it is {type(value).__name__}")


class _TypeCheck:
    """An expression and its parts, each compiled once, evaluated on one sample of every name."""

    def __init__(self, known: object) -> None:
        self._known = known
        self._compiled: dict[str, Condition | None] = {}

    def sample(self, expression: str) -> Any:
        """The result of an expression, None if it has none; of a conditional, from whichever side has one."""
        value = self._evaluated(expression)
        if value is None and (parts := choice(expression)) is not None:
            return next((v for part in parts[1:] if (v := self.sample(part)) is not None), None)
        return value

    def mistakes(self, source: str) -> Iterator[str]:
        """The mistakes of an expression; a whole is not reported for a mistake in its part."""
        if _SIMPLE.fullmatch(source) or (condition := self._condition(source)) is None:
            return
        yield from (found := [*self._of_parts(source)])
        if found:
            return
        try:
            value = condition.evaluate(self._known)
        except ExpressionError as error:
            yield f"mixes types: {error}"
        else:
            if value is None and (name := condition.missing_function(self._known)):
                yield f"{_shown(source)}: CEL has no function '{name}' for values of these types"

    def _condition(self, source: str) -> Condition | None:
        """None for a part that was split wrongly: the whole compiled."""
        if source not in self._compiled:
            try:
                self._compiled[source] = Condition(source)
            except ExpressionError:
                self._compiled[source] = None
        return self._compiled[source]

    def _evaluated(self, source: str) -> Any:
        condition = self._condition(source)
        try:
            return None if condition is None else condition.evaluate(self._known)
        except ExpressionError:
            return None

    def _of_parts(self, source: str) -> Iterator[str]:
        if (three := choice(source)) is not None:
            yield from self._conditions((three[0],))
            yield from self._operands(three[1:])
            one, other = (self.sample(part) for part in three[1:])
            if one is not None and other is not None and _kind(one) != _kind(other):
                yield f"gives {_kind(one)} or {_kind(other)}: {_shown(source)}"
        elif len(parts := disjuncts(source)) > 1 or len(parts := conjuncts(source)) > 1:
            yield from self._conditions(parts)
        elif (sides := comparison(source)) is not None:
            left, operator, right = sides
            yield from (found := [*self._operands((left, right))])
            yield from () if found else self._compared(left, operator, right)
        else:
            yield from self._operands(bracketed(source))

    def _conditions(self, parts: tuple[str, ...]) -> Iterator[str]:
        for part in parts:
            yield from (found := [*self._operands((part,))])
            value = None if found else self._evaluated(part)
            if value is not None and not isinstance(value, bool):
                yield f"must be true or false: {_shown(part)} is {_kind(value)}"

    def _operands(self, parts: Iterable[str]) -> Iterator[str]:
        for part in parts:
            for mistake in self.mistakes(part):
                # A sample text holds no digits: int('x') under a condition that checks for digits is right.
                if "Function '" not in mistake or "regex" in mistake:
                    yield mistake

    def _compared(self, left: str, operator: str, right: str) -> Iterator[str]:
        one, other = self._evaluated(left), self._evaluated(right)
        if operator == "in":
            kinds = {_coarse(v) for v in other} if isinstance(other, list) else set()
            if one is not None and kinds and _coarse(one) not in kinds:
                yield f"looks for {_shown(left)}, which is {_coarse(one)}, in a list of {', '.join(sorted(kinds))}"
            return
        if one is None or other is None:
            return
        want, got = _coarse(one), _coarse(other)
        if want != got:
            yield f"compares {_shown(left)}, which is {want}, with {_shown(right)}, which is {got}"
        elif operator in _ORDERED and want in ("text", "flag"):
            yield f"{_shown(left)} is {want} and has no order"


def _coarse(value: object) -> str:
    kind = _kind(value)
    return "number" if kind in ("int", "float") else kind


def _kind(value: object) -> str:
    return {"str": "text", "bool": "flag"}.get(type(value).__name__, type(value).__name__)


def _shown(source: str) -> str:
    text = " ".join(source.split())
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"'{text}'" if _NAME.fullmatch(text) and text not in ("true", "false") else text


def _units(source: str) -> Iterator[str]:
    """Two signals of different units that are compared, added or subtracted directly: the certain case only."""
    bare = _CONVERTED.sub(r"\1", masked(source))
    for match in _SIDE_BY_SIDE.finditer(bare):
        left, operator, right = match.groups()
        if left not in CATALOGUE or right not in CATALOGUE or _FACTOR_BEFORE.search(bare[: match.start()]):
            continue
        units = {CATALOGUE[left].unit, CATALOGUE[right].unit}
        if len(units) < 2 or "" in units or not units & _MEASURES or (operator in "+-" and units == _ADDED):
            continue
        what = f"'{left}' is in {CATALOGUE[left].unit}, '{right}' in {CATALOGUE[right].unit}"
        yield f"{what}: convert one before {left} {operator} {right}"
