"""Readings as JSON lines and back: what the engine was fed can be kept and fed again. Versioned; the form is an interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from sentinel.model.labels import Entity, Unknown, Value
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick

VERSION = 1


class RecordingError(Exception):
    """The text is no recording, or one of a version that this sentinel does not read."""


def dump(readings: Iterable[Reading]) -> Iterator[str]:
    """A header, then one line a reading."""
    yield json.dumps({"sentinel_recording": VERSION})
    for reading in readings:
        yield json.dumps(_to_dict(reading), ensure_ascii=False, sort_keys=True)


def load(lines: Iterable[str]) -> Iterator[Reading]:
    """The readings of a recording. Raises RecordingError with the line's number."""
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if number == 1:
                if row.get("sentinel_recording") != VERSION:
                    raise RecordingError(f"line 1: not a recording of version {VERSION}")
                continue
            yield _from_dict(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(f"line {number}: not a reading ({error})") from error


def _to_dict(reading: Reading) -> dict[str, Any]:
    row: dict[str, Any] = {"type": type(reading).__name__, "at": reading.at}
    if isinstance(reading, Tick):
        return row
    row |= {"source": reading.source, "entity": [reading.entity.scope, reading.entity.name]}
    if isinstance(reading, LogLines):
        row |= {"data": reading.data.decode("utf-8"), "kind": reading.kind, "first": reading.first}
        row |= {"backlog": reading.backlog, "elapsed_base": reading.elapsed_base}
    elif isinstance(reading, Samples):
        row["values"] = _values_out(reading.values)
    elif isinstance(reading, Event):
        row |= {"name": reading.name, "fields": dict(reading.fields), "line": reading.line, "n": reading.n}
    elif isinstance(reading, ServerFound):
        row |= {"pid": reading.pid, "start_time": reading.start_time, "values": _values_out(reading.values)}
    else:
        row["pid"] = reading.pid
    return row


def _values_out(values: Any) -> dict[str, Any]:
    return {name: {"unknown": v.why} if isinstance(v, Unknown) else v for name, v in values.items()}


def _values_in(values: dict[str, Any]) -> dict[str, Value | Unknown]:
    return {name: Unknown(v["unknown"]) if isinstance(v, dict) else v for name, v in values.items()}


def _from_dict(row: dict[str, Any]) -> Reading:
    at, kind = float(row["at"]), row["type"]
    if kind == "Tick":
        return Tick(at)
    source, entity = row["source"], Entity(*row["entity"])
    if kind == "LogLines":
        data = row["data"].encode("utf-8")
        return LogLines(at, source, entity, data, row["kind"], row["first"], row["backlog"], row["elapsed_base"])
    if kind == "Samples":
        return Samples(at, source, entity, _values_in(row["values"]))
    if kind == "Event":
        return Event(at, row["name"], entity, row["fields"], source, row["line"], row["n"])
    if kind == "ServerFound":
        return ServerFound(at, source, entity, row["pid"], row["start_time"], _values_in(row["values"]))
    if kind == "ServerGone":
        return ServerGone(at, source, entity, row["pid"])
    raise ValueError(f"unknown type {kind!r}")
