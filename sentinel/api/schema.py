"""The JSON forms of what the socket answers, as types: the description of the API is made from them.

Keys are added, never renamed. Times are ISO-8601 in UTC with milliseconds, or null where there is none; ages and durations are
seconds. Text from outside is escaped.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Value = bool | int | float | str | None
Severity = Literal["critical", "warning", "info"]
Scope = Literal["server", "gpu", "host"]
State = Literal["inactive", "pending", "firing", "resolved"]


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
    reads: NotRequired[dict[str, Value]]
    missing: NotRequired[dict[str, str]]
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


class ServerForm(TypedDict):
    """A llama-server; what is not known is null. `called` is what people call it, `name` its identity."""

    name: str
    called: Value
    front_end: Value
    pid: Value
    user: Value
    state: Value
    build: Value
    build_low: Value
    build_high: Value
    is_router: Value
    model_path: Value
    model_bytes: Value
    preflight: Value
    preflight_why: Value
    gpu_layers_asked: Value
    gpu_memory_bytes: Value
    ctx_requested: Value
    ctx_per_slot: Value
    slots: Value
    generation_tps: Value
    cpu_cores: Value
    rss_bytes: Value
    locked_bytes: Value
    log_readable: Value
    log_where: Value
    since: str | None
    process_seen: bool
    running: bool


class BlindSpotForm(TypedDict):
    """What cannot be judged, why, and by which rules."""

    entity: str
    missing: list[str]
    #: `reason` and `remedy` in one sentence
    why: str
    reason: str
    remedy: str
    rules: list[str]


class SourceForm(TypedDict):
    """How a source is doing."""

    name: str
    health: Literal["starting", "up", "absent", "failed"]
    why: str
    #: what to do about it, where that is known; `why` ends with it
    remedy: str
    since: str | None
    failures: int


class RuleForm(TypedDict):
    """An active rule."""

    id: str
    title: str
    severity: Severity
    scope: Scope
    file: str
    health: str
    open: int


class QueueForm(TypedDict):
    """The queue between the sources and the engine."""

    waiting: int
    dropped_samples: int


class StateForm(TypedDict):
    """Where state is kept, and what is wrong with that."""

    folder: str
    fault: str
    #: what to do about it; `fault` ends with it
    remedy: str


class RecorderForm(TypedDict):
    """The flight recorder."""

    on: bool
    since: NotRequired[str | None]
    readings: NotRequired[int]
    bytes: NotRequired[int]
    folder: NotRequired[str]
    fault: NotRequired[str]


class SinkForm(TypedDict):
    """A destination of alerts."""

    name: str
    waiting: int
    fault: str


class CutForm(TypedDict):
    """What was cut or refused of what a server, a user or a log gave, and how often."""

    whose: str
    what: str
    count: int


class OverrideForm(TypedDict):
    """A file that replaces fields of a rule, or switches it off; `changed` is what an upgrade changed of the rule since."""

    rule: str
    file: str
    fields: list[str]
    enabled: bool
    changed: list[str]


class Status(TypedDict):
    """One screen."""

    version: str
    at: str | None
    since: str | None
    servers: list[ServerForm]
    gpus: list[dict[str, Value]]
    host: dict[str, Value]
    alerts: list[AlertForm]
    silences: list[SilenceForm]
    blind_spots: list[BlindSpotForm]
    sources: list[SourceForm]
    rules: list[RuleForm]
    overrides: list[OverrideForm]
    queue: QueueForm
    state: StateForm
    recorder: RecorderForm
    sinks: list[SinkForm]
    cut: list[CutForm]


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
    value: Value
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


class ReadForm(TypedDict):
    """A value that a check read, or of which one that it read is computed.

    `age` in seconds and `source` say where it is from, of what happened with its `line`; `samples` are those in a window.
    """

    name: str
    value: Value
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


class SubjectForm(TypedDict):
    """The state of a rule for one server, GPU or host."""

    entity: str
    verdict: Literal["match", "no-match", "unknown"]
    state: State
    since: str | None
    operands: list[OperandForm]
    checks: list[CheckForm]
    missing: dict[str, str]
    silent: SilentForm
    alert: TransitionForm | None
    fires_in: NotRequired[float]


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
