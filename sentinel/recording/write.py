"""Writes readings and the engine's state as the lines of a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import ClaimedLines, Event, LogLines, Reading, Samples, ServerFound, Tick
from sentinel.recording import line_types
from sentinel.recording.line_types import (
    VERSION,
    AnyRow,
    ClaimedLinesRow,
    EndRow,
    EventRow,
    Header,
    LogLinesRow,
    RulesChanged,
    SamplesRow,
    ServerFoundRow,
    ServerGoneRow,
    SignalValues,
    StateRow,
    TickRow,
    Unread,
    encode,
)

#: Rows of state in one line.
_PART = 200


def header(sentinel: str, rules: Mapping[str, str], events: Mapping[str, str]) -> bytes:
    """The first line."""
    return encode(Header(VERSION, sentinel, dict(rules), dict(events)))


def state(snapshot: Mapping[str, Any]) -> Iterator[bytes]:
    """The lines that hold the engine's state."""
    for key, value in snapshot.items():
        if isinstance(value, list):
            for start in range(0, max(len(value), 1), _PART):
                yield encode(StateRow(key, value[start : start + _PART]))
        else:
            yield encode(StateRow(key, None, value))


def rules_changed(at: float, rules: Mapping[str, str]) -> bytes:
    """The line for rules that were loaded."""
    return encode(RulesChanged(at, dict(rules)))


def silence_changed(at: float, silence: Mapping[str, Any], silences: Mapping[str, Any]) -> bytes:
    """The line for a silence that was added or expired early."""
    return encode(line_types.silence_changed(at, silence, silences))


def end(readings: int) -> bytes:
    """The last line; a recording without it was truncated."""
    return encode(EndRow(readings))


def row(reading: Reading) -> bytes:
    """The line of a reading. Raises ValueError for values that JSON cannot hold (half a surrogate pair)."""
    return encode(_row(reading))


def dump(readings: Iterable[Reading]) -> Iterator[bytes]:
    """A recording without state and without rules to compare."""
    yield header("", {}, {})
    count = 0
    for reading in readings:
        count += 1
        yield row(reading)
    yield end(count)


def _row(reading: Reading) -> AnyRow:
    at = reading.at
    if isinstance(reading, Tick):
        return TickRow(at)
    source, entity = reading.source, (reading.entity.scope, reading.entity.name)
    if isinstance(reading, ClaimedLines):
        claims = [
            (c.line_index, c.event, c.pattern_index, c.elapsed, c.wall, c.port, dict(c.fields), c.text) for c in reading.claims
        ]
        r = reading
        return ClaimedLinesRow(at, source, entity, r.count, claims, r.kind, r.first, r.backlog, r.elapsed_base)
    if isinstance(reading, LogLines):
        data = reading.data.decode("utf-8")
        return LogLinesRow(at, source, entity, data, reading.kind, reading.first, reading.backlog, reading.elapsed_base)
    if isinstance(reading, Samples):
        return SamplesRow(at, source, entity, _values_out(reading.values))
    if isinstance(reading, Event):
        return EventRow(at, reading.name, entity, dict(reading.fields), source, reading.line, reading.n)
    if isinstance(reading, ServerFound):
        return ServerFoundRow(at, source, entity, reading.pid, reading.start_time, _values_out(reading.values))
    return ServerGoneRow(at, source, entity, reading.pid)


def _values_out(values: Mapping[str, Value | Unknown]) -> SignalValues:
    return {name: Unread(v.why, v.remedy) if isinstance(v, Unknown) else v for name, v in values.items()}
