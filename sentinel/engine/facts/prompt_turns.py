"""Judges whether a prompt was evaluated from scratch although most of it was known, when its request is complete."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.engine.facts.request_events import PROMPT_TURN
from sentinel.engine.facts.request_state import ServerWork, SlotWork
from sentinel.model.entity import Value

#: A prompt that took less is no matter, whatever was lost. Milliseconds.
_LONG_PROMPT = 10_000.0


def turn_over(server: ServerWork, number: int) -> Iterable[tuple[str, dict[str, Value]]]:
    """Judge a turn when it is complete: builds up to 2025 print the release before the timing, later ones after it."""
    slot = server.slots[number]
    # An excerpt may lack the answer's timing; how much was evaluated again is said by a line of its own.
    generated = max(slot.generated, 0) if slot.forced or slot.unkept is not None else slot.generated
    if min(slot.evaluated, generated, slot.held) < 0:
        return ()
    server.slots[number] = SlotWork()
    total = slot.evaluated if slot.unkept else max(slot.evaluated, slot.held - generated)
    before = server.long_prompt
    if total < before // 4:
        server.others_between += 1
        return ()
    kept = total - slot.evaluated
    grew = total - before
    again = before > 0 and 0 < grew <= before // 2
    # Prompts that grow by less than the answer before them continue nothing; a series of questions is no conversation.
    unasked = bool(slot.unkept) and slot.similarity < 0.0 and not slot.forced
    if unasked and 2 * grew < server.answered and grew != 0:
        again, server.grown = False, 0
    server.answered = slot.held - total
    long = slot.ms >= _LONG_PROMPT
    lost = slot.similarity * total - kept
    # Most of it; or, of a prompt that changed in its middle, all that was known (gemma3 on b10434: 0.49 alike, nothing kept).
    in_vain = lost >= 0.6 * total or (lost >= 0.4 * total and kept <= total // 10)
    if long and (in_vain or (slot.forced and slot.similarity < 0.0 and kept <= total // 5)):
        server.kept_nothing += 1
        server.grown += again
        why, row = "kept-nothing", server.kept_nothing
    elif long and again and slot.evaluated >= max(4 * total // 10, 3 * grew):
        server.grown += 1
        why = "not-asked" if unasked else "displaced" if server.others_between > server.grown else "front-changed"
        row = server.grown
    else:
        better = kept > total // 2 and total >= before // 2
        if not better:
            # another conversation: no conclusion about the previous one
            server.long_prompt, server.others_between = (total, 0) if long else (before, server.others_between)
            return ()
        was = max(server.kept_nothing, server.grown)
        server.kept_nothing = server.grown = server.others_between = 0
        server.long_prompt = total
        return ((PROMPT_TURN.name, {"in_a_row": 0}),) if was else ()
    server.long_prompt = total
    said: dict[str, Value] = {
        "in_a_row": row,
        "why": why,
        "n": slot.evaluated,
        "total": total,
        "seconds": round(slot.ms / 1000.0, 1),
        "forced": slot.forced,
    }
    if slot.similarity >= 0.0:
        said |= {"similarity": slot.similarity, "percent_same": round(100 * slot.similarity)}
    return ((PROMPT_TURN.name, said),)
