"""The line of each key of a TOML file. tomllib gives it only for a syntax error; this continues after any mistake.

Nothing is decoded here: keys and their positions, no values. Imported only if there is a problem to report.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from sentinel.model.problem import Keys
from sentinel.rulefiles.toml import tokens
from sentinel.rulefiles.toml.tokens import bad_escape, hint, unquoted

#: Deeper values have no positions of their own, they are found through their parent.
_DEEPEST = 32


class _LostError(Exception):
    """The rest is not TOML."""


@dataclass(slots=True)
class Statement:
    """A header or a ``key = value`` with its lines, counted from 1."""

    keys: Keys
    first: int
    last: int
    header: bool


@dataclass(slots=True)
class Outline:
    """The positions of keys, and the file's syntax errors, each with line, keys and sentence."""

    lines: dict[Keys, int] = field(default_factory=dict)
    #: the start of a triple-quoted value's text: a line feed right after the quotes is not part of it
    texts: dict[Keys, int] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    flaws: list[tuple[int, Keys, str]] = field(default_factory=list)

    def line(self, keys: Keys, row: int = 1) -> int:
        """The line of a key, or of the nearest table or value that would contain it; 0 for the whole file.

        `row` counts, from 1, the lines of a triple-quoted text.
        """
        if row > 1 and keys in self.texts:
            return self.texts[keys] + row - 1
        for length in range(len(keys), 0, -1):
            found = self.lines.get(keys[:length])
            if found is not None:
                return found
        return 0

    def at(self, line: int) -> Statement | None:
        """The statement on a line."""
        return next((s for s in self.statements if s.first <= line <= s.last), None)


def outline(text: str) -> Outline:
    """The positions of the keys of a TOML text; never raises."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.end() for match in re.finditer("\n", text)]
        self._out = Outline()
        #: how many tables an array of tables has so far
        self._arrays: dict[Keys, int] = {}
        #: header and key of each value so far, to find duplicates
        self._said: dict[Keys, int] = {}

    def run(self) -> Outline:
        prefix: Keys = ()
        while True:
            self._skip(tokens.GAP)
            if self._at >= len(self._text):
                return self._out
            begin = self._at
            statement = Statement((), self._line(), 0, self._text[begin] == "[")
            try:
                if statement.header:
                    prefix = statement.keys = self._header(statement.first)
                else:
                    self._pair(prefix, statement)
                self._skip(tokens.BLANK)
            except _LostError:
                pass
            self._skip(tokens.REST_OF_LINE)
            statement.last = self._line(max(begin, self._at - 1))
            self._out.statements.append(statement)

    def _line(self, at: int | None = None) -> int:
        return bisect_right(self._breaks, self._at if at is None else at) + 1

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _take(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _flaw(self, line: int, keys: Keys, what: str) -> None:
        self._out.flaws.append((line, keys, what))

    def _key(self) -> tuple[str, ...]:
        """A dotted key."""
        parts = []
        while True:
            self._skip(tokens.BLANK)
            match = tokens.QUOTED_KEY.match(self._text, self._at) or tokens.BARE_KEY.match(self._text, self._at)
            if match is None:
                raise _LostError
            self._at = match.end()
            parts.append(unquoted(match[0]))
            self._skip(tokens.BLANK)
            if not self._take("."):
                return tuple(parts)

    def _header(self, line: int) -> Keys:
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        parts = self._key()
        closed = self._take("]]" if double else "]")
        keys: Keys = ()
        for i, part in enumerate(parts):
            keys += (part,)
            if i == len(parts) - 1:
                if double:
                    self._arrays[keys] = self._arrays.get(keys, 0) + 1
                    self._out.lines.setdefault(keys, line)
                    keys += (self._arrays[keys] - 1,)
                elif keys in self._arrays:
                    self._flaw(line, keys, f"is one table here and an array of tables before; write [[{'.'.join(parts)}]]")
                elif keys in self._said:
                    self._flaw(line, keys, f"is there twice; first on line {self._said[keys]}")
                else:
                    self._said[keys] = line
            elif keys in self._arrays:
                keys += (self._arrays[keys] - 1,)
            self._out.lines.setdefault(keys, line)
        if not closed:
            self._flaw(
                line, keys, f"its header is not closed; write {'[[' if double else '['}{'.'.join(parts)}{']]' if double else ']'}"
            )
        return keys

    def _pair(self, prefix: Keys, statement: Statement) -> None:
        parts = self._key()
        keys = prefix + parts
        statement.keys = keys
        line = statement.first
        self._place(prefix, keys)
        if keys in self._said:
            self._flaw(line, keys, f"is there twice; first on line {self._said[keys]}")
        self._said.setdefault(keys, line)
        self._equals(keys)
        self._value(keys)

    def _place(self, prefix: Keys, keys: Keys) -> None:
        line = self._line()
        for length in range(len(prefix) + 1, len(keys) + 1):
            self._out.lines.setdefault(keys[:length], line)
        # A signal's name with its dots, quoted or not, is one key for the readers.
        self._out.lines.setdefault((*prefix, ".".join(map(str, keys[len(prefix) :]))), line)

    def _equals(self, keys: Keys) -> None:
        if self._take("="):
            self._skip(tokens.BLANK)
            return
        if self._text.startswith(":", self._at):
            self._flaw(self._line(), keys, "has ':' where TOML has '='; write key = value")
        else:
            self._flaw(self._line(), keys, "is no key with a value; write key = value")
        raise _LostError

    def _value(self, keys: Keys, depth: int = 0) -> None:
        self._out.lines.setdefault(keys, self._line())
        if depth > _DEEPEST:
            raise _LostError
        if self._take("["):
            self._items(keys, depth)
        elif self._take("{"):
            self._inline(keys, depth)
        elif not self._string(keys):
            match = tokens.BARE_VALUE.match(self._text, self._at)
            if match is None:
                self._flaw(self._line(), keys, "has no value")
                raise _LostError
            self._at = match.end()
            if said := hint(match[0]):
                self._flaw(self._line(match.start()), keys, said)

    def _string(self, keys: Keys) -> bool:
        for quote, form in tokens.STRINGS:
            if self._text.startswith(quote, self._at):
                match = form.match(self._text, self._at)
                if match is None:
                    self._flaw(self._line(), keys, f"its text begins with {quote} and has no end")
                    raise _LostError
                if quote == '"' and (bad := bad_escape(match[0])):
                    what = f"has {bad} in double quotes; between single quotes a backslash stands for itself"
                    self._flaw(self._line(), keys, what)
                if len(quote) == 3:
                    after = self._text[self._at + 3 : self._at + 5].lstrip("\r")
                    self._out.texts[keys] = self._line() + after.startswith("\n")
                self._at = match.end()
                return True
        return False

    def _items(self, keys: Keys, depth: int) -> None:
        line = self._line()
        for index in range(len(self._text)):
            if self._between(line, keys, "]"):
                return
            self._value((*keys, index), depth + 1)
            self._skip(tokens.GAP)
            if not self._take(",") and not self._text.startswith("]", self._at):
                self._unfinished(line, keys, "]")

    def _between(self, line: int, keys: Keys, close: str) -> bool:
        """At the end of an array; something like the next statement of the file means that the closing bracket is missing."""
        before = self._at
        self._skip(tokens.GAP)
        if self._take(close):
            return True
        new_line = self._text.rfind("\n", before, self._at) + 1
        if self._at >= len(self._text) or (new_line and tokens.STARTS_STATEMENT.match(self._text, new_line)):
            self._at = max(before, new_line - 1)
            self._unfinished(line, keys, close)
        return False

    def _unfinished(self, line: int, keys: Keys, close: str) -> None:
        self._flaw(line, keys, f"lacks a ',' or its '{close}'; it begins on line {line}")
        raise _LostError

    def _inline(self, keys: Keys, depth: int) -> None:
        line = self._line()
        self._skip(tokens.BLANK)
        if self._take("}"):
            return
        while True:
            inner = keys + self._key()
            self._place(keys, inner)
            if inner in self._said:
                self._flaw(self._line(), inner, "is there twice in one table")
            self._said.setdefault(inner, self._line())
            self._equals(inner)
            self._value(inner, depth + 1)
            self._skip(tokens.BLANK)
            if self._take("}"):
                return
            if not self._take(","):
                if self._text[self._at : self._at + 1] in ("\n", "\r", "#"):
                    self._flaw(line, keys, "goes over several lines; a table in { } has to stay on one")
                    raise _LostError
                self._unfinished(line, keys, "}")
            self._skip(tokens.BLANK)
            if self._text[self._at : self._at + 1] in ("\n", "\r", "#", "}"):
                self._flaw(line, keys, "has a ',' at its end; a table in { } has none there and stays on one line")
                raise _LostError


def blanked(text: str, statements: Iterable[Statement]) -> str:
    """The text with these statements blanked, so that all others keep their lines."""
    lines = text.split("\n")
    for statement in statements:
        for number in range(statement.first, statement.last + 1):
            if number <= len(lines):
                lines[number - 1] = ""
    return "\n".join(lines)
