"""The state machine of one alert: pure, time is an argument.

inactive -> pending (condition true, hold time not over) -> firing -> resolved, which is inactive again with a memory.
UNKNOWN neither fires nor resolves: a pending alert waits, a firing one stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sentinel.model.alert import Reason, State, Verdict

NEVER = float("-inf")
LifeState = Literal["inactive", "pending", "firing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: hold before firing, how long it keeps firing after clearing, and how long without a new event an alert on events
    alone stays open."""

    hold: float
    keep_firing_for: float
    clear_after: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about the condition at one time."""

    at: float
    verdict: Verdict
    #: the rule's `clear` expression: None is unknown; False also if the rule has none
    clear: bool | None
    #: time of the newest event that the rule reads; None if it reads none or none happened
    event_at: float | None = None
    #: the process that the alert is about has ended, and the alert does not outlive it
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Life:
    """An alert's state between observations."""

    state: LifeState = "inactive"
    #: when the present state began
    since: float = NEVER
    #: when the condition last became true for a new reason
    matched_at: float = NEVER
    #: firing, and the condition has been clear since then
    clear_since: float | None = None
    #: events up to this time were notified and are over; they do not fire again
    spent_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Change:
    """A step from one state to another."""

    old: State
    new: State
    reason: Reason


def advance(life: Life, seen: Observation, timing: Timing) -> tuple[Life, Change | None]:
    """The next state, and the change to notify, if any."""
    verdict = seen.verdict
    if verdict is Verdict.MATCH and seen.event_at is not None and seen.event_at <= life.spent_at:
        verdict = Verdict.NO_MATCH
    if life.state == "inactive":
        if verdict is not Verdict.MATCH or seen.gone:
            return life, None
        state: LifeState = "firing" if timing.hold <= 0 else "pending"
        born = replace(life, state=state, since=seen.at, matched_at=seen.at, clear_since=None)
        return born, Change("inactive", state, "condition-met")
    if life.state == "pending":
        return _pending(life, verdict, seen, timing)
    return _firing(life, verdict, seen, timing)


def _pending(life: Life, verdict: Verdict, seen: Observation, timing: Timing) -> tuple[Life, Change | None]:
    if seen.gone or verdict is Verdict.NO_MATCH:
        ended = replace(life, state="inactive", since=seen.at)
        return ended, Change("pending", "resolved", "server-gone" if seen.gone else "condition-ended")
    if verdict is Verdict.MATCH and seen.at - life.since >= timing.hold:
        return replace(life, state="firing", since=seen.at, matched_at=seen.at), Change("pending", "firing", "hold-elapsed")
    return life, None


def _firing(life: Life, verdict: Verdict, seen: Observation, timing: Timing) -> tuple[Life, Change | None]:
    if seen.event_at is not None:
        life = replace(life, matched_at=max(life.matched_at, seen.event_at))
    elif verdict is Verdict.MATCH:
        life = replace(life, matched_at=seen.at)
    reason: Reason | None = None
    keep = timing.keep_firing_for
    if seen.gone:
        reason = "server-gone"
    elif seen.clear:
        reason = "condition-cleared"
    elif timing.clear_after is not None and seen.at - life.matched_at >= timing.clear_after:
        reason, keep = "quiet-again", 0.0
    if reason is None:
        return (replace(life, clear_since=None) if life.clear_since is not None else life), None
    clear_since = seen.at if life.clear_since is None else life.clear_since
    if seen.at - clear_since < keep:
        return replace(life, clear_since=clear_since), None
    # Cleared although the condition is still true (a kill happened, the server is up again): its events are spent.
    spent = seen.event_at if verdict is Verdict.MATCH and seen.event_at is not None else life.spent_at
    over = Life("inactive", seen.at, life.matched_at, None, spent)
    return over, Change("firing", "resolved", reason)


def deadline(life: Life, timing: Timing) -> float | None:
    """When the next change can happen without a new reading, seconds since the epoch."""
    if life.state == "pending":
        return life.since + timing.hold
    if life.state == "firing":
        candidates = []
        if life.clear_since is not None:
            candidates.append(life.clear_since + timing.keep_firing_for)
        if timing.clear_after is not None:
            candidates.append(life.matched_at + timing.clear_after)
        return min(candidates) if candidates else None
    return None
