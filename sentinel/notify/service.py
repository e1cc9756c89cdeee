"""`sentinel notify` at work: one loop that reads the inbox, writes the state, and hands messages to the channels' threads."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.api.follow import Connected, Heard, Lost, Standing, StreamFollower
from sentinel.model.json_form import iso
from sentinel.notify.alertmanager import EVERY, Alertmanager
from sentinel.notify.channel import Health, Line, Now, Result, Worker
from sentinel.notify.outcome import Outcome
from sentinel.notify.store import Store

#: Quiet hours begin and end by the wall clock: it is looked at this often. Seconds.
_LOOK = 15.0
#: Words of the inbox in one transaction of the disk.
_BATCH = 200
#: Words that wait: then the follower waits, and the daemon keeps the rest.
_INBOX = 1000
#: So long the results of tries that are under way are waited for at the end. Seconds.
_LAST_WAIT = 8.0
#: A daemon that is gone for longer is reported: a restart or an upgrade takes seconds. Seconds.
UNREACHABLE_AFTER = 300.0
UNREACHABLE = "sentinel-unreachable"


class Stop:
    """Ends the loop."""


def steady() -> float:
    """Seconds on a clock that never steps and counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Beats:
    """An Alertmanager: all that fires is sent again and again."""

    def __init__(self, name: str, target: Alertmanager, store: Store, inbox: queue.Queue[Any], health: Health) -> None:
        self.name = name
        self._target = target
        self._store = store
        self._health = health
        self._worker = Worker(name, inbox)
        self._next = float("-inf")
        self.busy = False
        self._failures = 0

    def changed(self, now: Now) -> None:
        """Something fires or ended: send soon, in a second what comes together."""
        if not self._failures:
            self._next = min(self._next, now.steady + 1.0)

    def due(self, _now: Now) -> float | None:
        """When to send next."""
        return None if self.busy else self._next

    def start(self, now: Now) -> None:
        """Send if it is time."""
        if not self.busy and now.steady >= self._next:
            self.busy = True
            self._next = now.steady + EVERY
            self._worker.start(self._target.beat)

    def ended(self, outcome: Outcome, now: Now) -> None:
        """The result, within a transaction of the store."""
        self.busy = False
        if outcome.kind == "delivered":
            self._failures = 0
            self._store.posted(self.name, self._target.posted)
            self._health.delivered(now, messages=0)
        else:
            self._failures += 1
            self._next = now.steady + min(EVERY, 5.0 * 2 ** min(self._failures - 1, 10))
            self._health.failed(now, outcome.why)


@dataclass
class Daemon:
    """Whether the daemon answers."""

    lost_at: float | None = None
    why: str = ""
    reported: bool = False


class Service:
    """Runs until `stop`. `say` gets a syslog level and a sentence without secrets."""

    def __init__(
        self,
        store: Store,
        host: str,
        say: Callable[[int, str], None],
        new: frozenset[str] = frozenset(),
        clock: Callable[[], Now] = lambda: Now(steady(), time.time()),
    ) -> None:
        self.inbox: queue.Queue[Any] = queue.Queue(_INBOX)
        self.lines: list[Line] = []
        self.beats: list[Beats] = []
        self._store = store
        self._host = host
        self._say = say
        self._clock = clock
        self._daemon = Daemon(reported=bool(store.meta("unreachable")))
        #: channels that have not seen what is open: they get it
        self._new = new
        self._ending = False

    def run(self, sockets: list[str] | None) -> None:
        """Until `stop`."""
        cursor = self._store.meta("cursor")
        now = self._clock()
        self._daemon.lost_at = now.steady
        for line in self.lines:
            line.restore(now)
        StreamFollower(sockets, cursor, self.inbox, list_first=not cursor or bool(self._new)).start()
        while not self._ending:
            self.turn()
        deadline = self._clock().steady + _LAST_WAIT
        while any(one.busy for one in self._all) and self._clock().steady < deadline:
            self.turn(at_most=0.2, results_only=True)

    def turn(self, at_most: float = _LOOK, *, results_only: bool = False) -> None:
        """Wait for words or for what is due; take them; send what is due."""
        now = self._clock()
        dues = [due for one in self._all if (due := one.due(now)) is not None]
        soonest = at_most if results_only else min([at_most, *(due - now.steady for due in dues)])
        words = self._words(max(0.0, soonest))
        now = self._clock()
        if words:
            with self._store.changes():
                for word in words:
                    self._take(word, now)
        if results_only:
            return
        self._watch_daemon(now)
        for one in self._all:
            one.start(now)

    @property
    def _all(self) -> list[Line | Beats]:
        return [*self.lines, *self.beats]

    def stop(self) -> None:
        """End soon. For a signal handler: the loop that it interrupts may hold the inbox's lock, so a thread puts the word."""
        threading.Thread(target=self.inbox.put, args=(Stop(),), daemon=True).start()

    def _words(self, seconds: float) -> list[Any]:
        words: list[Any] = []
        try:
            words.append(self.inbox.get(timeout=seconds) if seconds > 0 else self.inbox.get_nowait())
            while len(words) < _BATCH:
                words.append(self.inbox.get_nowait())
        except queue.Empty:
            pass
        return words

    def _take(self, word: Any, now: Now) -> None:
        match word:
            case Heard(cursor, alert):
                if not self._ending:
                    self._store.moved(cursor)
                    self._heard(alert, now)
            case Standing():
                # What was heard before it and not taken would be lost.
                if not self._ending:
                    self._standing(word, now)
            case Result(name, outcome):
                next(one for one in self._all if one.name == name).ended(outcome, now)
            case Connected():
                self._connected(now)
            case Lost(why):
                if self._daemon.lost_at is None:
                    self._daemon.lost_at = now.steady
                    self._say(5, f"waits for the daemon: {why}")
                self._daemon.why = why
            case Stop():
                self._ending = True

    def _heard(self, alert: Mapping[str, Any], now: Now) -> None:
        numbers: list[int] = []

        def number(news: Mapping[str, Any]) -> int:
            # `since` is the same for all channels but one that knows the alert from a list; the first is kept for all.
            if not numbers:
                numbers.append(self._store.add(news))
            return numbers[0]

        for line in self.lines:
            line.take(alert, now, number)
        for beats in self.beats:
            beats.changed(now)

    def _standing(self, word: Standing, now: Now) -> None:
        if word.gap:
            self._say(
                4, f"the daemon does not have everything that happened meanwhile ({word.gap}); what is open now is compared"
            )
        for line in self.lines:
            if word.gap or line.name in self._new or not self._store.meta("cursor"):
                line.reconcile(word.alerts, word.at, now)
        self._new = frozenset()
        self._store.moved(word.cursor)

    def _connected(self, now: Now) -> None:
        if self._daemon.reported:
            self._heard(self._unreachable("resolved", now), now)
            self._store.noted("unreachable", "")
            self._daemon.reported = False
        self._daemon.lost_at = None
        self._say(6, "follows the alerts of the daemon")

    def _watch_daemon(self, now: Now) -> None:
        lost_at = self._daemon.lost_at
        if lost_at is None or self._daemon.reported or now.steady - lost_at < UNREACHABLE_AFTER:
            return
        self._daemon.reported = True
        with self._store.changes():
            self._store.noted("unreachable", "yes")
            self._heard(self._unreachable("firing", now), now)

    def _unreachable(self, state: str, now: Now) -> dict[str, Any]:
        """What only a client of the daemon can report."""
        firing = state == "firing"
        # A service of the machine has no runtime folder of a user.
        systemctl = "systemctl --user" if os.environ.get("XDG_RUNTIME_DIR") and os.geteuid() else "systemctl"
        command = f"{systemctl} status sentinel"
        fix = {"do": "Look why it does not run", "command": command, "risk": "", "verify": "sentinel status"}
        return {
            "at": iso(now.wall),
            "rule": UNREACHABLE,
            "state": state,
            "previous": "inactive" if firing else "firing",
            "reason": "condition-met" if firing else "condition-cleared",
            "severity": "warning",
            "entity": {"scope": "host", "name": self._host},
            "fingerprint": UNREACHABLE,
            "summary": "sentinel does not answer: no llama-server of this host is watched",
            "cause": {"id": "unreachable", "text": self._daemon.why, "confidence": "high"} if firing else None,
            "fixes": [fix] if firing else [],
            "evidence": [],
        }
