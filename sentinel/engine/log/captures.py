"""Converts what the groups of a pattern capture to the types of an event's fields; what does not convert is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sentinel.model.entity import Value
from sentinel.model.event import FieldType
from sentinel.model.input_limits import MOST_CAPTURED

_TRUE = frozenset({b"1", b"true", b"yes", b"on", b"enabled"})
_FALSE = frozenset({b"0", b"false", b"no", b"off", b"disabled"})
_LONG_NUMBER = 40
#: Rules compute with 64 bits; no size or count in any log comes near.
_MOST = 1 << 62


def text_of(captured: bytes) -> str:
    """As text; what is no UTF-8 is replaced."""
    return captured.decode("utf-8", "replace")


def _field(captured: bytes) -> str:
    return text_of(captured if len(captured) <= MOST_CAPTURED else captured[:MOST_CAPTURED])


def _float(captured: bytes) -> float | None:
    try:
        number = float(captured)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _int(captured: bytes) -> int | None:
    # A number of thousands of digits costs quadratic time; no field of any log has more than twenty.
    if len(captured) > _LONG_NUMBER:
        return None
    try:
        number = int(captured)
    except ValueError:
        return None
    return number if abs(number) <= _MOST else None


def _flag(captured: bytes) -> bool | None:
    word = captured.lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _bytes_of(unit: int) -> Callable[[bytes], int | None]:
    def convert(captured: bytes) -> int | None:
        number = _float(captured)
        # Compare first: an overflow cannot be rounded.
        return None if number is None or abs(number) * unit > _MOST else round(number * unit)

    return convert


CONVERT: Mapping[FieldType, Callable[[bytes], Value | None]] = {
    "text": _field,
    "int": _int,
    "float": _float,
    "flag": _flag,
    "MiB": _bytes_of(1 << 20),
    "GiB": _bytes_of(1 << 30),
    "kB": _bytes_of(1 << 10),
}
