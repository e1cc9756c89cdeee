"""Named events in log lines. RE2 only: linear time, so that no pattern and no line can hang sentinel.

One pass over the whole blob finds the few lines that any pattern could match (measured: a line that no pattern matches costs
about 0.3 us); only those lines become objects. The pass may find too much and never too little: for each pattern it searches a
text that every match contains, or the pattern with its anchors loosened. The pattern as written then decides, on the message
without its envelope.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import re2

from sentinel.engine.log.captures import text_of
from sentinel.engine.log.envelope import Envelope, bare, strip
from sentinel.engine.log.match import CompiledPattern, Match, PatternError, re2_options, why_refused
from sentinel.engine.log.prefilter import loosened, required, unlimited
from sentinel.engine.log.spans import Searcher, searcher, set_searcher
from sentinel.model.event import EventDef

#: a line that patterns want: its number, itself, its envelope unless it is bare, its message and stamp, the patterns' numbers
_Line = tuple[int, bytes, Envelope | None, bytes, re.Match[bytes] | None, Sequence[int]]


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
        self._patterns: list[CompiledPattern] = []
        self._set = re2.Set.SearchSet(re2_options())
        for event in self._events:
            for index in range(len(event.patterns)):
                compiled = CompiledPattern(event, index, forms[len(self._patterns)] if forms else None)
                self._patterns.append(compiled)
                try:
                    self._set.Add(compiled.filter.encode("utf-8"))
                except (re2.error, UnicodeEncodeError):
                    # RE2 says by itself what is wrong with it.
                    _ = compiled.regex
                    raise
        self._net: re2._Regexp | None = None
        self._search_net: Searcher | None = None
        self._search_set: Callable[[bytes], Sequence[int] | None] = self._set.Match
        self._nets = nets or [_mesh(compiled.event.patterns[compiled.index].regex) for compiled in self._patterns]
        if self._patterns:
            self._set.Compile()
            self._search_set = set_searcher(self._set)
            try:
                # A record in JSON may escape characters of the message, so every JSON line is examined; so are Ollama's own
                # lines, whose message `strip` joins with the values behind it. Sorted: RE2 shares what neighbours begin with, and
                # makes its automaton for the first lines in half the time (measured).
                self._net = re2.compile(
                    "|".join([*sorted(set(self._nets)), *_JSON_LINES, _OLLAMA_LINES]).encode(),
                    options=re2_options(never_capture=True),
                )
            except re2.error as error:
                raise PatternError(self._events[0].source, 0, f"the patterns together: {why_refused(error)}") from error
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
        patterns = self._patterns
        found: list[Match] = []
        for line_index, line, envelope, message, stamp, wanted in self._wanted(data):
            claimed: EventDef | None = None
            for number in sorted(wanted) if len(wanted) > 1 else wanted:
                compiled = patterns[number]
                if compiled.event is not claimed:
                    match = Match(line_index, line, envelope, message, compiled, stamp)
                    if compiled.sure or match.holds():
                        claimed = compiled.event
                        found.append(match)
                        if compiled.read:
                            _ = match.fields
        return iter(found)

    def _wanted(self, data: bytes) -> list[_Line]:
        """The lines that some pattern wants.

        One pass after the other, and all before anything is done with an event: in turns with the rest of the engine the
        automata drop out of the processor's cache, and searching takes twice as long (measured). So does parsing: what was read
        of a pattern's last match is parsed at once.
        """
        search = self._search_net
        if search is None:
            return []
        hits: list[tuple[int, bytes]] = []
        beyond = 0  # where the line after the last hit begins
        counted = 0
        line_index = 0
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
            hits.append((line_index, data[begin:end]))
        wanted_by = self._search_set
        found: list[_Line] = []
        for line_index, line in hits:
            if (message_of := bare(line)) is None:
                envelope = strip(text_of(line))
                message = envelope.message.encode("utf-8", "replace")
                if wanted := wanted_by(message):
                    found.append((line_index, line, envelope, message, None, wanted))
            else:
                message, stamp = message_of
                if wanted := wanted_by(message):
                    found.append((line_index, line, None, message, stamp, wanted))
        return found

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
#: Not those of Docker Model Runner, which name no source: each of its lines is a record.
_OLLAMA_LINES = r" source=\w+\.go:\d+ msg="


def _mesh(regex: str) -> str:
    """The prefilter's form of a pattern: a text that every match contains, else the whole pattern, loosened.

    152 whole patterns cost 13 MB of automaton, their texts 3 MB and a fifth less time, for a fifth more lines found (measured).
    One whole pattern with `.{1,300}` in it is enough to make RE2 give up its automaton: 60,000 lines then took 7.0 s, not 0.6.
    """
    text = required(regex)
    return f"(?:{loosened(unlimited(regex))})" if text is None else re2.escape(text)
