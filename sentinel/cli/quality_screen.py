"""What `sentinel quality check` shows of a comparison, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sentinel.model.text import escape, size
from sentinel.quality.comparison import CATEGORY_FLOOR, FLOOR, SCALE, Comparison, Estimate, Part
from sentinel.quality.measurement import Measurement
from sentinel.terminal.style import BOLD, DIM, Style, wrap
from sentinel.terminal.table import table

_HEADLINES = {
    "same": "the answers are the same, within noise",
    "shifted": "the answers changed",
    "broken": "the model is broken",
    "not comparable": "these two cannot be compared",
}
_STATES = {"same": "ok", "shifted": "warning", "broken": "critical", "not comparable": "unknown"}
#: What a shift does not prove; said beside each.
_CAVEAT = (
    "A shift says that the probabilities changed, not that answers became worse, and not why. Check one change at a time: build, "
    "flags, model file, driver."
)
#: And what the other one does not.
_SAME = "Said of these texts alone: not of thousands of tokens, pictures, a chat template, or several requests at once."


def render(found: Comparison, before: Measurement, after: Measurement, look: Style) -> Iterator[str]:
    """Verdict, size with its scale, a table by category, what differs between the two."""
    word, _, about = found.size.partition(": ")
    headline = _HEADLINES[found.verdict] + (f": a {word} shift" if word else "")
    state = _STATES[found.verdict]
    mark = look.by_state(f"{look.mark(state)} {found.verdict.upper()}", state)
    yield f"{mark}  {look.paint(escape(headline), BOLD)}"
    yield from wrap(escape(f"{found.why}; {about}" if about else found.why), look.prose, "  ", "  ")
    yield from (f"  {line}" for line in _differences(before, after))
    if found.whole is None or found.parts is None:
        return
    yield ""
    rows: list[tuple[str, ...]] = [("", "PREFIXES", "SAME FIRST", "LOG PROB", "DIVERGENCE", "95 %")]
    rows += [_row(name, part) for name, part in found.parts.items()]
    rows.append(_row("all", found.whole))
    for number, line in enumerate(table(rows, look, right=(1, 2, 3, 4, 5))):
        yield look.paint(line, DIM if number == 0 else BOLD) if number in (0, len(rows) - 1) else line
    yield ""
    yield from wrap(_scale(found), look.prose, "", "")
    yield from wrap(_CAVEAT if found.verdict == "shifted" else _SAME, look.prose, "", "")


def _row(name: str, part: Part) -> tuple[str, ...]:
    found = part.divergence
    return (
        name,
        str(part.prefixes),
        f"{part.same_first.value:.0%}",
        f"{part.change.value + 0.0:+.3f}".replace("-0.000", "+0.000"),
        f"{found.value:.4f}",
        f"{found.low:.4f} to {found.high:.4f}",
    )


def _scale(found: Comparison) -> str:
    steps = ", ".join(f"below {most:g} {word}" for most, word, _ in SCALE[:-1])
    return (
        f"Divergence (Jensen-Shannon, bits): 0 is equal, 1 has nothing in common; {steps}, above that {SCALE[-1][1]}. "
        f"Up to {FLOOR:g} ({CATEGORY_FLOOR:g} in one category) is noise; {_own(found)}. "
        "Log probability: mean change for the token that was likeliest, in nats."
    )


def _own(found: Comparison) -> str:
    """What the passes say of noise."""
    if found.whole is None or found.whole.chance is None:
        return "its own noise is not known, for there is one pass on each side"
    chance = found.whole.chance
    own = f"between the reference's own passes it was {found.noise:.4f}"
    # Two passes of one process may be equal to the last digit: then any change is improbable, also one that is noise.
    return own if found.verdict == "same" else f"{own}, and the chance of such a change by that noise is {chance:.4f}"


def _differences(before: Measurement, after: Measurement) -> Iterator[str]:
    """What is known to differ between the two servers."""
    old, new = before.subject, after.subject
    pairs = (
        ("model", old.model, new.model),
        ("quantization", old.quantization, new.quantization),
        ("size", *_sizes(old.bytes, new.bytes)),
        ("build", old.build, new.build),
        ("context of a slot", old.context, new.context),
        ("slots", old.slots, new.slots),
        ("flags", " ".join(old.flags), " ".join(new.flags)),
    )
    for what, was, now in pairs:
        if was != now:
            yield escape(f"{what}: {_known(was)} before, {_known(now)} now")


def _sizes(was: int | None, now: int | None) -> tuple[object, object]:
    """As people read them; in bytes where they would look alike."""
    if was is None or now is None:
        return was and size(was), now and size(now)
    return (was, now) if size(was) == size(now) else (size(was), size(now))


def _known(value: object) -> str:
    return "not known" if value in (None, "") else str(value)


def to_dict(found: Comparison, before: Measurement, after: Measurement) -> dict[str, Any]:
    """For programs."""
    return {
        "verdict": found.verdict,
        "why": found.why,
        "size": found.size,
        "noise": round(found.noise, 6),
        "floor": FLOOR,
        "category_floor": CATEGORY_FLOOR,
        "all": _part(found.whole),
        "categories": {name: _part(part) for name, part in (found.parts or {}).items()},
        "before": _subject(before),
        "after": _subject(after),
    }


def _part(part: Part | None) -> dict[str, Any] | None:
    if part is None:
        return None
    return {
        "prefixes": part.prefixes,
        "same_first": _estimate(part.same_first),
        "logprob_change": _estimate(part.change),
        "divergence_bits": _estimate(part.divergence),
        "chance": None if part.chance is None else round(part.chance, 6),
    }


def _estimate(one: Estimate) -> dict[str, float]:
    return {"value": round(one.value, 6), "low": round(one.low, 6), "high": round(one.high, 6)}


def _subject(measured: Measurement) -> dict[str, Any]:
    subject = measured.subject
    return {
        "name": measured.name,
        "made": measured.made,
        "passes": len(measured.passes),
        "tokens": measured.tokens,
        "seconds": round(measured.seconds, 1),
        "model": subject.model,
        "quantization": subject.quantization,
        "build": subject.build,
        "context": subject.context,
        "slots": subject.slots,
        "flags": list(subject.flags),
    }
