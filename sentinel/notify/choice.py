"""Which transitions are news to a channel: its filter, and what it was notified of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Alert = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Severities, rules (empty: all) and rules left out. `resolved`: the end of an alert is news as well."""

    severities: frozenset[str] = frozenset({"critical", "warning"})
    rules: frozenset[str] = frozenset()
    not_rules: frozenset[str] = frozenset()
    resolved: bool = True

    def lets_through(self, alert: Alert) -> bool:
        """By rule and severity."""
        rule = alert["rule"]
        return alert["severity"] in self.severities and (not self.rules or rule in self.rules) and rule not in self.not_rules


def is_loud(alert: Alert) -> bool:
    """It fires and no silence covers it."""
    return alert["state"] == "firing" and not alert.get("silenced")


class Reported:
    """Alerts that a channel was notified of and that are open, by fingerprint, as they were then."""

    def __init__(self, chosen: Filter, open_alerts: Mapping[str, Alert], counted_until: str = "") -> None:
        self._filter = chosen
        self.open = dict(open_alerts)
        #: `at` of transitions that a list of the open alerts (`reconcile`) has in it
        self.counted_until = counted_until

    def take(self, change: Alert) -> dict[str, Any] | None:
        """The transition with `since`, when the alert began to fire, if it is news to this channel."""
        mark = change["fingerprint"]
        known = self.open.get(mark)
        if is_loud(change):
            if not self._filter.lets_through(change):
                return None
            if known is not None and (change["at"] or "") <= self.counted_until and _same(known, change):
                return None
            news = {**change, "since": (known or change).get("since") or change["at"]}
            self.open[mark] = _kept(news)
            return news
        if change["state"] == "resolved" and known is not None:
            del self.open[mark]
            if self._filter.resolved and not change.get("silenced"):
                return {**change, "since": known.get("since")}
        return None

    def reconcile(self, standing: Iterable[Alert], at: str) -> Iterator[dict[str, Any]]:
        """Make good for a gap with the list of what is open: what began in it, and what ended."""
        self.counted_until = at
        # What a silence covers by now is no news, and has not ended.
        firing = {alert["fingerprint"]: alert for alert in standing if alert["state"] == "firing"}
        for mark, alert in firing.items():
            if mark not in self.open and is_loud(alert) and self._filter.lets_through(alert):
                news = {**alert, "since": alert.get("since") or alert["at"]}
                self.open[mark] = _kept(news)
                yield news
        for mark in [mark for mark in self.open if mark not in firing]:
            gone = self.open.pop(mark)
            if self._filter.resolved:
                over = {
                    "state": "resolved",
                    "previous": "firing",
                    "reason": "ended unseen",
                    "at": at,
                    "fixes": [],
                    "evidence": [],
                }
                yield {**gone, **over}


def _same(known: Alert, change: Alert) -> bool:
    return bool(known["severity"] == change["severity"] and known.get("cause") == change["cause"])


def _kept(alert: Alert) -> dict[str, Any]:
    """Without what its end does not need."""
    return {key: value for key, value in alert.items() if key not in ("evidence", "effects", "fixes")}
