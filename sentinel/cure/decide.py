"""Whether a unit is to be restarted for an alert now. Pure: alerts, past transitions and the time are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: An alert or a transition, as the API has it.
Alert = Mapping[str, Any]
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Action:
    """`unit` is restarted for alerts of `rules` (and of `causes`, if any are named) about `server`. Times in seconds."""

    unit: str
    rules: frozenset[str]
    causes: frozenset[str]
    server: str
    per_hour: int
    pause: float
    after: float

    def fits(self, alert: Alert) -> bool:
        """Alerts about a GPU or the host are nobody's own: the rule is enough."""
        if alert["rule"] not in self.rules or (alert["entity"]["scope"] == "server" and alert["entity"]["name"] != self.server):
            return False
        return not self.causes or (alert.get("cause") or {}).get("id") in self.causes


@dataclass(frozen=True, slots=True)
class Restart:
    """To be done now."""


@dataclass(frozen=True, slots=True)
class Limit:
    """It was restarted as often as it may be, and this is not reported yet."""


@dataclass(frozen=True, slots=True)
class Later:
    """Look again at this time, seconds since the epoch."""

    at: float


@dataclass(frozen=True, slots=True)
class Nothing:
    """It was restarted for this alert, or a person has to look."""


Decision = Restart | Limit | Later | Nothing


def seconds(moment: str) -> float:
    """Seconds since the epoch, of a time as the API has it."""
    return datetime.fromisoformat(moment).timestamp()


def decide(action: Action, alert: Alert, past: Iterable[Alert], now: float) -> Decision:
    """`alert` fires and fits; `past` are the transitions since then and of the last hour, oldest first.

    One alert is worth one restart: if it still fires afterwards, a restart does not end it.
    """
    since = seconds(alert["since"])
    # A clock that was set back leaves restarts in the future: they count as of now.
    mine = [(min(seconds(one["at"]), now), one) for one in past if action.fits(one)]
    if any(one["fingerprint"] == alert["fingerprint"] and at >= since for at, one in mine if one["reason"] in _ENOUGH):
        return Nothing()
    if now < since + action.after:
        return Later(since + action.after)
    restarts: dict[str, float] = {}
    counted: list[float] = []
    for at, one in mine:
        if one["reason"] == "restart" and at > now - HOUR:
            restarts[one["fingerprint"]] = at
            counted.append(at)
        elif one["reason"] == "restart-failed" and one["fingerprint"] in restarts:
            # Where systemd refused, nothing was restarted.
            counted.remove(restarts.pop(one["fingerprint"]))
    if len(counted) >= action.per_hour:
        return Limit()
    if counted and now < counted[-1] + action.pause:
        return Later(counted[-1] + action.pause)
    return Restart()


#: After these of its transitions an alert is left alone.
_ENOUGH = ("restart", "restart-limit")
