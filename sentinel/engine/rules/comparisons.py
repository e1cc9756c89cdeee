"""Comparisons of CEL as Python functions; see operations.py. A literal's value stands in the function itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentinel.engine.rules.operations import Age, Constant, Function, Variables, undecided

#: Beyond, an integer is compared with a float by rounding it.
_EXACT = 1 << 53


def equal(left: Function, right: Function, *, wanted: bool) -> Function:
    """``==``, or ``!=`` where not `wanted`."""
    if isinstance(right, Constant):
        return _equal_to(left, right.value, wanted=wanted)

    def equal(names: Variables) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not type(that):
            _check_numbers(this, that)
        return bool(this == that) is wanted

    return equal


def _equal_to(left: Function, that: Any, *, wanted: bool) -> Function:
    kind = type(that)

    def equal_to(names: Variables) -> bool | None:
        this = left(names)
        if this is None:
            return None
        if type(this) is not kind:
            _check_numbers(this, that)
        return bool(this == that) is wanted

    return equal_to


def ordered(before: Callable[[Any, Any], bool], left: Function, right: Function) -> Function:
    """``<``, ``<=``, ``>``, ``>=``: numbers only."""
    if isinstance(right, Constant):
        if isinstance(left, Age) and not left.more and type(right.value) in (int, float):
            left = _until(left, right.value)
        return _ordered_to(before, left, right.value)
    if isinstance(left, Age) and isinstance(right, Age):
        left, right = left.beside, right.beside

    def ordered(names: Variables) -> bool | None:
        this, that = left(names), right(names)
        if this is None or that is None:
            return None
        if type(this) is not int or type(that) is not int:
            _check_numbers(this, that)
        return before(this, that)

    return ordered


def _ordered_to(before: Callable[[Any, Any], bool], left: Function, that: Any) -> Function:
    is_int = type(that) is int

    def ordered_to(names: Variables) -> bool | None:
        this = left(names)
        if this is None:
            return None
        if not is_int or type(this) is not int:
            _check_numbers(this, that)
        return before(this, that)

    return ordered_to


def _until(age: Age, limit: Any) -> Function:
    path = age.path

    def read(names: Variables) -> Any:
        return names[path] if (known := getattr(names, "age_until", None)) is None else known(path, limit)

    return read


def _check_numbers(this: Any, that: Any) -> None:
    """Two numbers whose comparison is the same in CEL and in Python."""
    for one in (this, that):
        if type(one) is int:
            if not -_EXACT < one < _EXACT:
                undecided()
        elif type(one) is not float or one != one:
            undecided()


def among(left: Function, members: tuple[Function, ...]) -> Function:
    """``left in [members]``"""
    those = [member.value for member in members if isinstance(member, Constant)]
    if len(those) == len(members):
        return _among_values(left, those)

    def among(names: Variables) -> bool | None:
        this = left(names)
        those = [member(names) for member in members]
        if this is None or None in those:
            return None
        if any(type(that) is not type(this) for that in those):
            undecided()
        return any(this == that for that in those)

    return among


def _among_values(left: Function, those: list[Any]) -> Function:
    kinds = {type(that) for that in those}

    def among_values(names: Variables) -> bool | None:
        this = left(names)
        if this is None:
            return None
        if kinds - {type(this)}:
            undecided()
        return this in those

    return among_values
