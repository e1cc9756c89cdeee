"""The forms of a transition: JSON for people and programs, a record for storage, one line of text.

The JSON form is a contract (docs: "A transition as JSON"): keys are added, never renamed. Everything in a transition may
come from a log line, a file name or a process name, so text is escaped here, once, for every output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sentinel.model.alert import Cause, CheckResult, Fix, LineEvidence, Transition
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.restarts import RESTART_WORDS
from sentinel.model.text import SURROGATE, UNSAFE, escape, escaped


def iso(at: float | None) -> str | None:
    """Seconds since the epoch as ``2026-11-23T16:05:12.345Z``; None for None and for dates outside the calendar's range."""
    if at is None or not math.isfinite(at):
        return None
    try:
        moment = datetime.fromtimestamp(round(at, 3), UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def to_json(value: object) -> str:
    """One line of JSON, the same bytes for the same value, safe to print on a terminal; NaN and infinities become null."""
    try:
        text = _dumps(value)
    except (TypeError, ValueError):
        text = ""
    if not text or SURROGATE.search(text):
        # What JSON cannot hold is rare: looking for it first takes three times as long as writing.
        text = _dumps(_finite(value))
    return UNSAFE.sub(lambda match: json.dumps(match.group())[1:-1] if match.group() != "\x7f" else "\\u007f", text)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False)


def _finite(value: object) -> object:
    """`value` as JSON can hold it: no infinities, no text that UTF-8 cannot encode."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return SURROGATE.sub(escaped, value)
    if isinstance(value, Mapping):
        return {str(_finite(key)): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def transition_to_dict(transition: Transition, host: str = "") -> dict[str, Any]:
    """The contract's JSON form, as plain dicts and lists. `at` is ISO-8601 in UTC with milliseconds, or None if undated.

    `host`: the machine that it is about; empty where that is not known, as in a log or a recording.
    `silenced` (the silence's id), `inhibited_by` (a rule id) and `flapping` (true) are present only if they apply.
    `explained_by` is the old name of `inhibited_by`, and stays.
    """
    cause = transition.cause
    marks = {
        name: value
        for name, value in (
            ("silenced", transition.silenced),
            ("inhibited_by", transition.inhibited_by),
            ("explained_by", transition.inhibited_by),
            ("flapping", transition.flapping),
            ("host", host),
        )
        if value
    }
    return {
        "at": iso(transition.at),
        "rule": transition.rule,
        "state": transition.state,
        "previous": transition.previous,
        "reason": transition.reason,
        "severity": transition.severity,
        "entity": {"scope": transition.entity.scope, "name": transition.entity.name},
        "fingerprint": transition.fingerprint,
        "summary": transition.summary,
        "cause": None if cause is None else {"id": cause.id, "text": cause.text, "confidence": cause.confidence},
        "fixes": [{"do": fix.do, "command": fix.command, "risk": fix.risk, "verify": fix.verify} for fix in transition.fixes],
        "evidence": [_evidence_to_dict(piece) for piece in transition.evidence],
    } | marks


def _evidence_to_dict(piece: CheckResult | LineEvidence) -> dict[str, Any]:
    if isinstance(piece, LineEvidence):
        return {"line": piece.line, "source": piece.source, "n": piece.n}
    out: dict[str, Any] = {"check": piece.check, "value": piece.value, "reads": dict(piece.reads)}
    if piece.text:
        out["text"] = piece.text
    if piece.missing:
        out["missing"] = {name: str(unknown) for name, unknown in piece.missing.items()}
    return out


def transition_to_record(transition: Transition) -> dict[str, Any]:
    """Everything in a transition, for storage: `transition_from_record` restores it."""
    said = transition_to_dict(transition)
    # An older sentinel reads the same file, and knows `explained_by` only.
    said.pop("inhibited_by", None)
    return said | {
        "at": transition.at,
        "message_id": transition.message_id,
        "title": transition.title,
        "since": transition.since,
        "pid": transition.pid,
        "documentation": transition.documentation,
    }


def transition_from_record(record: Mapping[str, Any]) -> Transition:
    """A stored transition. Raises KeyError or TypeError when the record was not written by `transition_to_record`."""
    fields = dict(record)
    inhibited_by = fields.pop("explained_by", None)
    return Transition(
        **fields
        | {
            "inhibited_by": inhibited_by,
            "entity": Entity(**fields["entity"]),
            "cause": None if fields["cause"] is None else Cause(**fields["cause"]),
            "fixes": tuple(Fix(**fix) for fix in fields["fixes"]),
            "evidence": tuple(LineEvidence(**piece) if "line" in piece else _check(piece) for piece in fields["evidence"]),
        }
    )


def _check(piece: Mapping[str, Any]) -> CheckResult:
    missing = {name: Unknown(why) for name, why in piece.get("missing", {}).items()}
    return CheckResult(piece["check"], piece["value"], piece["reads"], missing, piece.get("text", ""))


def is_news(transition: Transition) -> bool:
    """Whether it notifies: an alert fires, or one that fired is over. Pending and silenced ones are only in the history."""
    if transition.silenced is not None:
        return False
    return transition.state == "firing" or (transition.state == "resolved" and transition.previous == "firing")


def message(transition: Transition) -> str:
    """One line for people: what, why, and the first thing to do. Control characters are escaped."""
    if transition.state != "firing":
        return escape(f"{transition.state} {transition.rule}: {transition.summary} ({transition.reason})")
    parts = [f"{transition.severity} {transition.rule}: {transition.summary}"]
    if transition.reason in RESTART_WORDS:
        parts.append(RESTART_WORDS[transition.reason])
    if transition.cause is not None:
        parts.append(f"cause: {transition.cause.text}")
    if transition.fixes:
        parts.append(f"fix: {transition.fixes[0].do}")
    if transition.flapping:
        parts.append("flapping: no further notification until it is stable")
    return escape("; ".join(part.rstrip(".") for part in parts))


def show_value(value: Value | None) -> str:
    """A value the way JSON writes it, text without quotes, unknown as ``unknown``. Control characters are escaped."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return escape(str(value))


def evidence_line(piece: CheckResult | LineEvidence) -> str:
    """One piece of evidence as one line: ``check = true (signal = 3)``, or ``source:41: the line``. What is unknown is none."""
    if isinstance(piece, LineEvidence):
        return escape(f"{piece.source}:{piece.n}: {piece.line}")
    reads = ", ".join(f"{escape(name)} = {show_value(value)}" for name, value in piece.reads.items() if value is not None)
    return f"{escape(piece.check)} = {show_value(piece.value)}" + (f" ({reads})" if reads else "")
