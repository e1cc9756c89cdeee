"""Texts with values in them: ``{server.name}: {tps_30s:.1f} tokens/s, {killed.fields.anon:GiB}``.

A value that is not known reads ``unknown``; a part between ``[?`` and ``?]`` is left out when a value in it is not known. In
commands every value is quoted for the shell: file names, units and aliases are written by strangers; one of several words is a
single one there, unless its format is ``words``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentinel.model.text import duration

_FIELD = re.compile(r"\{([A-Za-z_][\w.]*)(?::([^{}]*))?\}")
_OPTIONAL = re.compile(r"\[\?(.*?)\?\]", re.DOTALL)
_NUMBER = re.compile(r"^(?:,|\.\d{1,2}f|d)$")
_SIZES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}

#: value by dotted name; None is unknown
Lookup = Callable[[str], Any]


class TemplateError(Exception):
    """The text cannot be used as a template."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. Raises TemplateError for an unknown format or unpaired braces."""

    source: str
    #: sections in order: (optional, ((literal, name, format), ...)); the last of a section has an empty name
    sections: tuple[tuple[bool, tuple[tuple[str, str, str], ...]], ...]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Parse; ``{{`` and ``}}`` are literal braces."""
        text = source.replace("{{", "\x01").replace("}}", "\x02")
        sections = []
        for i, piece in enumerate(_OPTIONAL.split(text)):
            if "[?" in piece or "?]" in piece:
                raise TemplateError("'[?' and '?]' must come in pairs, not nested")
            sections.append((i % 2 == 1, _parts(piece)))
        return cls(source, tuple(sections))

    @property
    def names(self) -> tuple[str, ...]:
        """Dotted names that the text shows."""
        return tuple(name for _, parts in self.sections for _, name, _ in parts if name)

    def render(self, lookup: Lookup, *, quote: bool = False) -> str:
        """The text with values. With `quote` every value is quoted for a POSIX shell."""
        out: list[str] = []
        for optional, parts in self.sections:
            if optional and not all(lookup(name) is not None for _, name, _ in parts if name):
                continue
            for literal, name, form in parts:
                out.append(literal)
                if name:
                    shown = show(lookup(name), form)
                    words = shown.split() if form == "words" else [shown]
                    out.append(" ".join(map(shlex.quote, words)) if quote else shown)
        return "".join(out)

    def complete(self, lookup: Lookup) -> bool:
        """Every required value is known and not empty."""
        return all(lookup(name) not in (None, "") for name in self.needed)

    @property
    def needed(self) -> tuple[str, ...]:
        """Names whose values the text requires."""
        return tuple(name for optional, parts in self.sections if not optional for _, name, _ in parts if name)


def _parts(text: str) -> tuple[tuple[str, str, str], ...]:
    parts: list[tuple[str, str, str]] = []
    end = 0
    for match in _FIELD.finditer(text):
        form = match.group(2) or ""
        if form and form not in _SIZES and form not in {"percent", "age", "times", "words"} and not _NUMBER.match(form):
            raise TemplateError(
                f"unknown format ':{form}'; known: GiB, MiB, KiB, percent, age, times, words, .1f, .2f, d and ','"
            )
        parts.append((text[end : match.start()], match.group(1), form))
        end = match.end()
    parts.append((text[end:], "", ""))
    for literal, _, _ in parts:
        if "{" in literal or "}" in literal:
            raise TemplateError("a brace without its partner; write {{ or }} for a literal brace")
    return tuple((_literal(literal), name, form) for literal, name, form in parts)


def _literal(text: str) -> str:
    return text.replace("\x01", "{").replace("\x02", "}")


def show(value: Any, form: str = "") -> str:
    """A value formatted for people."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if form in _SIZES:
        if 0 < value < _SIZES[form] and form == "GiB":
            form = "MiB"
        scaled = value / _SIZES[form]
        return f"{scaled:.1f} {form}" if scaled < 100 else f"{scaled:.0f} {form}"
    if form == "percent":
        return f"{100 * value:.0f} %"
    if form == "times":
        return "once" if value == 1 else f"{value} times"
    if form == "age":
        return duration(float(value))
    if form:
        return format(int(value) if form == "d" else value, form)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
