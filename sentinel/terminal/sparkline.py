"""Values over time as a row of characters. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
#: For terminals that show ASCII alone.
_PLAIN = "_.-=+*#@"


def sparkline(
    values: Sequence[float | None], width: int, *, plain: bool = False, least: float = 0.0, most: float | None = None
) -> str:
    """So many columns, the newest at the right; what is unknown is blank.

    A column stands for several values where there are more, and shows the largest: a peak is what one looks for. The scale begins
    at `least`, which is zero, so that a slow server does not look like a fast one, and ends at `most`, else at the largest value.
    """
    if width <= 0:
        return ""
    per = -(-len(values) // width) or 1
    # Whole columns from the right: the newest value is always the last of one.
    begin = len(values) % per - per if len(values) % per else 0
    columns = [_largest(values[max(at, 0) : at + per]) for at in range(begin, len(values), per)]
    there = [value for value in columns if value is not None]
    top = most if most is not None else max(there, default=0.0)
    shown = "".join(_sign(value, least, top, _PLAIN if plain else _BLOCKS) for value in columns)
    return shown.rjust(width)


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _sign(value: float | None, least: float, most: float, signs: str) -> str:
    if value is None:
        return " "
    if most <= least:
        return signs[0]
    share = min(max((value - least) / (most - least), 0.0), 1.0)
    return signs[min(int(share * len(signs)), len(signs) - 1)]
