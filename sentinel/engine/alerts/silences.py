"""Silences: what people asked not to be told, until when, why, and who asked. Pure, time is an argument.

A silence changes nothing in an alert's life: it is judged, kept in the history and shown as ever, marked as silenced.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sentinel.engine.alerts.lifecycle import Change
from sentinel.model.entity import Entity

#: A machine has a handful of rules and servers: more silences than this are a script gone wrong.
MOST = 100
LONGEST_REASON = 500
LONGEST_NAME = 300
#: Seconds. What is to be quiet for longer is no silence but another rule.
SHORTEST, LONGEST = 1.0, 90 * 86400.0


@dataclass(frozen=True, slots=True)
class Silence:
    """Not to be told until `until`. `rule` or `name` empty: every rule, whatever it is about. Times: seconds since the epoch."""

    id: str
    rule: str
    name: str
    at: float
    until: float
    reason: str
    author: str

    def covers(self, rule: str, entity: Entity, at: float) -> bool:
        """Whether an alert falls under it at a time."""
        return self.rule in ("", rule) and self.name in ("", entity.name) and at < self.until


class SilenceRefused(Exception):
    """It cannot be. The text is one sentence."""


class Silences:
    """Those in force, oldest first."""

    def __init__(self) -> None:
        self._silences: dict[str, Silence] = {}
        self._last = 0

    def add(self, rule: str, name: str, at: float, seconds: float, reason: str, author: str) -> Silence:
        """A new one for `seconds`. Ids are counted from 1 and never used again. Raises SilenceRefused."""
        reason = reason.strip()
        if not (math.isfinite(seconds) and SHORTEST <= seconds <= LONGEST):
            raise SilenceRefused(f"a silence lasts from {SHORTEST:g} s to {LONGEST / 86400:g} days")
        if not reason:
            raise SilenceRefused("a silence needs a reason, so that others know why nothing is told")
        if len(reason) > LONGEST_REASON:
            raise SilenceRefused(f"the reason is longer than {LONGEST_REASON} characters")
        if len(name) > LONGEST_NAME or len(rule) > LONGEST_NAME:
            raise SilenceRefused(f"a name is longer than {LONGEST_NAME} characters")
        if len(self._silences) >= MOST:
            raise SilenceRefused(f"there are {MOST} silences already; end some with `sentinel unsilence ID`")
        self._last += 1
        made = Silence(str(self._last), rule, name, at, at + seconds, reason, author)
        self._silences[made.id] = made
        return made

    def end(self, silence_id: str) -> Silence | None:
        """End one before its time; None if there is no such."""
        return self._silences.pop(silence_id, None)

    def expire(self, at: float) -> bool:
        """Forget those that are over; whether there were any."""
        over = [s.id for s in self._silences.values() if s.until <= at]
        for silence_id in over:
            del self._silences[silence_id]
        return bool(over)

    def covering(self, rule: str, entity: Entity, at: float) -> Silence | None:
        """The one that lasts longest of those that cover an alert."""
        if not self._silences:
            return None
        return max((s for s in self._silences.values() if s.covers(rule, entity, at)), key=lambda s: s.until, default=None)

    def all(self) -> Iterable[Silence]:
        """Those in force."""
        return tuple(self._silences.values())

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"version": 1, "last": self._last, "silences": [asdict(s) for s in self._silences.values()]}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take back what `dump` gave. Raises ValueError, KeyError or TypeError for anything else."""
        if data["version"] != 1:
            raise ValueError(f"silences of version {data['version']!r} are not supported")
        self._silences = {row["id"]: Silence(**row) for row in data["silences"]}
        self._last = int(data["last"])


@dataclass(frozen=True, slots=True)
class Hush:
    """What a silence did to an open alert so far."""

    #: the silence under which it is, or was when it was last told; "" if none
    by: str = ""
    #: people were told that it fires
    announced: bool = False


def hushed(
    hush: Hush, change: Change | None, silence: Silence | None, *, fires: bool, holds: bool
) -> tuple[Hush, Change | None, str | None]:
    """What becomes of a change (None: nothing changed) under a silence (None: there is none): what to remember, the change to
    tell, and the id of the silence because of which it is not told. `fires`: the alert is open; `holds`: its condition is known
    to be true, it is not only kept firing.

    An alert that still fires when its silence ends is told then. One that was told is told as over too, within a silence or not.
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
