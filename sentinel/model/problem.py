"""A mistake in an operator's file: where, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sentinel.model.text import escape

#: Path to a part of a TOML file: names of keys, and indexes in arrays, from 0.
Keys = tuple[str | int, ...]

#: Characters of a sentence that are shown: it may quote the file.
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a checker. `where` is the name of the part for people, empty for the whole file.

    `keys` leads to the same part, `line` is its line, counted from 1; 0 if there is no line to show.
    """

    file: str
    where: str
    what: str
    level: Literal["error", "warning"] = "error"
    keys: Keys = ()
    line: int = 0
    #: line within a text of several lines, counted from 1
    row: int = 1

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        level = " warning:" if self.level == "warning" else ""
        where = f" {self.where}:" if self.where else ""
        what = self.what if len(self.what) <= _LONGEST else f"{self.what[:_LONGEST]}..."
        return escape(f"{self.file}{line}:{level}{where} {what}")


class ConfigError(Exception):
    """A configuration is invalid. `problems` lists every mistake."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


def spoken(keys: Keys, names: Mapping[Keys, str] | None = None) -> str:
    """Keys as people write them: ``cause[1].fix[2].do``, where `names` has one for a part, ``cause 'no-gpu'.fix[2].do``."""
    names = names or {}
    known = next((length for length in range(len(keys), 0, -1) if keys[:length] in names), 0)
    out = names[keys[:known]] if known else ""
    for key in keys[known:]:
        out += f"[{key + 1}]" if isinstance(key, int) else f".{key}" if out else key
    return out


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'`` for the nearest known word, or the empty string."""
    import difflib  # for a mistake only: the daemon rarely needs it

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'" if near else ""


def quoted(value: object) -> str:
    """A value of a file for a message, shortened."""
    try:
        return f"{value!r:.60}"
    except ValueError:
        # Python refuses to print an integer of more than 4300 digits, but reads one in hexadecimal.
        return "a very large number"
