"""The pieces of the screen's lines: bars, sizes, and lines that are filled or cropped. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.cli.recent_series import Values
from sentinel.cli.top.poll import Snapshot
from sentinel.terminal.style import Style, cells, fit

#: Text with a state: ok, critical, warning, info, loading, dim, bold, or none.
Piece = tuple[str, str]
Pieces = list[Piece]


def bar(share: float, width: int, style: Style, mark: float | None = None) -> Pieces:
    """A bar that is full at 1. `mark` is where a forecast lies; beyond the end it is at the end, in red."""
    full, empty, line = ("█", "░", "┃") if style.unicode else ("#", ".", "|")
    filled = round(min(max(share, 0.0), 1.0) * width)
    state = "critical" if share > 0.95 else "warning" if share > 0.85 else "ok"
    if mark is None:
        return [(full * filled, state), (empty * (width - filled), "dim")]
    at = min(max(round(mark * width), 0), width - 1)
    text = full * filled + empty * (width - filled)
    before, after = text[:at], text[at + 1 :]
    pieces = [(before[:filled], state), (before[filled:], "dim"), (line, "critical" if mark > 1.0 else "bold")]
    return [*pieces, (after[: max(filled - at - 1, 0)], state), (after[max(filled - at - 1, 0) :], "dim")]


def series_of(shot: Snapshot, server: Mapping[str, Any], signal: str) -> Values:
    return shot.series.get((server["name"], signal), ())


def with_right(line: Pieces, right: str, style: Style) -> Pieces:
    used = sum(cells(text) for text, _ in line)
    gap = style.width - used - cells(right)
    return [*line, (" " * max(gap, 1), ""), (right, "dim")] if gap > 0 else line


def cropped(line: Pieces, width: int, style: Style) -> Pieces:
    """A line that is not longer than the screen."""
    found: Pieces = []
    for text, state in line:
        used = cells(text)
        if used > width:
            return [*found, (fit(text, width, style), state)] if width > 0 else found
        found.append((text, state))
        width -= used
    return found
