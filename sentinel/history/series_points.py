"""The points of a series: how a value is packed into two bytes, and how many become one. Pure.

A code is the logarithm of the value in steps of 2^(1/1000), so that it is within 0.04 % of the value from 2^-16 to 2^49, bytes
and ratios alike, in a quarter of the room of a float. Codes are in the order of the values: the least code is the least value's.

Of the values that one point stands for its least, mean and largest are kept. The mean alone would hide what one looks for: the
second in which memory was short, the peak of an answer. A second without a value counts for neither of the three.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Sequence

#: The code of a second without a value, and of zero.
GAP = 0
_ZERO = 1
_STEPS = 1000
_LEAST = -16
_MOST_CODE = 0xFFFF
#: Below this whole numbers are shown whole: slots, percent.
_WHOLE_BELOW = 1000.0

#: Least, mean and largest, as codes.
Point = tuple[int, int, int]
NOTHING: Point = (GAP, GAP, GAP)


def encode(value: float | None) -> int:
    """The code of a value; what is negative or no number has none."""
    if value is None or not 0.0 <= value < math.inf:
        return GAP
    if value == 0.0:
        return _ZERO
    return min(max(_ZERO + 1 + round((math.log2(value) - _LEAST) * _STEPS), _ZERO), _MOST_CODE)


def decode(code: int) -> float | None:
    """The value of a code; whole where it was a small whole number, else with four digits."""
    if code <= _ZERO:
        return None if code == GAP else 0.0
    value = _value(code)
    if value < _WHOLE_BELOW and abs(value - round(value)) <= value * 0.0004:
        return float(round(value))
    return float(f"{value:.4g}")


def _value(code: int) -> float:
    return 0.0 if code <= _ZERO else 2.0 ** ((code - _ZERO - 1) / _STEPS + _LEAST)


def point(codes: Sequence[int]) -> Point:
    """The point that stands for these codes of seconds."""
    there = [code for code in codes if code]
    if not there:
        return NOTHING
    least, most = min(there), max(there)
    return least, _mean(there, least, most), most


def joined(points: Sequence[Point]) -> Point:
    """The point that stands for these points; each that has values weighs the same."""
    there = [one for one in points if one[1]]
    if not there:
        return NOTHING
    least, most = min(one[0] for one in there), max(one[2] for one in there)
    return least, _mean([one[1] for one in there], least, most), most


def _mean(codes: Sequence[int], least: int, most: int) -> int:
    if least == most:
        return least
    return min(max(encode(sum(map(_value, codes)) / len(codes)), least), most)


def pack(codes: array[int]) -> bytes:
    """Codes as a compressed blob: all low bytes, then all high ones, which seldom change."""
    raw = codes.tobytes()
    return zlib.compress(raw[0::2] + raw[1::2], 6)


def unpack(blob: bytes, most: int) -> array[int]:
    """The codes of a blob, at most so many. Raises ValueError where it is none."""
    try:
        raw = zlib.decompressobj().decompress(blob, 2 * most)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from error
    half, odd = divmod(len(raw), 2)
    if odd:
        raise ValueError("damaged: half a code")
    codes = bytearray(len(raw))
    codes[0::2], codes[1::2] = raw[:half], raw[half:]
    return array("H", bytes(codes))
