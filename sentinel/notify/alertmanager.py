"""Alertmanager's v2 API: what fires, sent again and again; what is not sent any more ends by itself.

It works by state: labels alone identify an alert, and one that has not been sent for two minutes is over. So nothing is queued:
each time the whole is sent, from the daemon's own list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.model.fault import Fault
from sentinel.model.json_form import iso
from sentinel.model.text import escape
from sentinel.notify.choice import Alert, Filter, is_loud
from sentinel.notify.message import first_fix
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.post import Target, post
from sentinel.terminal.names import about

#: Between two sendings, and until Alertmanager takes an alert for over: as Prometheus does it. Seconds.
EVERY, ENDS_AFTER = 30.0, 120.0
#: So long what the daemon said last is sent while it does not answer: a restart takes seconds. Seconds.
_TRUSTED = 300.0
#: Alerts of one request.
_MOST = 500

#: Sent alerts, as they were sent, by what identifies them: their labels.
Posted = dict[str, dict[str, Any]]


def form(alert: Alert, host: str, runbook: str) -> dict[str, Any]:
    """One alert as Alertmanager takes it, without its end."""
    fix = first_fix(alert) or {"do": "", "command": ""}
    cause = alert.get("cause") or {"id": "", "text": ""}
    annotations = {"summary": about(alert), "cause": cause["text"], "fix": fix["do"], "command": fix["command"]}
    annotations["runbook_url"] = runbook.replace("{rule}", alert["rule"]).replace("{cause}", cause["id"])
    return {
        "labels": {
            "alertname": alert["rule"],
            "instance": host,
            "entity": escape(alert["entity"]["name"]),
            "scope": alert["entity"]["scope"],
            "severity": alert["severity"],
        },
        "annotations": {name: escape(text) for name, text in annotations.items() if text},
        "startsAt": alert.get("since") or alert["at"],
    }


def requests(
    alerts: Iterable[Alert], posted: Mapping[str, Mapping[str, Any]], host: str, runbook: str, chosen: Filter, now: float
) -> tuple[list[dict[str, Any]], Posted]:
    """What to send, and what is sent then. What was sent and does not fire any more ends now."""
    firing: Posted = {}
    bodies = []
    stamp = iso(now) or ""
    for alert in alerts:
        if is_loud(alert) and chosen.lets_through(alert):
            body = form(alert, host, runbook)
            firing[_identity(body["labels"])] = body
            bodies.append({**_begun(body, stamp), "endsAt": iso(now + ENDS_AFTER)})
    ended = [{**_begun(body, stamp), "endsAt": stamp} for mark, body in posted.items() if mark not in firing]
    return bodies + ended, firing


def _begun(body: Mapping[str, Any], stamp: str) -> dict[str, Any]:
    """Not after now: where the clock was set back, an alert would end before it begins, which Alertmanager refuses."""
    return {**body, "startsAt": min(body["startsAt"] or stamp, stamp)}


@dataclass
class Alertmanager:
    """One Alertmanager. Used by one thread."""

    target: Target
    host: str
    runbook: str
    chosen: Filter
    #: the daemon's open alerts; raises Fault where it does not answer
    ask: Callable[[], list[dict[str, Any]]]
    posted: Posted
    _known: tuple[float, list[dict[str, Any]]] | None = None

    def beat(self) -> Outcome:
        """Send all that fires."""
        why = ""
        try:
            self._known = time.monotonic(), self.ask()
        except Fault as error:
            why = f"the daemon's alerts are not known: {error}"
            if self._known is not None and time.monotonic() - self._known[0] > _TRUSTED:
                self._known = None
        if self._known is None:
            return Outcome("refused", why)
        bodies, firing = requests(self._known[1], self.posted, self.host, self.runbook, self.chosen, time.time())
        worst = DELIVERED
        for at in range(0, len(bodies), _MOST):
            outcome = post(self.target, bodies[at : at + _MOST])
            if outcome.kind != "delivered":
                worst = outcome
                if not outcome.too_large:
                    return outcome
                # One alert that it refuses: it took the others of that request, and gets the other requests.
        if worst is DELIVERED:
            self.posted = firing
        return worst


def _identity(labels: Mapping[str, str]) -> str:
    return "\0".join(f"{name}={labels[name]}" for name in sorted(labels))
