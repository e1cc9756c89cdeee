"""The state of the engine in a recording as types: what it must look like before the engine takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from sentinel.model.entity import Scope

Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
EntityPair = tuple[Scope, str]
Fields = dict[str, bool | int | float | str]


class FormError(ValueError):
    """A line, or the state, is malformed. The text says what and where in it."""


class KeptSilence(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    rule: str
    name: str
    at: Number
    until: Number
    reason: str
    author: str


class KeptSilences(msgspec.Struct):
    version: int
    last: int
    silences: list[KeptSilence]


class _Life(msgspec.Struct):
    state: str
    since: Number = 0.0
    matched_at: Number = 0.0
    clear_since: Number | None = None
    spent_at: Number = 0.0


class _Cause(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    text: str
    confidence: str


class _Check(msgspec.Struct, forbid_unknown_fields=True):
    check: str
    value: bool | None
    reads: dict[str, bool | int | float | str | None]
    #: why and remedy; one sentence in recordings of version 0.1
    missing: dict[str, str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=2)]] = {}
    text: str = ""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    line: str
    source: str
    n: int


class _Alert(msgspec.Struct):
    rule: str
    entity: EntityPair
    life: _Life
    summary: str
    cause: _Cause | None
    fixes: list[dict[str, str]]
    checks: list[_Check]
    lines: list[_Line]
    pid: int
    causes: list[str]


class _OomReport(msgspec.Struct):
    at: Number | None
    fields: Fields
    tasks: list[tuple[int, int, str]]


class _Attribution(msgspec.Struct):
    pids: list[tuple[int, Scope, str, Number, Number | None]]
    nameless: list[tuple[int, Scope, str]]
    states: list[tuple[Scope, str, str]]
    report: _OomReport
    children: list[tuple[str, int, str]] | None = None
    guessed: list[tuple[Scope, str, Number]] | None = None
    earlier: list[tuple[str, list[str]]] | None = None


class _Voice(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    scope: Scope
    name: str
    stamped: bool
    served: bool
    raw_at: Number | None
    raw_line: Count
    #: not in recordings of before 2026-11-29
    starts: bool = False


class _Authorship(msgspec.Struct):
    voices: list[_Voice]
    waiting: list[
        tuple[
            Scope,
            str,
            list[
                tuple[
                    Number,
                    bool,
                    tuple[Number, str, str, Count, bool, Number | None],
                    tuple[str, Count, Number | None, Number | None, int | None, Fields, str],
                ]
            ],
        ]
    ]
    catching_up: bool | Number


class _Baselines(msgspec.Struct):
    baselines: list[tuple[str, Count, Number, list[tuple[Number, Count | None, Number | None]]]]
    answers: list[tuple[Scope, str, Count, Count, Number, bool, Count | None, Count | None, Count, Number | None]]


class _Turn(msgspec.Struct, forbid_unknown_fields=True):
    task: int
    similarity: Number
    forced: bool
    evaluated: int
    ms: Number
    generated: int
    held: int
    read: int = -1
    repeats: int = 0
    unkept: bool | None = None


class _Requests(msgspec.Struct, forbid_unknown_fields=True):
    slots: list[tuple[int, _Turn]]
    current: int
    kept_nothing: int
    grown: int
    long_prompt: int
    others_between: int
    failures: int
    failed_at: Number
    ended_ill: list[int]
    perhaps: int
    begun: list[int]
    busy: list[int]
    given_up: int
    never_begun: int
    worked_at: Number
    shows_progress: bool
    spins: bool = False
    answered: int = 0
    contexts: list[tuple[int, Count]] = []


class _Snapshot(msgspec.Struct):
    """The form of a state that `Engine.resume` may receive; keys that are not named here are left to it."""

    version: int
    facts: list[tuple[Scope, str, str, bool | int | float | str, Number, str]]
    events: list[tuple[Number, str, Scope, str, Fields, str, str, int]]
    runs: list[tuple[Scope, str, Number, int, bool, bool, Number]]
    alerts: list[_Alert]
    entities: list[EntityPair]
    #: scope, name, signal, why; and the remedy where there is one
    unknown: list[Annotated[list[str], msgspec.Meta(min_length=4, max_length=5)]]
    last_words: list[tuple[Scope, str, bool | int | float | str, Number]]
    heard: list[tuple[Scope, str, str]]
    windows: list[tuple[Scope, str, str, Number, list[tuple[Number, Number]]]]
    attribution: _Attribution
    card: tuple[str, Number] | None
    silences: KeptSilences
    timers: list[tuple[Number, str, Scope, str]]
    swept: Number | None
    unhealthy: dict[str, str]
    speeds: _Baselines | None = None
    stamps: list[tuple[str, Number, Number, bool]] | None = None
    requests: list[tuple[Scope, str, _Requests]] | None = None
    watched: list[EntityPair] | None = None
    awaited: list[EntityPair] | None = None
    free_since: list[tuple[Scope, str, Number]] | None = None
    authorship: _Authorship | None = None


def check_state(state: Mapping[str, Any]) -> int:
    """How many entities the state knows. Raises FormError if its parts are not of the types that the engine takes."""
    try:
        return len(msgspec.convert(state, _Snapshot).entities)
    except msgspec.ValidationError as error:
        raise FormError(str(error)) from error
