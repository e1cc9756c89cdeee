"""What is known of a server's answers, as signals. Pure."""

from __future__ import annotations

from sentinel.model.entity import Unknown, Value
from sentinel.quality.daily.identity import Changes
from sentinel.quality.daily.kept import Record

_REMEDY = "it is checked once it has been idle for five minutes; `sentinel quality check` does it at once"
_NUMBERS = ("divergence", "divergence_low", "divergence_high", "noise", "same_first", "logprob_change")
_REFERENCE = ("verdict", "divergence", "same_first", "logprob_change")
_EXPERTS = ("abandoned", "judged", "divergence")


def signals(
    record: Record, waits: str, changed: Changes, reference: str, at: float, *, is_other: bool
) -> dict[str, Value | Unknown]:
    """Of one server. `waits`: why it is not asked now, empty if nothing is due; `reference`: the file of what was learned;
    `is_other`: it was started again as something else since it was checked."""
    found = record.found
    past = found.past
    why = (
        Unknown(record.trouble, record.remedy) if record.trouble else Unknown(f"not checked yet: {waits or 'it waits'}", _REMEDY)
    )
    if is_other and record.checked_at and not record.trouble:
        why = Unknown(f"it was started with another build, model or flags since its last check; {waits}", _REMEDY)
    values: dict[str, Value | Unknown] = {
        "server.quality_watched": True,
        "server.quality_verdict": why if is_other or not past.verdict else past.verdict,
        "server.quality_checked_at": record.checked_at or why,
        "server.quality_learned_at": record.learned_at or why,
        "server.quality_size": past.size,
        "server.quality_why": past.why,
        "server.quality_broken": past.broken,
        "server.quality_changed": changed.kinds,
        "server.quality_changes": changed.words,
        "server.quality_waits": record.trouble or waits,
        "server.quality_tokens": found.tokens if record.checked_at else why,
        "server.quality_seconds": found.seconds if record.checked_at else why,
        "server.quality_tokens_of_day": record.spent(at),
        "server.quality_file": reference,
    }
    none = why if not past.verdict else Unknown("nothing was compared: it was learned, or is broken")
    numbers = (past.divergence, past.low, past.high, past.noise, past.same_first, past.change)
    values |= {f"server.quality_{name}": _number(value, none) for name, value in zip(_NUMBERS, numbers, strict=True)}
    values |= _reference(record, why)
    if record.experts_of:
        counted = record.experts
        for name, value in zip(_EXPERTS, (counted.abandoned, counted.judged, counted.divergence), strict=True):
            values[f"server.experts_{name}"] = Unknown(counted.why, counted.remedy) if counted.why else value
    return values


def _reference(record: Record, why: Unknown) -> dict[str, Value | Unknown]:
    """Against the reference that the configuration names, if it names one."""
    better = record.found.better
    if not better.verdict:
        return {}
    if better.verdict == "none":
        return {
            f"server.reference_{name}": Unknown(better.why, "make it with `sentinel quality learn -o FILE`")
            for name in _REFERENCE
        }
    none = Unknown(better.why or why.why)
    numbers = (better.divergence, better.same_first, better.change)
    return {
        "server.reference_name": record.found.better_name or "the reference",
        "server.reference_verdict": better.verdict,
        **{f"server.reference_{name}": _number(value, none) for name, value in zip(_REFERENCE[1:], numbers, strict=True)},
    }


def _number(value: float | None, none: Unknown) -> float | Unknown:
    return none if value is None else round(value, 6)
