"""The lines of a recording as types. msgspec checks them while it decodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sentinel.recording.state_types import Count, EntityPair, Fields, FormError, KeptSilence, KeptSilences, Number

VERSION = 2


class Unread(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    unknown: str
    remedy: str = ""


SignalValues = dict[str, bool | int | float | str | Unread | None]


class Header(msgspec.Struct, frozen=True):
    """The first line. `rules` and `events` are digests by id, as of the start of the recording."""

    sentinel_recording: int
    #: version of the sentinel that wrote it
    sentinel: str = ""
    rules: dict[str, str] = {}
    events: dict[str, str] = {}


class Row(msgspec.Struct, tag_field="type", tag=lambda name: name.removesuffix("Row")):
    at: Number


class TickRow(Row):
    pass


class LogLinesRow(Row):
    source: str
    entity: EntityPair
    data: str
    kind: str
    first: Count
    backlog: bool
    elapsed_base: Number | None


class ClaimedLinesRow(Row):
    source: str
    entity: EntityPair
    count: Count
    claims: list[tuple[Count, str, Count, Number | None, Number | None, int | None, Fields, str]]
    kind: str
    first: Count
    backlog: bool
    elapsed_base: Number | None


class SamplesRow(Row):
    source: str
    entity: EntityPair
    values: SignalValues


class EventRow(Row):
    name: str
    entity: EntityPair
    fields: Fields
    source: str
    line: str
    n: Count


class ServerFoundRow(Row):
    source: str
    entity: EntityPair
    pid: Count
    start_time: Number
    values: SignalValues


class ServerGoneRow(Row):
    source: str
    entity: EntityPair
    pid: Count


class RulesChanged(Row):
    """Other rules came into force, or the same ones were reloaded."""

    rules: dict[str, str]


class SilenceChanged(Row):
    """A silence was added or expired early: which, and the active ones from then on."""

    silence: KeptSilence
    silences: KeptSilences


class StateRow(msgspec.Struct, tag_field="type", tag="State"):
    """A part of the engine's state: rows are joined by key, a value stands for itself."""

    key: str
    rows: list[Any] | None = None
    value: Any = None


class EndRow(msgspec.Struct, tag_field="type", tag="End"):
    readings: int


_ReadingRow = TickRow | LogLinesRow | ClaimedLinesRow | SamplesRow | EventRow | ServerFoundRow | ServerGoneRow
AnyRow = _ReadingRow | RulesChanged | SilenceChanged | StateRow | EndRow


_ROWS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyRow)
_HEADER = msgspec.json.Decoder(Header)


def encode(line: Header | AnyRow) -> bytes:
    """One line, ended by a newline. Raises ValueError for text that is not Unicode (half a surrogate pair)."""
    return msgspec.json.encode(line) + b"\n"


def silence_changed(at: float, silence: Mapping[str, Any], silences: Mapping[str, Any]) -> SilenceChanged:
    """The row of a silence that was added or expired early."""
    return SilenceChanged(at, KeptSilence(**silence), msgspec.convert(silences, KeptSilences))


def builtins(part: msgspec.Struct) -> dict[str, Any]:
    """A part of a row as plain data."""
    plain: dict[str, Any] = msgspec.to_builtins(part)
    return plain


def decode_header(line: bytes) -> Header:
    """Raises FormError."""
    try:
        return _HEADER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormError(str(error)) from error


def decode(line: bytes) -> AnyRow:
    """Raises FormError."""
    try:
        row: AnyRow = _ROWS.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormError(str(error)) from error
    return row
