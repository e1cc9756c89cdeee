"""CEL expressions as Python functions: all that the shipped rules ask, reading only what the answer needs.

A function gives what CEL gives, or raises `Undecided`: for operands whose treatment is CEL's own affair (unlike types, an
overflow, a division by zero). CEL is then asked, as it is for an expression that has no form in Python; tests hold one against
the other. Semantics as measured with common-expression-language 0.10.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Set
from typing import Any

from sentinel.engine.rules import comparisons, operations
from sentinel.engine.rules.operations import Function, Variables


class _Untranslatable(Exception):
    """The expression uses what has no translation."""


class _Null:
    """CEL's null: known, and no value. Unknown is None."""


_NULL = _Null()

TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.])|\d+(?![\w.]))
    | (?P<text>(?<!\w)'(?:[^'\\\n]|\\['"\\])*'|(?<!\w)"(?:[^"\\\n]|\\['"\\])*")
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
ESCAPED = re.compile(r"\\(.)")

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_METHODS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": operator.contains,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
}


def translated(source: str, tables: Set[str], events: Set[str]) -> Function | None:
    """The function of an expression; None if it has none.

    `tables` hold values by one key (``server.state``), `events` have ``count``, ``age`` and ``fields``. The function returns None
    for unknown, and for null.
    """
    try:
        return _Parser(source, tables, events).whole()
    except (_Untranslatable, RecursionError):
        return None


class _Parser:
    """Reads an expression and makes its function in one go."""

    def __init__(self, source: str, tables: Set[str], events: Set[str]) -> None:
        self._source = source
        self._tables = tables
        self._events = events
        #: whether there is a null in it, which the whole may be
        self._null = False
        self._at = 0
        self._kind = self._word = ""
        self._next()

    def _next(self) -> None:
        token = TOKEN.match(self._source, self._at)
        if token is None:
            raise _Untranslatable
        self._at = token.end()
        self._kind = token.lastgroup or ""
        self._word = token[self._kind]

    def _take(self, *signs: str) -> str:
        """The sign here if it is one of these, and go on; else an empty text."""
        if self._kind != "sign" or self._word not in signs:
            return ""
        sign = self._word
        self._next()
        return sign

    def _want(self, sign: str) -> None:
        if not self._take(sign):
            raise _Untranslatable

    def whole(self) -> Function:
        function = self._choice()
        if self._kind != "end":
            raise _Untranslatable
        if not self._null:
            return function

        def without_null(names: Variables) -> Any:
            value = function(names)
            return None if value is _NULL else value

        return without_null

    def _choice(self) -> Function:
        asked = self._either()
        if not self._take("?"):
            return asked
        # An unbracketed conditional here is a mistake in CEL.
        this = self._either()
        self._want(":")
        return operations.chosen(asked, this, self._choice())

    def _either(self) -> Function:
        operands = [self._both()]
        while self._take("||"):
            operands.append(self._both())
        return operands[0] if len(operands) == 1 else operations.absorbed(tuple(operands), decisive=True)

    def _both(self) -> Function:
        operands = [self._relation()]
        while self._take("&&"):
            operands.append(self._relation())
        return operands[0] if len(operands) == 1 else operations.absorbed(tuple(operands), decisive=False)

    def _relation(self) -> Function:
        left = self._sum()
        while True:
            if sign := self._take("==", "!="):
                left = comparisons.equal(left, self._sum(), wanted=sign == "==")
            elif sign := self._take(*_ORDER):
                left = comparisons.ordered(_ORDER[sign], left, self._sum())
            elif self._kind == "name" and self._word == "in":
                self._next()
                self._want("[")
                left = comparisons.among(left, self._arguments("]"))
            else:
                return left

    def _sum(self) -> Function:
        left = self._product()
        while sign := self._take("+", "-"):
            left = (
                operations.added(left, self._product())
                if sign == "+"
                else operations.computed(operator.sub, left, self._product())
            )
        return left

    def _product(self) -> Function:
        left = self._unary()
        while sign := self._take("*", "/", "%"):
            left = (
                operations.computed(operator.mul, left, self._unary())
                if sign == "*"
                else operations.divided(sign, left, self._unary())
            )
        return left

    def _unary(self) -> Function:
        if self._take("!"):
            return operations.negated(self._unary())
        if self._take("-"):
            return operations.computed(operator.sub, operations.Constant(0), self._unary(), minus=True)
        return self._member()

    def _member(self) -> Function:
        if self._take("("):
            function = self._choice()
            self._want(")")
            return self._called(function) if self._kind == "sign" and self._word == "." else function
        kind, word = self._kind, self._word
        self._next()
        if kind == "number":
            return operations.Constant(float(word) if "." in word else _small(int(word)))
        if kind == "text":
            return self._called(operations.Constant(ESCAPED.sub(r"\1", word[1:-1])))
        if kind != "name" or word == "in":
            raise _Untranslatable
        if word in ("true", "false"):
            return operations.Constant(word == "true")
        if word == "null":
            self._null = True
            return operations.Constant(_NULL)
        if self._take("("):
            return self._function(word)
        return self._path(word)

    def _path(self, first: str) -> Function:
        parts = [first]
        while self._take("."):
            name = self._word
            if self._kind != "name":
                raise _Untranslatable
            self._next()
            if self._take("("):
                return self._method(self._read(parts), name)
            parts.append(name)
        return self._read(parts)

    def _read(self, parts: list[str]) -> Function:
        self._check(parts)
        path = ".".join(parts)
        return operations.Age(path) if parts[0] in self._events and parts[1:] == ["age"] else operations.named(path)

    def _check(self, parts: list[str]) -> None:
        root, *rest = parts
        if root in self._events:
            if rest not in (["count"], ["age"]) and not (len(rest) == 2 and rest[0] == "fields"):
                raise _Untranslatable
        elif len(rest) != (1 if root in self._tables else 0):
            raise _Untranslatable

    def _called(self, receiver: Function) -> Function:
        while self._take("."):
            name = self._word
            self._next()
            self._want("(")
            receiver = self._method(receiver, name)
        return receiver

    def _method(self, receiver: Function, name: str) -> Function:
        arguments = self._arguments(")")
        if name not in _METHODS or len(arguments) != 1:
            raise _Untranslatable
        return self._called(operations.asked(_METHODS[name], receiver, arguments[0]))

    def _arguments(self, closing: str) -> tuple[Function, ...]:
        found = []
        while not self._take(closing):
            found.append(self._choice())
            if self._take(closing):
                break
            self._want(",")
        return tuple(found)

    def _function(self, name: str) -> Function:
        if name == "has":
            return self._called(self._has())
        arguments = self._arguments(")")
        if name not in operations.CONVERT or len(arguments) != 1:
            raise _Untranslatable
        return self._called(operations.converted(operations.CONVERT[name], arguments[0]))

    def _has(self) -> Function:
        if self._kind != "name":
            raise _Untranslatable
        parts = [self._word]
        self._next()
        while self._take("."):
            parts.append(self._word)
            self._next()
        self._want(")")
        self._check(parts)
        if len(parts) == 1:
            raise _Untranslatable
        return operations.is_known(".".join(parts), f"{parts[0]}.count" if parts[0] in self._events else "")


def _small(number: int) -> int:
    if number > operations.MOST:
        raise _Untranslatable
    return number
