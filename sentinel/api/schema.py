"""The JSON forms of what the socket answers, as types: the description of the API is made from them.

Keys are added, never renamed. Times are ISO-8601 in UTC with milliseconds, or null where there is none; ages and durations are
seconds. Text from outside is escaped.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sentinel.api.alert_forms import AlertForm, EntityForm, Shown, SilenceForm, TransitionForm
from sentinel.api.status_forms import (
    BlindSpotForm,
    CutForm,
    OverrideForm,
    QueueForm,
    RecorderForm,
    RuleForm,
    SeriesStateForm,
    ServerForm,
    SinkForm,
    SourceForm,
    StateForm,
)
from sentinel.api.why_forms import SubjectForm
from sentinel.model.alert import Severity
from sentinel.model.entity import Scope


class Status(TypedDict):
    """One screen."""

    version: str
    at: str | None
    since: str | None
    servers: list[ServerForm]
    gpus: list[dict[str, Shown]]
    host: dict[str, Shown]
    alerts: list[AlertForm]
    silences: list[SilenceForm]
    blind_spots: list[BlindSpotForm]
    blind_spots_left_out: int
    sources: list[SourceForm]
    rules: list[RuleForm]
    overrides: list[OverrideForm]
    queue: QueueForm
    state: StateForm
    series: SeriesStateForm
    recorder: RecorderForm
    sinks: list[SinkForm]
    cut: list[CutForm]


class SeriesForm(TypedDict):
    """A signal of one entity over time; null where there was no value. Of one second there are no least and largest values."""

    entity: EntityForm
    signal: str
    unit: str
    mean: list[float | None]
    min: NotRequired[list[float | None]]
    max: NotRequired[list[float | None]]


class SeriesAnswer(TypedDict):
    """Values over time: the n-th of each list is of the `step` seconds from `begin` + n * `step`."""

    at: str | None
    begin: str | None
    step: int
    series: list[SeriesForm]


class Alerts(TypedDict):
    """Open alerts, worst first."""

    alerts: list[AlertForm]
    silences: list[SilenceForm]


class Alert(TypedDict):
    """One open alert."""

    alert: AlertForm


class Transitions(TypedDict):
    """Past transitions, oldest first. `earlier`: as `before` it asks for the page before this one; null: there is none."""

    transitions: list[TransitionForm]
    earlier: int | None


class SignalForm(TypedDict):
    """A fact, or one that is known to be unknown: then with the reason."""

    entity: EntityForm
    signal: str
    value: Shown
    unit: str
    age: NotRequired[float]
    fresh: NotRequired[bool]
    source: NotRequired[str]
    why: NotRequired[str]


class Signals(TypedDict):
    """Every fact."""

    signals: list[SignalForm]


class Rules(TypedDict):
    """The active rules."""

    rules: list[RuleForm]


class Why(TypedDict):
    """Each check of a rule with its present value."""

    rule: str
    title: str
    severity: Severity
    scope: Scope
    when: str
    unhealthy: str
    subjects: list[SubjectForm]


class RecordingForm(TypedDict):
    """A recording on disk."""

    name: str
    bytes: int
    written: str | None


class Recordings(TypedDict):
    """Recordings on disk, oldest first."""

    recordings: list[RecordingForm]


class ProblemForm(TypedDict):
    """A finding in a rule file. `line` counts from 1; null: the file as a whole."""

    file: str
    line: int | None
    where: str
    what: str
    level: Literal["error", "warning"]


class OverrideToLookAt(TypedDict):
    """An override whose rule an upgrade changed under it."""

    file: str
    what: str


class Reloaded(TypedDict):
    """How many rules are active now, the ids of those added, removed and changed, and warnings."""

    rules: int
    added: list[str]
    removed: list[str]
    changed: list[str]
    problems: list[ProblemForm]
    overrides_to_look_at: list[OverrideToLookAt]


class SilencesAnswer(TypedDict):
    """Active silences, oldest first."""

    silences: list[SilenceForm]


class SilenceAnswer(TypedDict):
    """A silence that was set or ended."""

    silence: SilenceForm


class Ended(TypedDict):
    """The alerts that a person ended."""

    ended: list[TransitionForm]


class Decided(TypedDict):
    """What follows for the alert."""

    transitions: list[TransitionForm]


class StartTaken(TypedDict):
    """A start, or the end of one, was taken note of."""

    taken: bool


class ErrorForm(TypedDict):
    """One sentence for the person who asked; `problems` where rule files have mistakes."""

    code: int
    message: str
    problems: NotRequired[list[ProblemForm]]


class Refusal(TypedDict):
    """Why it was not answered."""

    error: ErrorForm
