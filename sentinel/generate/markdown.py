"""Markdown of the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

#: Markdown takes an underscore inside a word literally; Python-Markdown knows no escape of "<"
_MARKS = re.compile(r"[*]|\b_|_\b")
_NAMES = re.compile(r"(\{[\w.:]+\})")
#: optional parts of a text begin and end so
_BRACKETS = {"[?": "\\[", "?]": "\\]"}
#: the first line of each; names its source
MADE = "<!-- made by `make docs` from {}: change that, not this -->"


def page(lines: Iterable[str]) -> str:
    """The lines as one text, without runs of empty lines."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip("\n") + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table; a bar in a cell is escaped."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def fence(text: str, language: str) -> list[str]:
    """A block of code."""
    return [f"```{language}", *(line.strip() if language == "cel" else line for line in text.strip("\n").splitlines()), "```"]


def section(title: str, lines: Sequence[str]) -> list[str]:
    """A title and its lines; nothing if there are none."""
    return [title, "", *lines, ""] if lines else []


def words(name: str) -> str:
    """A name as words."""
    return name.replace("_", " ")


def one_line(expression: str) -> str:
    """An expression of several lines in one."""
    return " ".join(expression.split())


def prose(text: str) -> str:
    """Escape text for Markdown; names of values become code, and the marks of optional parts are removed."""
    parts = re.split(r"(`[^`]*`)", plain(text))
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def sentence(text: str) -> str:
    """The same as a sentence of its own, with optional parts in brackets."""
    marked = "".join(prose(part) if part not in _BRACKETS else _BRACKETS[part] for part in re.split(r"(\[\?|\?\])", text))
    begun = marked if marked.startswith("llama-server") else marked[:1].upper() + marked[1:]
    return begun if begun.endswith((".", "?", "!")) else f"{begun}."


def plain(text: str) -> str:
    """Without the marks of optional parts."""
    return text.replace("[?", "").replace("?]", "")


def _escaped(text: str) -> str:
    return _NAMES.sub(r"`\1`", _MARKS.sub(r"\\\g<0>", text).replace("<", "&lt;"))
