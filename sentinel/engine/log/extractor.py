"""Named events in log lines. RE2 only: linear time, so that no pattern and no line can hang sentinel.

One pass over the whole blob finds the few lines that any pattern could match (measured: a line that no pattern matches costs
about 0.3 us); only those lines become objects. The pass may find too much and never too little: for each pattern it searches a
text that every match contains, or the pattern with its anchors loosened. The pattern as written then decides, on the message
without its envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import re2

from sentinel.engine.log.captures import CONVERT, text_of
from sentinel.engine.log.envelope import Envelope, bare, strip
from sentinel.engine.log.prefilter import is_whole, loosened, required, unlimited
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
            groups |= {name for _, name, _ in _Compiled(event, index).groups}
        except PatternError as error:
            bad.append((index, error.why))
    return bad, frozenset(groups)


class Match:
    """One event in one line, parsed only as far as it is read: for most events only the name is."""

    __slots__ = ("_compiled", "_envelope", "_fields", "_line", "_message", "_spans", "event", "line_index", "port")

    def __init__(self, line_index: int, line: bytes, envelope: Envelope | None, message: bytes, compiled: _Compiled) -> None:
        #: counts from 0 within the bytes given
        self.line_index = line_index
        self.event = compiled.event
        #: the router's child that printed the line
        self.port = None if envelope is None else envelope.port
        self._line = line
        self._envelope = envelope
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
        return self.envelope.elapsed

    @property
    def wall(self) -> float | None:
        """Seconds since the epoch."""
        return self.envelope.wall

    @property
    def fields(self) -> dict[str, Value]:
        """The captured groups that could be converted to their type. Read it, do not change it: it is made once."""
        if self._fields is None:
            self._fields = fields = {}
            if self._compiled.groups:
                spans, message = self._search(), self._message
                for number, name, convert in self._compiled.groups:
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


class _Compiled:
    """A pattern, compiled by itself when it first parses a line: all 348 at once are 3.7 MB, and few logs use a tenth of them."""

    __slots__ = ("_groups", "_regex", "_search", "_whole", "event", "filter", "index", "sure")

    def __init__(self, event: EventDef, index: int, form: str | None = None) -> None:
        self.event = event
        self.index = index
        #: the pattern's form in the set of all patterns
        self.filter = unlimited(event.patterns[index].regex) if form is None else form
        #: what the filter finds is a match
        self.sure = self.filter == event.patterns[index].regex
        self._groups: _Groups | None = None
        self._regex: re2._Regexp | None = None
        self._search: Searcher | None = None
        self._whole: bool | None = None

    @property
    def regex(self) -> re2._Regexp:
        """Raises PatternError if RE2 rejects it."""
        if self._regex is None:
            try:
                self._regex = re2.compile(self.event.patterns[self.index].regex.encode("utf-8"), options=_options())
            except (re2.error, UnicodeEncodeError) as error:
                raise PatternError(self.event.name, self.index, _reason(error)) from error
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


class Extractor:
    """All events of one kind of source, compiled.

    Raises PatternError for a regular expression that RE2 rejects, ValueError when the events are of several sources.
    A line gives at most one match per event, from the first pattern that fits; events that start a run come first.
    """

    def __init__(self, events: Sequence[EventDef], forms: Sequence[str] = (), nets: Sequence[str] = ()) -> None:
        """`forms` and `nets`: what an extractor of the same events made of its patterns, for its set and for its first pass."""
        sources = sorted({event.source for event in events})
        if len(sources) > 1:
            raise ValueError(f"the events of one extractor are of one source, not of {', '.join(sources)}")
        self._events = sorted(events, key=lambda event: not event.starts_run)
        self._patterns: list[_Compiled] = []
        self._set = re2.Set.SearchSet(_options())
        for event in self._events:
            for index in range(len(event.patterns)):
                compiled = _Compiled(event, index, forms[len(self._patterns)] if forms else None)
                self._patterns.append(compiled)
                try:
                    self._set.Add(compiled.filter.encode("utf-8"))
                except (re2.error, UnicodeEncodeError):
                    # RE2 says by itself what is wrong with it.
                    _ = compiled.regex
                    raise
        self._net: re2._Regexp | None = None
        self._search_net: Searcher | None = None
        self._nets = nets or [_mesh(compiled.event.patterns[compiled.index].regex) for compiled in self._patterns]
        if self._patterns:
            self._set.Compile()
            try:
                # A record in JSON may escape characters of the message, so every JSON line is examined.
                self._net = re2.compile(
                    "|".join([*dict.fromkeys(self._nets), *_JSON_LINES]).encode(), options=_options(never_capture=True)
                )
            except re2.error as error:
                raise PatternError(self._events[0].source, 0, f"the patterns together: {_reason(error)}") from error
            self._search_net = searcher(self._net)
        # The binding caches the last 128 that it compiled, for good: 2.5 MB (measured).
        re2.purge()

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: RE2's part is compiled again, of the same forms: to make those takes as long as to compile them."""
        return Extractor, (self._events, [compiled.filter for compiled in self._patterns], self._nets)

    def only(self, wanted: Callable[[EventDef], object]) -> Extractor:
        """An extractor of some of its events, of the same forms."""
        events = [event for event in self._events if wanted(event)]
        kept = [(one.filter, net) for one, net in zip(self._patterns, self._nets, strict=True) if wanted(one.event)]
        return Extractor(events, [form for form, _ in kept], [net for _, net in kept])

    def events(self, data: bytes) -> Iterator[Match]:
        """Every event in the lines of `data` (valid UTF-8, lines ended by ``\\n``), in the order of the lines."""
        search = self._search_net
        if search is None:
            return
        beyond = 0  # where the line after the last hit begins
        counted = 0
        line_index = 0
        wanted_by = self._set.Match
        # On from the next line: every second hit is in a line that was found already (measured).
        while beyond <= len(data) and (hit := search(data, beyond)) is not None:
            at = hit[0][0]
            begin = data.rfind(b"\n", beyond, at) + 1 or beyond
            end = data.find(b"\n", at)
            if end < 0:
                end = len(data)
            line_index += data.count(b"\n", counted, begin)
            counted = begin
            beyond = end + 1
            line = data[begin:end]
            envelope: Envelope | None = None
            message = bare(line)
            if message is None:
                envelope = strip(text_of(line))
                message = envelope.message.encode("utf-8", "replace")
            wanted = wanted_by(message)
            if wanted is None:
                continue
            claimed: EventDef | None = None
            for number in sorted(wanted) if len(wanted) > 1 else wanted:
                compiled = self._patterns[number]
                if compiled.event is not claimed:
                    match = Match(line_index, line, envelope, message, compiled)
                    if compiled.sure or match.holds():
                        claimed = compiled.event
                        yield match

    def self_check(self) -> list[tuple[EventDef, int, str]]:
        """Event, pattern number and mistake: an example that its own pattern does not match, or that another event matches.

        Events that share a line on purpose (a request that finished and was truncated) list the same example.
        """
        problems: list[tuple[EventDef, int, str]] = []
        for compiled in self._patterns:
            event, index = compiled.event, compiled.index
            example = event.patterns[index].example
            found = {match.event.name: match for match in self.events(example.encode("utf-8", "replace"))}
            own = found.pop(event.name, None)
            if own is None:
                problems.append((event, index, f"does not match its own example {example[:120]!r}"))
            elif own.pattern_index != index:
                problems.append((event, index, f"its example is claimed by pattern {own.pattern_index + 1}; make one narrower"))
            problems += [
                (event, index, f"its example is also claimed by event '{name}'")
                for name, match in found.items()
                if example not in [pattern.example for pattern in match.event.patterns]
            ]
        return problems


#: Journal exports, container logs, --log-jsonl: at the start of a line, or after the prefix of a journal or a container.
_JSON_LINES = (r"(?m:^)\{\"", r"(?:[:|]|std(?:out|err)) \{\"(?:type|function|level|log|timestamp|tid|[A-Z_]+)\"")


def _mesh(regex: str) -> str:
    """The prefilter's form of a pattern: a text that every match contains, else the whole pattern, loosened.

    152 whole patterns cost 13 MB of automaton, their texts 3 MB and a fifth less time, for a fifth more lines found (measured).
    One whole pattern with `.{1,300}` in it is enough to make RE2 give up its automaton: 60,000 lines then took 7.0 s, not 0.6.
    """
    text = required(regex)
    return f"(?:{loosened(unlimited(regex))})" if text is None else re2.escape(text)


def _options(*, never_capture: bool = False) -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEM
    options.never_capture = never_capture
    options.log_errors = False
    return options


def _reason(error: Exception) -> str:
    why = error.args[0] if error.args else error
    return why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
