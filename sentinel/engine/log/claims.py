"""Claimed lines without their text: what the patterns extracted, kept so that it can be replayed as if the lines were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sentinel.engine.log.match import Match
from sentinel.model.event import EventDef, FieldType
from sentinel.model.reading import Claim

#: what stands for a line that a pattern matched: read now, or kept without its line
Matched = Match | Claim
_PYTHON: Mapping[FieldType, type] = {
    "text": str, "int": int, "float": float, "flag": bool, "MiB": int, "GiB": int, "kB": int,
}  # fmt: skip


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


def recall(claims: Iterable[Claim], events: Mapping[str, EventDef]) -> Iterator[tuple[EventDef, Claim]]:
    """Claims with their events; those of events that are no longer defined are skipped.

    Of their fields only those remain that the event's patterns could have captured: a claim may come from an untrusted file.
    """
    for claim in claims:
        event = events.get(claim.event)
        if event is not None and 0 <= claim.pattern_index < len(event.patterns):
            wrong = {n for n, value in claim.fields.items() if type(value) is not _PYTHON[event.fields.get(n, "text")]}
            if wrong:
                claim = replace(claim, fields={n: value for n, value in claim.fields.items() if n not in wrong})
            yield event, claim
