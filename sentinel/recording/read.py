"""The lines of a recording as readings. Whoever wrote them, nothing malformed gets past this module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from sentinel.engine.facts.catalogue import CATALOGUE, present_name
from sentinel.model.entity import Entity, Scope, Unknown, Value
from sentinel.model.input_limits import (
    MOST_RECORDED_CHANGES,
    MOST_RECORDED_ENTITIES,
    MOST_RECORDED_NAME,
    MOST_ROW_BYTES,
    MOST_STATE_BYTES,
)
from sentinel.model.reading import Claim, ClaimedLines, Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.model.text import escape
from sentinel.recording.line_types import (
    ClaimedLinesRow,
    EndRow,
    EventRow,
    Header,
    LogLinesRow,
    RulesChanged,
    SamplesRow,
    ServerFoundRow,
    SignalValues,
    SilenceChanged,
    StateRow,
    TickRow,
    Unread,
    decode,
    decode_header,
)
from sentinel.recording.state_types import FormError, check_state

READS = (1, 2)


class RecordingError(Exception):
    """The text is not a recording, is damaged, or is of a version that this sentinel cannot read. One sentence, with its line."""


class Recording:
    """A recording while it is read: the header and the state at once, the readings one by one.

    Raises RecordingError, at the beginning and while it is read. `complete` is known at the end.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._number = 0
        self._entities: set[tuple[str, str]] = set()
        self._changes = 0
        #: readings given so far
        self.readings = 0
        #: the end line was there, and everything that it counts
        self.complete = False
        self.header = self._header()
        self._first: Any = None
        #: the engine's state at the start; None: an empty state
        self.state = self._state()

    def __iter__(self) -> Iterator[Reading | RulesChanged | SilenceChanged]:
        while self._first is not None:
            found, self._first = self._first, None
            if isinstance(found, StateRow):
                raise self._wrong("a state stands at the beginning only")
            if isinstance(found, EndRow):
                if found.readings != self.readings:
                    raise self._wrong(f"{found.readings} readings were written, {self.readings} are here")
                if self._next() is not None:
                    raise self._wrong("something follows the end")
                self.complete = True
                return
            if isinstance(found, RulesChanged | SilenceChanged):
                self._changes += 1
                if self._changes > MOST_RECORDED_CHANGES:
                    raise self._wrong(f"rules or silences changed more than {MOST_RECORDED_CHANGES} times")
                yield found
            else:
                self.readings += 1
                yield self._reading(found)
            self._first = self._next()
        # Version 1 had no end line.
        self.complete = self.header.sentinel_recording == 1

    @property
    def line(self) -> int:
        """The number of the line read last."""
        return self._number

    def _header(self) -> Header:
        first = self._take()
        if first is None:
            raise RecordingError("line 1: the file is empty; a recording is made with `sentinel record`")
        try:
            found = decode_header(first)
        except FormError as error:
            raise RecordingError("line 1: this is no recording of sentinel; one is made with `sentinel record`") from error
        if found.sentinel_recording not in READS:
            raise RecordingError(
                f"line 1: a recording of version {found.sentinel_recording}; this sentinel reads {' and '.join(map(str, READS))}"
            )
        return found

    def _state(self) -> dict[str, Any] | None:
        state: dict[str, Any] = {}
        size = 0
        while True:
            self._first = self._next()
            if not isinstance(self._first, StateRow):
                break
            size += self._size
            if size > MOST_STATE_BYTES:
                raise self._wrong(f"the state is larger than {MOST_STATE_BYTES >> 20} MiB")
            if self._first.rows is not None:
                rows = state.setdefault(self._first.key, [])
                if not isinstance(rows, list):
                    raise self._wrong("a part of the state is there twice")
                rows += self._first.rows
            else:
                state[self._first.key] = self._first.value
        if not state:
            return None
        try:
            known = check_state(state)
        except FormError as error:
            raise self._wrong(f"the state cannot be used: {error}") from error
        if known > MOST_RECORDED_ENTITIES:
            raise self._wrong(f"more than {MOST_RECORDED_ENTITIES} servers and GPUs")
        return state

    def _take(self) -> bytes | None:
        self._number += 1
        line = next(self._lines, None)
        self._size = 0 if line is None else len(line)
        if self._size > MOST_ROW_BYTES:
            raise self._wrong(f"longer than {MOST_ROW_BYTES >> 20} MiB")
        return line

    def _next(self) -> Any:
        line = self._take()
        if line is None:
            return None
        try:
            return decode(line)
        except FormError as error:
            if not line.endswith(b"\n") and self.header.sentinel_recording > 1:
                # The file was truncated in this line; without its end line the recording is incomplete.
                return None
            raise self._wrong(f"not a reading ({error})") from error

    def _wrong(self, what: str) -> RecordingError:
        return RecordingError(f"line {self._number}: {escape(what)}")

    def _entity(self, pair: tuple[Scope, str]) -> Entity:
        if pair not in self._entities:
            if len(pair[1]) > MOST_RECORDED_NAME:
                raise self._wrong(f"a name of more than {MOST_RECORDED_NAME} characters")
            if len(self._entities) >= MOST_RECORDED_ENTITIES:
                raise self._wrong(f"more than {MOST_RECORDED_ENTITIES} servers and GPUs")
            self._entities.add(pair)
        return Entity(*pair)

    def _reading(self, found: Any) -> Reading:
        at: float = found.at
        if isinstance(found, TickRow):
            return Tick(at)
        entity = self._entity(found.entity)
        if isinstance(found, ClaimedLinesRow):
            claims = tuple(Claim(*claim) for claim in found.claims)
            f = found
            return ClaimedLines(at, f.source, entity, f.count, claims, f.kind, f.first, f.backlog, f.elapsed_base)
        if isinstance(found, LogLinesRow):
            data = found.data.encode("utf-8")
            return LogLines(at, found.source, entity, data, found.kind, found.first, found.backlog, found.elapsed_base)
        if isinstance(found, SamplesRow):
            return Samples(at, found.source, entity, self._values_in(found.values))
        if isinstance(found, EventRow):
            return Event(at, found.name, entity, found.fields, found.source, found.line, found.n)
        if isinstance(found, ServerFoundRow):
            return ServerFound(at, found.source, entity, found.pid, found.start_time, self._values_in(found.values))
        return ServerGone(at, found.source, entity, found.pid)

    def _values_in(self, values: SignalValues) -> dict[str, Value | Unknown]:
        """Values of signals that still exist; no rule reads the others, from an older or newer sentinel."""
        out: dict[str, Value | Unknown] = {}
        for written, value in values.items():
            name = present_name(written)
            signal = CATALOGUE.get(name)
            if signal is None:
                continue
            if value is None:
                # JSON's form of a non-finite number.
                out[name] = Unknown("not a finite number")
            elif isinstance(value, Unread):
                out[name] = Unknown(value.unknown, value.remedy)
            elif _fits(signal.type, value):
                out[name] = value
            else:
                raise self._wrong(f"{name} is {signal.type}, not {value!r:.60}")
        return out


def _fits(kind: str, value: Value) -> bool:
    if isinstance(value, bool):
        return kind == "flag"
    if isinstance(value, str):
        return kind == "text"
    if kind == "float":
        return -1e300 < value < 1e300 and math.isfinite(value)
    return kind == "int" and isinstance(value, int) and abs(value) < 2**64
