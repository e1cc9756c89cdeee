"""`sentinel cure` at work: looks when the daemon's stream says that something changed, or when something is due."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sentinel.api import client
from sentinel.api.follow import Lost, StreamFollower, open_alerts
from sentinel.cure.decide import HOUR, Action, Alert, Later, Limit, Restart, decide, seconds
from sentinel.model.fault import Fault
from sentinel.model.text import counted, escape

#: It is looked again after this, whatever was heard. Seconds.
_LOOK = 60.0
#: Words of the stream that wait; a look answers all of them.
_INBOX = 1000
#: systemd only queues the restart; a manager that does not answer hangs. Seconds.
_SYSTEMCTL_SECONDS = 30.0
#: Pages of the history that are read for one look, 1,000 transitions each.
_PAGES = 20


class Answers(Protocol):
    """What is asked of the daemon. All raise Fault."""

    def alerts(self) -> list[dict[str, Any]]:
        """What is open."""

    def history(self, since: float) -> list[dict[str, Any]]:
        """Transitions since then, oldest first."""

    def of_users(self) -> set[str]:
        """Names of servers that run in units of users' own systemd."""

    def report(self, fingerprint: str, outcome: str) -> str:
        """Report a restart; empty, or why the daemon refuses it."""


class OverSocket:
    """The daemon behind its socket."""

    def __init__(self, sockets: list[str] | None) -> None:
        self._sockets = sockets

    def alerts(self) -> list[dict[str, Any]]:
        """What is open."""
        return open_alerts(self._sockets)

    def history(self, since: float) -> list[dict[str, Any]]:
        """Transitions since then, oldest first. Raises Fault also where they are too many to be counted."""
        found: list[dict[str, Any]] = []
        path, page = f"/v1/history?since={since:.3f}", ""
        for _ in range(_PAGES):
            status, answer = client.get(path + page, self._sockets)
            if status != 200:
                raise Fault(f"the history is not answered: {client.refusal(status, answer)}")
            found = [*answer["transitions"], *found]
            if answer["earlier"] is None:
                return found
            page = f"&before={answer['earlier']}"
        raise Fault(f"more than {len(found)} transitions since the alert began: restarts cannot be counted")

    def of_users(self) -> set[str]:
        """Names of servers that run in units of users' own systemd."""
        status, answer = client.get("/v1/signals", self._sockets)
        if status != 200:
            raise Fault(f"the signals are not answered: {client.refusal(status, answer)}")
        rows = (one for one in answer["signals"] if one["signal"] == "server.user_unit")
        return {str(one["entity"]["name"]) for one in rows if one["value"] is True}

    def report(self, fingerprint: str, outcome: str) -> str:
        """Report a restart; empty, or why the daemon refuses it."""
        status, answer = client.post("/v1/restarts", {"fingerprint": fingerprint, "outcome": outcome}, self._sockets)
        return "" if status == 200 else client.refusal(status, answer)


class Dry:
    """The daemon behind its socket, to which nothing is reported: what was reported counts here alone."""

    def __init__(self, daemon: Answers, now: Callable[[], float]) -> None:
        self._daemon = daemon
        self._now = now
        self._reported: list[dict[str, Any]] = []
        self._alerts: Mapping[str, dict[str, Any]] = {}

    def alerts(self) -> list[dict[str, Any]]:
        """What is open."""
        found = self._daemon.alerts()
        self._alerts = {one["fingerprint"]: one for one in found}
        return found

    def history(self, since: float) -> list[dict[str, Any]]:
        """Transitions since then, and what would have been one."""
        return [*self._daemon.history(since), *self._reported]

    def of_users(self) -> set[str]:
        """Names of servers that run in units of users' own systemd."""
        return self._daemon.of_users()

    def report(self, fingerprint: str, outcome: str) -> str:
        """Keep it."""
        reason = {"begun": "restart", "limit": "restart-limit"}.get(outcome, "restart-failed")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))
        self._reported.append({**self._alerts[fingerprint], "at": at, "reason": reason})
        return ""


def systemctl(unit: str, *, user: bool) -> str:
    """Queue the restart of a unit; empty, or why systemd refuses it."""
    command = ["systemctl", *(["--user"] if user else []), "--no-block", "--no-ask-password", "restart", "--", unit]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"systemctl: {error}"
    return "" if done.returncode == 0 else done.stderr.strip()[-500:] or f"systemctl ended with {done.returncode}"


class Cure:
    """`restart(unit)` says why it was refused, or nothing. `say` gets a syslog level and a sentence. `user`: units of one's own
    systemd are meant."""

    def __init__(
        self,
        actions: Iterable[Action],
        daemon: Answers,
        restart: Callable[[str], str],
        say: Callable[[int, str], None],
        now: Callable[[], float] = time.time,
        *,
        user: bool = False,
    ) -> None:
        self._user = user
        self._actions = tuple(actions)
        self._daemon = daemon
        self._restart = restart
        self._say = say
        self._now = now
        #: why the daemon refuses a restart, by alert: said once
        self._refused: dict[str, str] = {}

    def look(self) -> float:
        """Do what is to be done; the seconds until the next look. Raises Fault."""
        now = self._now()
        due = now + _LOOK
        firing = sorted(filter(_fires, self._daemon.alerts()), key=lambda one: str(one["since"]))
        self._refused = {one["fingerprint"]: why for one in firing if (why := self._refused.get(one["fingerprint"]))}
        for alert in firing:
            actions = [one for one in self._actions if one.fits(alert)]
            if not actions:
                continue
            # Read again for each: the restart before it is in there.
            past = self._daemon.history(min(seconds(alert["since"]), now - HOUR))
            decisions = [(action, decide(action, alert, past, now)) for action in actions]
            due = min([due, *(decision.at for _, decision in decisions if isinstance(decision, Later))])
            units = list(dict.fromkeys(action.unit for action, decision in decisions if isinstance(decision, Restart)))
            spent = [action for action, decision in decisions if isinstance(decision, Limit)]
            if units:
                self._act(units, alert)
            elif spent:
                self._give_up(spent[0], alert)
        return max(0.0, due - now)

    def _act(self, units: Iterable[str], alert: Alert) -> None:
        # A user may give a unit of his own the name of one of root's that does not run, and so had that one started.
        if not self._user and alert["entity"]["scope"] == "server" and alert["entity"]["name"] in self._daemon.of_users():
            self._leave(alert, "that server runs in a unit of a user's own systemd")
            return
        # On disk in the daemon before anything is done: after a kill in between it is not done twice.
        refused = self._daemon.report(alert["fingerprint"], "begun")
        if refused:
            self._leave(alert, refused)
            return
        failed = False
        for unit in units:
            why = self._restart(unit)
            failed = failed or bool(why)
            if why:
                self._say(3, f"{unit} is not restarted for {_of(alert)}: {why}")
            else:
                self._say(5, f"restarts {unit} for {_of(alert)}")
        if failed:
            self._daemon.report(alert["fingerprint"], "failed")

    def _leave(self, alert: Alert, why: str) -> None:
        if self._refused.get(alert["fingerprint"]) != why:
            self._say(5, f"nothing is restarted for {_of(alert)}: {why}")
        self._refused[alert["fingerprint"]] = why

    def _give_up(self, action: Action, alert: Alert) -> None:
        if not self._daemon.report(alert["fingerprint"], "limit"):
            often = counted(action.per_hour, "time")
            self._say(4, f"{action.unit} is not restarted for {_of(alert)}: it was {often} in an hour, and that did not end it")


def _fires(alert: Alert) -> bool:
    return alert["state"] == "firing" and bool(alert.get("since")) and not alert.get("silenced")


def _of(alert: Alert) -> str:
    return f"{alert['rule']} of {escape(str(alert['entity']['name'])):.200}"


#: in the inbox: ends the loop
_END = object()


class Rounds:
    """Runs until `stop`."""

    def __init__(self, cure: Cure, say: Callable[[int, str], None], sockets: list[str] | None) -> None:
        self._cure = cure
        self._say = say
        self._sockets = sockets
        self._inbox: queue.Queue[Any] = queue.Queue(_INBOX)
        self._trouble = ""

    def run(self) -> None:
        """Until `stop`. The stream only says when to look; what is open is asked for."""
        StreamFollower(self._sockets, "", self._inbox, list_first=False).start()
        wait = _LOOK
        while True:
            word = self._next(wait)
            while word is not None:
                if word is _END:
                    return
                if isinstance(word, Lost):
                    self._note(word.why)
                word = self._next(0.0)
            try:
                wait = self._cure.look()
                self._trouble = ""
            except Fault as fault:
                self._note(str(fault))
                wait = _LOOK

    def stop(self) -> None:
        """End soon. For a signal handler: the loop that it interrupts may hold the inbox's lock, so a thread puts the word."""
        threading.Thread(target=self._inbox.put, args=(_END,), daemon=True).start()

    def _next(self, wait: float) -> Any:
        try:
            return self._inbox.get(timeout=wait) if wait > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _note(self, why: str) -> None:
        """Once for each trouble."""
        if why != self._trouble:
            self._say(4, f"waits for the daemon: {why}")
        self._trouble = why
