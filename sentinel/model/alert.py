"""Findings, alerts and transitions."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from sentinel.model.entity import Entity, Unknown, Value

Severity = Literal["critical", "warning", "info"]
#: the worst first
SEVERITY_RANK: Mapping[str, int] = {severity: rank for rank, severity in enumerate(get_args(Severity))}
State = Literal["inactive", "pending", "firing", "resolved"]

#: Why a state changed, as given in transitions.
Reason = Literal[
    "condition-met",
    "hold-elapsed",
    "cause-ended",
    "cause-found",
    "condition-ended",
    "condition-cleared",
    "quiet-again",
    "server-gone",
    "flapping",
    "silence-ended",
    "acknowledged",
    "forgotten",
    "rule-changed",
    "rule-removed",
    "standing",
    "restart",
    "restart-failed",
    "restart-limit",
]
REASONS: tuple[str, ...] = get_args(Reason)


class Verdict(enum.Enum):
    """A rule's answer for one entity at one time. UNKNOWN neither fires nor resolves."""

    MATCH = "match"
    NO_MATCH = "no-match"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One named check: its value (None is unknown) and the values it read."""

    check: str
    value: bool | None
    reads: Mapping[str, Value | None]
    #: signals that were missing, each with the reason and what would provide it
    missing: Mapping[str, Unknown] = field(default_factory=dict)
    #: the rule's sentence for a check that is true, with its values; empty if it has none
    text: str = ""


@dataclass(frozen=True, slots=True)
class LineEvidence:
    """The matched part of a log line."""

    line: str
    source: str
    n: int


@dataclass(frozen=True, slots=True)
class Fix:
    """Advice. A fix is text: sentinel never runs it. Values of the machine inside `command` are shell-quoted."""

    do: str
    command: str = ""
    risk: str = ""
    verify: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it happens, as far as the evidence shows."""

    id: str
    text: str
    confidence: Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What an alert says."""

    summary: str = ""
    cause: Cause | None = None
    fixes: tuple[Fix, ...] = ()
    evidence: tuple[CheckResult | LineEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alert's state, complete: a sink needs nothing else. `at` is seconds since the epoch, None if undated."""

    at: float | None
    rule: str
    state: State
    previous: State
    reason: str
    severity: Severity
    entity: Entity
    fingerprint: str
    summary: str
    cause: Cause | None
    fixes: tuple[Fix, ...]
    evidence: tuple[CheckResult | LineEvidence, ...]
    message_id: str = ""
    title: str = ""
    since: float | None = None
    #: process id of the server concerned, 0 if not known
    pid: int = 0
    documentation: str = ""
    #: id of the silence that suppressed the notification
    silenced: str | None = None
    #: the rule whose firing alert inhibits this one
    inhibited_by: str | None = None
    #: flapping: no further notifications until it is stable
    flapping: bool = False


def fingerprint(rule_id: str, entity: Entity) -> str:
    """Identity of an alert: 16 hex digits of rule and entity, the same across restarts of server, daemon and machine."""
    text = f"{rule_id}\0{entity.scope}\0{entity.name}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
