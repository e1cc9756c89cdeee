"""The JSON forms of what `sentinel status` shows, as types."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sentinel.api.alert_forms import Scope, Severity, Value


class ContextForm(TypedDict):
    """The context of a slot: tokens that it held at the last report, and whether it works on a request now."""

    slot: int
    tokens: int
    busy: bool


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
    prompt_tps: Value
    slots_busy: Value
    slot_fill: Value
    load_share: Value
    memory_left_bytes: Value
    memory_left_where: Value
    gpu_vram_total_bytes: Value
    #: what it will need at least, once loaded, of which `firm_bytes` are held already
    need_bytes: Value
    firm_bytes: Value
    cpu_cores: Value
    rss_bytes: Value
    locked_bytes: Value
    log_readable: Value
    log_where: Value
    #: of the slots that had a request, as the log has it
    contexts: list[ContextForm]
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


class SeriesStateForm(TypedDict):
    """Why the series are not saved to disk; empty while they are."""

    fault: str


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
