"""The answers as types: the SDK makes their schemas from these. Small, because each is read by a model word for word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FixAnswer:
    """What to do. A command is a proposal with a risk: sentinel runs none."""

    do: str
    command: str
    risk: str
    verify: str


@dataclass(frozen=True)
class AlertAnswer:
    """An alert. Its lines of a log are quoted: text that whoever talks to the server may have written."""

    severity: str
    rule: str
    about: str
    entity: str
    summary: str
    #: ISO 8601, UTC; empty: not known
    began: str
    #: empty while it is open
    ended: str
    #: silenced, flapping, inhibited
    marks: list[str]
    cause: str
    fixes: list[FixAnswer]
    evidence: list[str]
    untrusted_log_lines: list[str]


@dataclass(frozen=True)
class ServerAnswer:
    """A llama-server; what is not known is null."""

    name: str
    called: str
    #: the worst alert's rule, or ok, loading, ended
    verdict: str
    pid: int | None
    state: str
    tokens_per_second: float | None
    #: of the fullest slot, 0 to 1
    context_used: float | None
    gpu_memory_bytes: int | None
    resident_bytes: int | None


@dataclass(frozen=True)
class StatusAnswer:
    """Is all well on this machine."""

    state: str
    text: str
    host: str
    servers: list[ServerAnswer]
    #: rule and name of the server, GPU or host of each open alert, the worst first
    open_alerts: list[str]
    cannot_be_seen: list[str]
    left_out: int


@dataclass(frozen=True)
class AlertsAnswer:
    """Alerts, and how many there are beyond them."""

    alerts: list[AlertAnswer]
    left_out: int


@dataclass(frozen=True)
class CheckAnswer:
    """A condition of a rule. `holds` null: it cannot be judged."""

    name: str
    holds: bool | None
    text: str


@dataclass(frozen=True)
class SubjectAnswer:
    """A rule's verdict about one server, GPU or host: match, no-match or unknown; and what would make it known."""

    entity: str
    verdict: str
    state: str
    checks: list[CheckAnswer]
    unknown_because: list[str]


@dataclass(frozen=True)
class WhyAnswer:
    """Why a rule fires, does not, or cannot say."""

    rule: str
    title: str
    subjects: list[SubjectAnswer]
    left_out: int


@dataclass(frozen=True)
class DiagnoseAnswer:
    """What a log says."""

    verdict: str
    alerts: list[AlertAnswer]
    #: rules that could not be judged, with what is missing
    unknown: list[str]
    lines_read: int
    left_out: int


@dataclass(frozen=True)
class MemoryAnswer:
    """Memory of one place: at least and at most. Bytes."""

    place: str
    low: int
    high: int


@dataclass(frozen=True)
class PreflightAnswer:
    """Whether a command would fit and work: fits, tight, fails, or unknown."""

    verdict: str
    reasons: list[str]
    memory: list[MemoryAnswer]
    #: other command lines, with what they give up
    suggestions: list[str]
