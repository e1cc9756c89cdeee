"""Claimed lines without their text: what the patterns extracted, kept so that it can be replayed as if the lines were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sentinel.engine.log.extractor import Match
from sentinel.model.entity import Value
from sentinel.model.event import EventDef, FieldType
from sentinel.model.reading import Claim

_PYTHON: Mapping[FieldType, type] = {
    "text": str, "int": int, "float": float, "flag": bool, "MiB": int, "GiB": int, "kB": int,
}  # fmt: skip


class Recalled(NamedTuple):
    """Stands where a `Match` stood."""

    line_index: int
    event: EventDef
    pattern_index: int
    elapsed: float | None
    wall: float | None
    port: int | None
    fields: Mapping[str, Value]
    text: str


def claim_of(match: Match) -> Claim:
    """All that may be kept of a line: the event, its fields, the matched part as evidence shows it, and the line's times."""
    envelope = match.envelope
    return Claim(
        match.line_index,
        match.event.name,
        match.pattern_index,
        envelope.elapsed,
        envelope.wall,
        envelope.port,
        match.fields,
        match.text,
    )


def recall(claims: Iterable[Claim], events: Mapping[str, EventDef]) -> Iterator[Recalled]:
    """The matches that the claims were made from; claims of events that are no longer defined are skipped."""
    for claim in claims:
        event = events.get(claim.event)
        if event is not None and 0 <= claim.pattern_index < len(event.patterns):
            yield Recalled(
                claim.line_index,
                event,
                claim.pattern_index,
                claim.elapsed,
                claim.wall,
                claim.port,
                _of_type(event, claim.fields),
                claim.text,
            )


def _of_type(event: EventDef, fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """Fields as the event's patterns could have captured them: a claim may come from an untrusted file."""
    return {name: value for name, value in fields.items() if type(value) is _PYTHON[event.fields.get(name, "text")]}
