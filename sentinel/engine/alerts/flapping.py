"""Damps an alert that comes and goes: one notification, then none until it was steady. Pure, time is an argument.

A flapping alert is kept open over its short gaps, as `keep_firing_for` does for every rule, only longer: what would have notified
as resolved and firing again is one alert that goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sentinel.engine.alerts.lifecycle import NEVER, Change, Life, Timing


@dataclass(frozen=True, slots=True)
class FlappingLimits:
    """`changes` notifications (firing or resolved) within so many seconds are flapping; `steady` seconds without a change of the
    condition end it."""

    changes: int = 5
    within: float = 600.0
    steady: float = 300.0


LIMITS = FlappingLimits()


@dataclass(frozen=True, slots=True)
class Flaps:
    """The changes that an alert remembers. Times are seconds since the epoch."""

    #: the last changes that counted, oldest first
    times: tuple[float, ...] = ()
    #: flapping since then; None: not flapping
    since: float | None = None
    #: while flapping: when the condition last became true or false
    moved_at: float = NEVER


def counted(
    flaps: Flaps, change: Change | None, before: Life, after: Life, at: float, limits: FlappingLimits = LIMITS
) -> tuple[Flaps, Change | None]:
    """Counts a change that notifies (None: no change). The change that makes the alert flapping gets that as its reason."""
    if change is not None and change.new == "firing" and change.old != "firing":
        times = _recent(flaps, at, limits)
        if len(times) < limits.changes:
            return Flaps(times), change
        return Flaps(times, at, at), replace(change, reason="flapping")
    if change is not None and change.new == "resolved" and change.old == "firing":
        # After flapping this means that it was steady: start counting again.
        return Flaps() if flaps.since is not None else Flaps(_recent(flaps, at, limits)), change
    return _watched(flaps, before, after, at, limits), change


def _watched(flaps: Flaps, before: Life, after: Life, at: float, limits: FlappingLimits) -> Flaps:
    """Notes a change of the condition, and ends the flapping of an alert that was steady for long enough."""
    if flaps.since is None:
        return flaps
    if (before.clear_since is None) != (after.clear_since is None):
        return replace(flaps, moved_at=at)
    if after.clear_since is None and at - flaps.moved_at >= limits.steady:
        return Flaps()
    return flaps


def steady_at(flaps: Flaps, limits: FlappingLimits = LIMITS) -> float:
    """When flapping is over if the condition does not change; seconds since the epoch."""
    return float("inf") if flaps.since is None else flaps.moved_at + limits.steady


def stretched(timing: Timing, flaps: Flaps, limits: FlappingLimits = LIMITS) -> Timing:
    """The rule's own times, with a longer `keep_firing_for` while the alert flaps."""
    return timing if flaps.since is None else replace(timing, keep_firing_for=max(timing.keep_firing_for, limits.steady))


def _recent(flaps: Flaps, at: float, limits: FlappingLimits) -> tuple[float, ...]:
    return (*(t for t in flaps.times[1 - limits.changes :] if at - t <= limits.within), at)
