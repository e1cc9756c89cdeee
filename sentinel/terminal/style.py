"""Colour by state, wrapping and cutting by columns.

No dataclass here, nor in what this room imports: the module costs a command 8 ms, a tenth of what `sentinel status` may take.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from datetime import tzinfo

#: Tables use the whole terminal; sentences longer than this are hard to read.
_NARROWEST, _WIDEST, PROSE = 40, 200, 100

_RESET, BOLD, DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
RED, YELLOW, GREEN, BLUE, CYAN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[32m", "\x1b[34m", "\x1b[36m"

#: By severity of an alert, state of a server, verdict of a preflight, or state of a capability.
_BY_STATE: Mapping[str, str] = {
    "critical": RED,
    "warning": YELLOW,
    "info": BLUE,
    "resolved": GREEN,
    "pending": CYAN,
    "ok": GREEN,
    "ready": GREEN,
    "fits": GREEN,
    "works": GREEN,
    "loading": CYAN,
    "tight": YELLOW,
    "unknown": YELLOW,
    "failed": RED,
    "fails": RED,
    "absent": DIM,
    "exited": DIM,
}
_MARKS = {"resolved": ("✓", "+"), "ok": ("✓", "+"), "fits": ("✓", "+"), "works": ("✓", "+"), "fails": ("✗", "x")}


class Style(NamedTuple):
    """Output style: columns, whether colour and non-ASCII characters may be used, and the time zone (None: the machine's)."""

    width: int = 80
    colour: bool = False
    unicode: bool = True
    zone: tzinfo | None = None

    @property
    def prose(self) -> int:
        """Columns for sentences."""
        return min(self.width, PROSE)

    @property
    def dot(self) -> str:
        """What stands between two short facts on one line."""
        return " · " if self.unicode else " - "

    def mark(self, state: str) -> str:
        """One character for a state: it says without colour what colour says."""
        return _MARKS.get(state, ("●", "*"))[0 if self.unicode else 1]

    def paint(self, text: str, code: str) -> str:
        """`text` in a colour, if this output has any."""
        return f"{code}{text}{_RESET}" if self.colour and code and text.strip() else text

    def by_state(self, text: str, state: str) -> str:
        """`text` in the colour of a state."""
        return self.paint(text, _BY_STATE.get(state, BOLD))


def style_for(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
    """The style for a stream: its width and encoding, colour only on a terminal and without NO_COLOR (no-color.org)."""
    try:
        terminal = stream.isatty()
    except ValueError:
        terminal = False
    colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Style(min(max(_columns(stream, environ, terminal), _NARROWEST), _WIDEST), colour, encoding.startswith("utf"))


def _columns(stream: TextIO, environ: Mapping[str, str], terminal: bool) -> int:
    """COLUMNS, as the shell's user may set it for a pipe too; else the terminal's; else 80. shutil would cost 5 ms more."""
    said = environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and int(said):
        return int(said)
    try:
        return (os.get_terminal_size(stream.fileno()).columns if terminal else 0) or 80
    except (OSError, ValueError):
        return 80


def wrap(text: str, width: int, indent: str = "", hanging: str = "") -> list[str]:
    """Wrap to lines of at most `width` columns; a word that does not fit (a path) stays whole on a line of its own.

    `indent` precedes each line; `hanging` is added on each but the first.
    """
    lines: list[str] = []
    line, used = "", 0
    for word in text.split(" "):
        size = cells(word)
        room = width - len(indent) - (len(hanging) if lines else 0)
        # A bullet alone on a line says nothing of a path that stands below it.
        if line not in ("", "-") and used + 1 + size > room:
            lines.append(line)
            line, used = word, size
        else:
            line, used = (f"{line} {word}", used + 1 + size) if line else (word, size)
    lines.append(line)
    return [indent + (hanging if number else "") + one for number, one in enumerate(lines)]


def cells(text: str) -> int:
    """The width in terminal columns: two for wide East Asian characters and emoji, none for combining ones."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def fit(text: str, width: int, style: Style) -> str:
    """`text` in exactly `width` columns: cut with an ellipsis, or filled with spaces."""
    used = cells(text)
    if used <= width:
        return text + " " * (width - used)
    ellipsis = "…" if style.unicode else "~"
    kept, used = "", 1
    for char in text:
        used += cells(char)
        if used > width:
            break
        kept += char
    return kept + ellipsis + " " * (width - cells(kept) - 1)
