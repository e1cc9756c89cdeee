"""CEL expressions as Python functions: all that the shipped rules ask, reading only what the answer needs.

A function gives what CEL gives, or raises `Undecided`: for operands whose treatment is CEL's own affair (unlike types, an
overflow, a division by zero). CEL is then asked, as it is for an expression that has no form in Python; tests hold one against
the other. Semantics as measured with common-expression-language 0.10.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Set
from typing import Any, NoReturn

#: Gives the value of each dotted name, None where it is unknown.
Names = Mapping[str, Any]
Function = Callable[[Names], Any]


class Undecided(Exception):
    """Ask CEL."""


class _Untranslatable(Exception):
    """The expression uses what has no translation."""


class _Null:
    """CEL's null: known, and no value. Unknown is None."""


_NULL = _Null()

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.])|\d+(?![\w.]))
    | (?P<text>(?<!\w)'(?:[^'\\\n]|\\['"\\])*'|(?<!\w)"(?:[^"\\\n]|\\['"\\])*")
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)")

#: CEL computes with signed 64 bits.
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
#: Beyond, an integer is compared with a float by rounding it.
_EXACT = 1 << 53
#: int() of a float: far from where it overflows
_SMALL = float(1 << 62)

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
    except _Untranslatable:
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
        token = _TOKEN.match(self._source, self._at)
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

        def without_null(names: Names) -> Any:
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
        return _chosen(asked, this, self._choice())

    def _either(self) -> Function:
        operands = [self._both()]
        while self._take("||"):
            operands.append(self._both())
        return operands[0] if len(operands) == 1 else _absorbed(tuple(operands), decisive=True)

    def _both(self) -> Function:
        operands = [self._relation()]
        while self._take("&&"):
            operands.append(self._relation())
        return operands[0] if len(operands) == 1 else _absorbed(tuple(operands), decisive=False)

    def _relation(self) -> Function:
        left = self._sum()
        while True:
            if sign := self._take("==", "!="):
                left = _equal(left, self._sum(), wanted=sign == "==")
            elif sign := self._take(*_ORDER):
                left = _ordered(_ORDER[sign], left, self._sum())
            elif self._kind == "name" and self._word == "in":
                self._next()
                self._want("[")
                left = _among(left, self._arguments("]"))
            else:
                return left

    def _sum(self) -> Function:
        left = self._product()
        while sign := self._take("+", "-"):
            left = _added(left, self._product()) if sign == "+" else _computed(operator.sub, left, self._product())
        return left

    def _product(self) -> Function:
        left = self._unary()
        while sign := self._take("*", "/", "%"):
            left = _computed(operator.mul, left, self._unary()) if sign == "*" else _divided(sign, left, self._unary())
        return left

    def _unary(self) -> Function:
        if self._take("!"):
            return _negated(self._unary())
        if self._take("-"):
            return _computed(operator.sub, _constant(0), self._unary(), minus=True)
        return self._member()

    def _member(self) -> Function:
        if self._take("("):
            function = self._choice()
            self._want(")")
            return self._called(function) if self._kind == "sign" and self._word == "." else function
        kind, word = self._kind, self._word
        self._next()
        if kind == "number":
            return _constant(float(word) if "." in word else _small(int(word)))
        if kind == "text":
            return self._called(_constant(_ESCAPED.sub(r"\1", word[1:-1])))
        if kind != "name" or word == "in":
            raise _Untranslatable
        if word in ("true", "false"):
            return _constant(word == "true")
        if word == "null":
            self._null = True
            return _constant(_NULL)
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
        return _named(".".join(parts))

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
        return self._called(_asked(_METHODS[name], receiver, arguments[0]))

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
        if name not in _CONVERT or len(arguments) != 1:
            raise _Untranslatable
        return self._called(_converted(_CONVERT[name], arguments[0]))

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
        return _is_known(".".join(parts), f"{parts[0]}.count" if parts[0] in self._events else "")


def _small(number: int) -> int:
    if number > _MOST:
        raise _Untranslatable
    return number


def _undecided() -> NoReturn:
    raise Undecided


def _constant(value: Any) -> Function:
    def constant(_names: Names) -> Any:
        return value

    return constant


def _named(path: str) -> Function:
    return operator.itemgetter(path)


def _is_known(path: str, unless_unknown: str) -> Function:
    def known(names: Names) -> bool | None:
        if unless_unknown and names[unless_unknown] is None:
            return None
        return names[path] is not None

    return known


def _chosen(asked: Function, this: Function, that: Function) -> Function:
    def chosen(names: Names) -> Any:
        answer = asked(names)
        if answer is True:
            return this(names)
        if answer is False:
            return that(names)
        return None if answer is None else _undecided()

    return chosen


def _absorbed(operands: tuple[Function, ...], *, decisive: bool) -> Function:
    """``||`` (true decides) and ``&&`` (false decides), whatever else is unknown."""

    otherwise = not decisive

    def absorbed(names: Names) -> bool | None:
        unknown = False
        for operand in operands:
            answer = operand(names)
            if answer is decisive:
                return not otherwise
            if answer is None:
                unknown = True
            elif not isinstance(answer, bool):
                _undecided()
        return None if unknown else otherwise

    return absorbed


def _negated(operand: Function) -> Function:
    def negated(names: Names) -> bool | None:
        answer = operand(names)
        if answer is None:
            return None
        return not answer if isinstance(answer, bool) else _undecided()

    return negated


def _equal(left: Function, right: Function, *, wanted: bool) -> Function:
    def equal(names: Names) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not type(that):
            _check_numbers(this, that)
        return bool(this == that) is wanted

    return equal


def _ordered(before: Callable[[Any, Any], bool], left: Function, right: Function) -> Function:
    def ordered(names: Names) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not int or type(that) is not int:
            _check_numbers(this, that)
        return before(this, that)

    return ordered


def _check_numbers(this: Any, that: Any) -> None:
    """Two numbers whose comparison is the same in CEL and in Python."""
    for one in (this, that):
        if type(one) is int:
            if not -_EXACT < one < _EXACT:
                _undecided()
        elif type(one) is not float or one != one:
            _undecided()


def _among(left: Function, members: tuple[Function, ...]) -> Function:
    def among(names: Names) -> bool | None:
        this = left(names)
        those = [member(names) for member in members]
        if this is None or None in those:
            return None
        if any(type(that) is not type(this) for that in those):
            _undecided()
        return any(this == that for that in those)

    return among


def _added(left: Function, right: Function) -> Function:
    numbers = _computed(operator.add, left, right)

    def added(names: Names) -> Any:
        this, that = left(names), right(names)
        if type(this) is str and type(that) is str:
            return this + that
        return numbers(names)

    return added


def _computed(how: Callable[[Any, Any], Any], left: Function, right: Function, *, minus: bool = False) -> Function:
    """Of two integers, or of two floats. `minus`: of nothing and a number, so that the type of `left` does not count."""

    def computed(names: Names) -> Any:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        kind = type(that)
        if kind is int:
            if type(this) is not int:
                _undecided()
            value = how(this, that)
            return value if _LEAST <= value <= _MOST else _undecided()
        if kind is float and (minus or type(this) is float):
            return -that if minus else how(this, that)
        return _undecided()

    return computed


def _divided(sign: str, left: Function, right: Function) -> Function:
    def divided(names: Names) -> Any:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is int and type(that) is int and that > 0:
            # CEL rounds towards zero, Python down.
            value = abs(this) // that if sign == "/" else abs(this) % that
            return value if this >= 0 else -value
        if sign == "/" and type(this) is float and type(that) is float and that != 0.0:
            return this / that
        return _undecided()

    return divided


def _asked(how: Callable[[str, str], bool], left: Function, right: Function) -> Function:
    def asked(names: Names) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not str or type(that) is not str:
            _undecided()
        return how(this, that)

    return asked


def _to_float(value: Any) -> float:
    return float(value) if type(value) in (int, float) else _undecided()


def _to_int(value: Any) -> int:
    if type(value) is float:
        return int(value) if -_SMALL < value < _SMALL else _undecided()
    return value if type(value) is int else _undecided()


def _to_text(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return value if type(value) is str else _undecided()


_CONVERT: Mapping[str, Callable[[Any], Any]] = {"double": _to_float, "int": _to_int, "string": _to_text}


def _converted(how: Callable[[Any], Any], operand: Function) -> Function:
    def converted(names: Names) -> Any:
        value = operand(names)
        return None if value is None else how(value)

    return converted
