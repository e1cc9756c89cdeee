"""Rows in columns, inside the terminal's width."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from sentinel.terminal.names import fitted
from sentinel.terminal.style import Style, cells, fit, wrap

_GAP = "  "
#: A flexible column keeps at least this; one of names more, so that the end of a name stays.
_NARROWEST, _NARROWEST_NAMES = 12, 18
#: The colour of a cell: row, column and padded text to painted text.
Paint = Callable[[int, int, str], str]


def _plain(_row: int, _column: int, text: str) -> str:
    return text


def table(
    rows: Sequence[Sequence[str]],
    style: Style,
    *,
    flexible: Sequence[int] = (0,),
    right: Collection[int] = (),
    names: int | None = None,
    indent: str = "",
    paint: Paint = _plain,
    folded: bool = False,
) -> Iterator[str]:
    """Each row as one line. Flexible columns are cut, the first one first, where the terminal is too narrow; `right`: numbers;
    `names`: the column of servers' names.

    `folded`: the last column is a sentence, and takes as many lines as it needs instead."""
    if not rows:
        return
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    used = [number for number, width in enumerate(widths) if width]
    spare = style.width - len(indent) - sum(widths) - len(_GAP) * (len(used) - 1)
    for column in flexible:
        if spare < 0:
            least = _NARROWEST_NAMES if column == names else _NARROWEST
            kept = max(widths[column] + spare, min(least, widths[column]))
            spare += widths[column] - kept
            widths[column] = kept
    while spare < 0 and len(used) > 2:
        # Too narrow for a table: the last columns are left out, and are in the JSON form.
        spare += widths[used.pop()] + len(_GAP)
    for number, row in enumerate(rows):
        parts = []
        said = wrap(row[used[-1]], widths[used[-1]], "") if folded else []
        for column in used:
            if said and column == used[-1]:
                parts.append(paint(number, column, said[0].strip()))
                continue
            text = (fitted if column == names else fit)(row[column], widths[column], style)
            if column in right:
                bare = text.rstrip()
                text = " " * (widths[column] - cells(bare)) + bare
            parts.append(paint(number, column, text))
        yield (indent + _GAP.join(parts)).rstrip()
        before = len(indent) + sum(widths[column] for column in used[:-1]) + len(_GAP) * (len(used) - 1)
        yield from (" " * before + paint(number, used[-1], line.strip()) for line in said[1:])
