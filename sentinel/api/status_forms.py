"""The JSON forms of what `sentinel status` shows, as types."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from sentinel.api.alert_forms import Shown
from sentinel.model.alert import Severity
from sentinel.model.entity import Scope


class ContextForm(TypedDict):
    """The context of a slot: tokens that it held at the last report, and whether it works on a request now."""

    slot: int
    tokens: int
    busy: bool


class ServerForm(TypedDict):
    """A llama-server; what is not known is null. `called` is what people call it, `name` its identity."""

    name: str
    called: Shown
    front_end: Shown
    pid: Shown
    user: Shown
    state: Shown
    build: Shown
    build_low: Shown
    build_high: Shown
    is_router: Shown
    model_path: Shown
    model_bytes: Shown
    preflight: Shown
    preflight_why: Shown
    gpu_layers_asked: Shown
    gpu_memory_bytes: Shown
    ctx_requested: Shown
    ctx_per_slot: Shown
    slots: Shown
    generation_tps: Shown
    prompt_tps: Shown
    slots_busy: Shown
    slot_fill: Shown
    load_share: Shown
    #: of the daily check of its answers, where the configuration turns it on
    quality_verdict: Shown
    quality_checked_at: Shown
    quality_divergence: Shown
    quality_same_first: Shown
    quality_size: Shown
    quality_waits: Shown
    memory_left_bytes: Shown
    memory_left_where: Shown
    gpu_vram_total_bytes: Shown
    #: what it will need at least, once loaded, of which `firm_bytes` are held already
    need_bytes: Shown
    firm_bytes: Shown
    cpu_cores: Shown
    rss_bytes: Shown
    locked_bytes: Shown
    log_readable: Shown
    log_where: Shown
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
