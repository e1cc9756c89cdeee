"""The JSON forms of why a rule fires or not, as types."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sentinel.api.alert_forms import Shown, SilenceForm, TransitionForm
from sentinel.model.alert import State


class ReadForm(TypedDict):
    """A value that a check read, or of which one that it read is computed.

    `age` in seconds and `source` say where it is from, of what happened with its `line`; `samples` are those in a window.
    """

    name: str
    value: Shown
    age: NotRequired[float]
    source: NotRequired[str]
    line: NotRequired[str]
    samples: NotRequired[int]
    of: NotRequired[list[str]]
    missing: NotRequired[str]


class CheckForm(TypedDict):
    """A check; null is unknown."""

    check: str
    value: bool | None
    reads: list[ReadForm]
    #: the rule's sentence for a check that is true
    text: NotRequired[str]


class OperandForm(TypedDict):
    """A part of the rule's condition, all of which must be true; null is unknown."""

    expression: str
    value: bool | None


class ReasonForm(TypedDict):
    """The alert that inhibits another."""

    rule: str
    entity: str
    since: str | None


class SilentForm(TypedDict):
    """Why an alert does not notify, or not again."""

    inhibited_by: NotRequired[ReasonForm]
    #: the old name of `inhibited_by`
    explained_by: NotRequired[ReasonForm]
    held_until: NotRequired[str | None]
    silenced: NotRequired[SilenceForm]
    flapping_since: NotRequired[str | None]
    clear_since: NotRequired[str | None]
    cleared_at: NotRequired[str | None]
    cleared_why: NotRequired[str]


class GapForm(TypedDict):
    """Why signals are unknown, and what would provide them."""

    reason: str
    remedy: str
    signals: list[str]


class SubjectForm(TypedDict):
    """The state of a rule for one server, GPU or host."""

    entity: str
    #: what people call a server
    called: str
    verdict: Literal["match", "no-match", "unknown"]
    state: State
    since: str | None
    operands: list[OperandForm]
    checks: list[CheckForm]
    gaps: list[GapForm]
    missing: dict[str, str]
    silent: SilentForm
    alert: TransitionForm | None
    fires_in: NotRequired[float]
