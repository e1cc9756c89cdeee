"""The JSON forms of alerts, their transitions and silences, as types."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sentinel.model.alert import Severity, State
from sentinel.model.entity import Scope, Value

#: A value in an answer: null where it is not known.
Shown = Value | None


class EntityForm(TypedDict):
    """What it is about."""

    scope: Scope
    name: str


class CauseForm(TypedDict):
    """Why it happens, as far as the evidence goes."""

    id: str
    text: str
    confidence: Literal["high", "medium", "low"]


class FixForm(TypedDict):
    """Advice; nothing runs it."""

    do: str
    command: str
    risk: str
    verify: str


class EvidenceForm(TypedDict):
    """A check with its value and what it read, or a line of a log with its number."""

    check: NotRequired[str]
    value: NotRequired[bool | None]
    reads: NotRequired[dict[str, Shown]]
    missing: NotRequired[dict[str, str]]
    #: the rule's sentence for a check that is true
    text: NotRequired[str]
    line: NotRequired[str]
    source: NotRequired[str]
    n: NotRequired[int]


class TransitionForm(TypedDict):
    """A change of an alert's state."""

    at: str | None
    rule: str
    state: State
    previous: State
    reason: str
    severity: Severity
    entity: EntityForm
    fingerprint: str
    summary: str
    cause: CauseForm | None
    fixes: list[FixForm]
    evidence: list[EvidenceForm]
    silenced: NotRequired[str]
    inhibited_by: NotRequired[str]
    #: the old name of `inhibited_by`
    explained_by: NotRequired[str]
    flapping: NotRequired[bool]
    #: the machine's name
    host: NotRequired[str]
    #: what people call the server: its model and its port; not its identity
    called: NotRequired[str]


class EffectForm(TypedDict):
    """An alert that another one inhibits."""

    rule: str
    entity: str
    notified: bool
    #: the old name of `notified`
    told: bool


class AlertForm(TransitionForm):
    """An open alert as it stands."""

    since: str | None
    title: str
    #: when the process that it is about was seen to have ended; null while it runs, or where that is not known
    server_ended: str | None
    effects: NotRequired[list[EffectForm]]


class SilenceForm(TypedDict):
    """Notifications suppressed for a while; null for a rule or an entity means all."""

    id: str
    rule: str | None
    entity: str | None
    at: str | None
    until: str | None
    reason: str
    author: str
