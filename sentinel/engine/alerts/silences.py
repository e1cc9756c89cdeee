"""Silences: which alerts must not notify, until when, why, and who asked for it. Pure, time is an argument.

A silence does not change an alert's life: the alert is evaluated, stored in the history and shown as before, marked as silenced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sentinel.engine.alerts.lifecycle import Change
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_SILENCE_NAME, MOST_SILENCE_REASON, MOST_SILENCES

#: Seconds. To be quiet for longer, change the rule.
SHORTEST, LONGEST = 1.0, 90 * 86400.0


@dataclass(frozen=True, slots=True)
class Silence:
    """No notifications until `until`. Empty `rule` or `name`: every rule, every entity. Times: seconds since the epoch."""

    id: str
    rule: str
    name: str
    at: float
    until: float
    reason: str
    author: str

    def covers(self, rule: str, entity: Entity, at: float) -> bool:
        """Whether the silence covers an alert at a time."""
        return self.rule in ("", rule) and self.name in ("", entity.name) and at < self.until


class SilenceRefused(Exception):
    """The silence is not possible. The text is one sentence."""


class Silences:
    """Active silences, oldest first."""

    def __init__(self) -> None:
        self._silences: dict[str, Silence] = {}
        self._last = 0

    def add(self, rule: str, name: str, at: float, seconds: float, reason: str, author: str) -> Silence:
        """A new silence for `seconds`. Ids are counted from 1 and never reused. Raises SilenceRefused."""
        reason = reason.strip()
        if not (math.isfinite(seconds) and SHORTEST <= seconds <= LONGEST):
            raise SilenceRefused(f"a silence lasts from {SHORTEST:g} s to {LONGEST / 86400:g} days")
        if len(reason) > MOST_SILENCE_REASON:
            raise SilenceRefused(f"the reason is longer than {MOST_SILENCE_REASON} characters")
        if len(name) > MOST_SILENCE_NAME or len(rule) > MOST_SILENCE_NAME:
            raise SilenceRefused(f"a name is longer than {MOST_SILENCE_NAME} characters")
        if len(self._silences) >= MOST_SILENCES:
            raise SilenceRefused(f"there are {MOST_SILENCES} silences already; end some with `sentinel unsilence ID`")
        self._last += 1
        made = Silence(str(self._last), rule, name, at, at + seconds, reason, author)
        self._silences[made.id] = made
        return made

    def end(self, silence_id: str) -> Silence | None:
        """Expire one early; None if there is no such silence."""
        return self._silences.pop(silence_id, None)

    def expire(self, at: float) -> bool:
        """Drop silences that have expired; True if there were any."""
        over = [s.id for s in self._silences.values() if s.until <= at]
        for silence_id in over:
            del self._silences[silence_id]
        return bool(over)

    def covering(self, rule: str, entity: Entity, at: float) -> Silence | None:
        """The covering silence that lasts longest; None if none covers the alert."""
        if not self._silences:
            return None
        return max((s for s in self._silences.values() if s.covers(rule, entity, at)), key=lambda s: s.until, default=None)

    def all(self) -> Iterable[Silence]:
        """The active silences."""
        return tuple(self._silences.values())

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"version": 1, "last": self._last, "silences": [asdict(s) for s in self._silences.values()]}

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned. Raises ValueError, KeyError or TypeError for anything else."""
        if data["version"] != 1:
            raise ValueError(f"silences of version {data['version']!r} are not supported")
        self._silences = {row["id"]: Silence(**row) for row in data["silences"]}
        self._last = int(data["last"])


@dataclass(frozen=True, slots=True)
class Hush:
    """What silences have done to an open alert."""

    #: the silence that covers it, or covered it at its last notification; "" if none
    by: str = ""
    #: its firing was notified
    announced: bool = False


def hushed(
    hush: Hush, change: Change | None, silence: Silence | None, *, fires: bool, holds: bool
) -> tuple[Hush, Change | None, str | None]:
    """Apply a silence (None: there is none) to a change (None: nothing changed). Returns the state to remember, the change to
    notify, and the id of the silence that suppressed it. `fires`: the alert is open; `holds`: its condition is known to be
    true, the alert is not only kept firing.

    An alert that still fires when its silence ends is notified then. An alert whose firing was notified also notifies its end,
    silenced or not.
    """
    if change is not None and change.new == "resolved":
        return Hush(), change, None if hush.announced or not hush.by else hush.by
    if not fires:
        return hush, change, None
    if silence is not None:
        return Hush(silence.id, hush.announced), change, silence.id
    if change is None and hush.by:
        if not holds:
            return hush, None, None
        change = Change("firing", "firing", "silence-ended")
    return Hush("", hush.announced or change is not None), change, None
