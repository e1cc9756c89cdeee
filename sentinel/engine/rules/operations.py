"""Operations of CEL as Python functions of the names that an expression reads. None is unknown.

Each gives what CEL gives for operands of the types that it takes, or raises `Undecided`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

#: Gives the value of each dotted name, None where it is unknown.
Variables = Mapping[str, Any]
Function = Callable[[Variables], Any]


class Undecided(Exception):
    """Ask CEL."""


#: CEL computes with signed 64 bits.
LEAST, MOST = -(1 << 63), (1 << 63) - 1
#: int() of a float: far from where it overflows
_SMALL = float(1 << 62)


def undecided() -> NoReturn:
    """For the end of an expression."""

    raise Undecided


class Constant:
    """A literal. Where one is compared with, its value is put into the comparison: a call less for nine of ten (measured)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _names: Variables) -> Any:
        return self.value


def named(path: str) -> Function:
    """What a name stands for."""

    return operator.itemgetter(path)


class Age:
    """The age of an event, and so many seconds more. Compared with a number or with another age it changes the outcome at one
    moment, or never: until then the rule need not be asked again, if `names` can say so (`Known`).
    """

    __slots__ = ("more", "path")

    def __init__(self, path: str, more: float = 0.0) -> None:
        self.path = path
        self.more = more

    def __call__(self, names: Variables) -> Any:
        return self._with_more(names[self.path])

    def beside(self, names: Variables) -> Any:
        """The same, where it stands beside another age: both grow alike."""
        age = names[self.path] if (known := getattr(names, "age_beside", None)) is None else known(self.path)
        return self._with_more(age)

    def _with_more(self, age: Any) -> Any:
        if age is None or not self.more:
            return age
        return age + self.more if type(age) is float else undecided()


def is_known(path: str, unless_unknown: str) -> Function:
    """``has(path)``; unknown while `unless_unknown`, the count of its event, is."""

    def known(names: Variables) -> bool | None:
        if unless_unknown and names[unless_unknown] is None:
            return None
        return names[path] is not None

    return known


def chosen(asked: Function, this: Function, that: Function) -> Function:
    """``asked ? this : that``"""

    def chosen(names: Variables) -> Any:
        answer = asked(names)
        if answer is True:
            return this(names)
        if answer is False:
            return that(names)
        return None if answer is None else undecided()

    return chosen


def absorbed(operands: tuple[Function, ...], *, decisive: bool) -> Function:
    """``||`` (true decides) and ``&&`` (false decides), whatever else is unknown."""
    otherwise = not decisive

    def absorbed(names: Variables) -> bool | None:
        unknown = False
        for operand in operands:
            answer = operand(names)
            if answer is otherwise:
                continue
            if answer is decisive:
                return not otherwise
            if answer is not None:
                undecided()
            unknown = True
        return None if unknown else otherwise

    return absorbed


def negated(operand: Function) -> Function:
    """``!operand``"""

    def negated(names: Variables) -> bool | None:
        answer = operand(names)
        if answer is None:
            return None
        return not answer if isinstance(answer, bool) else undecided()

    return negated


def added(left: Function, right: Function) -> Function:
    """``+`` of texts and of numbers."""
    if isinstance(left, Age) and not left.more and isinstance(right, Constant) and type(right.value) is float and right.value:
        return Age(left.path, right.value)

    def added(names: Variables) -> Any:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        kind = type(that)
        if type(this) is not kind or kind not in (int, float, str):
            undecided()
        value = this + that
        return value if kind is not int or LEAST <= value <= MOST else undecided()

    return added


def computed(how: Callable[[Any, Any], Any], left: Function, right: Function, *, minus: bool = False) -> Function:
    """Of two integers, or of two floats. `minus`: of nothing and a number, so that the type of `left` does not count."""
    if how is operator.sub and isinstance(left, Age) and isinstance(right, Age):
        left, right = left.beside, right.beside

    def computed(names: Variables) -> Any:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        kind = type(that)
        if kind is int:
            if type(this) is not int:
                undecided()
            value = how(this, that)
            return value if LEAST <= value <= MOST else undecided()
        if kind is float and (minus or type(this) is float):
            return -that if minus else how(this, that)
        return undecided()

    return computed


def divided(sign: str, left: Function, right: Function) -> Function:
    """``/`` and ``%``"""

    def divided(names: Variables) -> Any:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is int and type(that) is int and that > 0:
            # CEL rounds towards zero, Python down.
            value = abs(this) // that if sign == "/" else abs(this) % that
            return value if this >= 0 else -value
        if sign == "/" and type(this) is float and type(that) is float and that != 0.0:
            return this / that
        return undecided()

    return divided


def asked(how: Callable[[str, str], bool], left: Function, right: Function) -> Function:
    """``left.contains(right)`` and its like."""

    def asked(names: Variables) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not str or type(that) is not str:
            undecided()
        return how(this, that)

    return asked


def _to_float(value: Any) -> float:
    return float(value) if type(value) in (int, float) else undecided()


def _to_int(value: Any) -> int:
    if type(value) is float:
        return int(value) if -_SMALL < value < _SMALL else undecided()
    return value if type(value) is int else undecided()


def _to_text(value: Any) -> str:
    if type(value) is int:
        return str(value)
    return value if type(value) is str else undecided()


CONVERT: Mapping[str, Callable[[Any], Any]] = {"double": _to_float, "int": _to_int, "string": _to_text}


def converted(how: Callable[[Any], Any], operand: Function) -> Function:
    """``double()``, ``int()``, ``string()``"""

    def converted(names: Variables) -> Any:
        value = operand(names)
        return None if value is None else how(value)

    return converted
