"""A pattern by itself, and one event that it found in one line."""

from __future__ import annotations

import re
from collections.abc import Callable

import re2

from sentinel.engine.log.captures import CONVERT, text_of
from sentinel.engine.log.envelope import Envelope, elapsed_of, strip
from sentinel.engine.log.prefilter import is_whole, unlimited
from sentinel.engine.log.spans import Searcher, Spans, searcher
from sentinel.model.entity import Value
from sentinel.model.event import EventDef
from sentinel.model.input_limits import SPAN_LIMIT

#: Memory of one compiled automaton. With RE2's default of 8 MB a large set can run out of memory and then miss lines.
_MAX_MEM = 32 << 20
#: number, name and conversion of each named group of a pattern
_Groups = tuple[tuple[int, str, Callable[[bytes], Value | None]], ...]


class PatternError(ValueError):
    """A regular expression that RE2 rejects. The text names event, pattern and reason."""

    def __init__(self, event: str, index: int, why: str) -> None:
        super().__init__(f"event '{event}', pattern {index + 1}: {why}")
        self.event = event
        self.index = index
        self.why = why


def compiles(event: EventDef) -> tuple[list[tuple[int, str]], frozenset[str]]:
    """Number and reason of each pattern of an event that RE2 rejects; the groups that the others capture."""
    bad = []
    groups: set[str] = set()
    for index in range(len(event.patterns)):
        try:
            groups |= {name for _, name, _ in CompiledPattern(event, index).groups}
        except PatternError as error:
            bad.append((index, error.why))
    return bad, frozenset(groups)


class Match:
    """One event in one line, parsed only as far as it is read: for most events only the name is."""

    __slots__ = (
        "_compiled", "_envelope", "_fields", "_line", "_message", "_spans", "_stamp", "event", "line_index", "port", "stamped",
        "wall",
    )  # fmt: skip

    def __init__(
        self,
        line_index: int,
        line: bytes,
        envelope: Envelope | None,
        message: bytes,
        compiled: CompiledPattern,
        stamp: re.Match[bytes] | None = None,
    ) -> None:
        """`envelope` is None of a bare line, which has this stamp."""
        #: counts from 0 within the bytes given
        self.line_index = line_index
        self.event = compiled.event
        #: the router's child that printed the line
        self.port: int | None = None
        #: seconds since the epoch
        self.wall: float | None = None
        #: it carries the seconds since the start of the process
        self.stamped = stamp is not None
        if envelope is not None:
            self.port, self.wall, self.stamped = envelope.port, envelope.wall, envelope.elapsed is not None
        self._line = line
        self._envelope = envelope
        self._stamp = stamp
        self._message = message
        self._compiled = compiled
        #: begin and end of the whole match and of each group
        self._spans: Spans | None = None
        self._fields: dict[str, Value] | None = None

    @property
    def pattern_index(self) -> int:
        """The index of the event's pattern that matched."""
        return self._compiled.index

    @property
    def envelope(self) -> Envelope:
        """The parsed envelope of the line."""
        if self._envelope is None:
            self._envelope = strip(text_of(self._line))
        return self._envelope

    @property
    def elapsed(self) -> float | None:
        """Seconds since the start of the process that printed it."""
        if self._envelope is not None:
            return self._envelope.elapsed
        return None if self._stamp is None else elapsed_of(self._stamp)

    @property
    def fields(self) -> dict[str, Value]:
        """The captured groups that could be converted to their type. Read it, do not change it: it is made once."""
        if self._fields is None:
            self._fields = fields = {}
            compiled = self._compiled
            compiled.read = True
            if groups := compiled.groups:
                spans, message = self._spans or self._search(), self._message
                for number, name, convert in groups:
                    begin, end = spans[number]
                    if begin >= 0:
                        value = convert(message[begin:end])
                        if value is not None:
                            fields[name] = value
        return self._fields

    @property
    def text(self) -> str:
        """The matched part of the message, at most 300 characters."""
        message = self._message
        if not self._compiled.whole:
            begin, end = self._search()[0]
            message = message[begin:end]
        return text_of(message)[:SPAN_LIMIT]

    def holds(self) -> bool:
        """The pattern as written matches."""
        self._spans = self._compiled.search(self._message, 0)
        return self._spans is not None

    def _search(self) -> Spans:
        if self._spans is None and not self.holds():
            raise RuntimeError(f"RE2's set of patterns found {self.event.name} where its pattern does not match")
        return self._spans or ()


class CompiledPattern:
    """A pattern, compiled by itself when it first parses a line: all 348 at once are 3.7 MB, and few logs use a tenth of them."""

    __slots__ = ("_groups", "_regex", "_search", "_whole", "event", "filter", "index", "read", "sure")

    def __init__(self, event: EventDef, index: int, form: str | None = None) -> None:
        self.event = event
        self.index = index
        #: the pattern's form in the set of all patterns
        self.filter = unlimited(event.patterns[index].regex) if form is None else form
        #: what the filter finds is a match
        self.sure = self.filter == event.patterns[index].regex
        #: somebody read what it captured
        self.read = False
        self._groups: _Groups | None = None
        self._regex: re2._Regexp | None = None
        self._search: Searcher | None = None
        self._whole: bool | None = None

    @property
    def regex(self) -> re2._Regexp:
        """Raises PatternError if RE2 rejects it."""
        if self._regex is None:
            try:
                self._regex = re2.compile(self.event.patterns[self.index].regex.encode("utf-8"), options=re2_options())
            except (re2.error, UnicodeEncodeError) as error:
                raise PatternError(self.event.name, self.index, why_refused(error)) from error
        return self._regex

    @property
    def search(self) -> Searcher:
        """Looks in a message."""
        if self._search is None:
            self._search = searcher(self.regex)
        return self._search

    @property
    def groups(self) -> _Groups:
        """Number, name and conversion of each named group."""
        if self._groups is None:
            types = self.event.fields
            names = ((number, name.decode()) for name, number in self.regex.groupindex.items())
            self._groups = tuple(sorted((number, name, CONVERT[types.get(name, "text")]) for number, name in names))
        return self._groups

    @property
    def whole(self) -> bool:
        """Anchored at both ends: what it matches is the whole message."""
        if self._whole is None:
            self._whole = is_whole(self.event.patterns[self.index].regex)
        return self._whole


def re2_options(*, never_capture: bool = False) -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEM
    options.never_capture = never_capture
    options.log_errors = False
    return options


def why_refused(error: Exception) -> str:
    why = error.args[0] if error.args else error
    return why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
