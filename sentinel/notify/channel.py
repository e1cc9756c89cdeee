"""A channel at work: its queue on disk, its thread, how it fares. Only the thread waits for the receiver."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.model.text import counted, duration
from sentinel.notify.choice import Reported
from sentinel.notify.message import compose, key_of
from sentinel.notify.outcome import Outcome, Sender
from sentinel.notify.plan import Item, Queue
from sentinel.notify.settings import Channel
from sentinel.notify.store import Store, Waiting

#: A channel that fails for this long is reported as dead, and again after each further hour. Seconds.
_DEAD, _AGAIN = 300.0, 3600.0
#: A try that has not ended for so long is reported: services of Apprise bound each read of an answer, not the whole. Seconds.
_STUCK = 600.0


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: on a clock that never steps, and on the wall."""

    steady: float
    wall: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a try."""

    channel: str
    outcome: Outcome


class Worker:
    """One thread for one channel: a receiver that hangs, hangs alone. At most one try is handed to it at a time."""

    def __init__(self, name: str, inbox: queue.Queue[Any]) -> None:
        self._name = name
        self._inbox = inbox
        self._jobs: queue.Queue[Callable[[], Outcome]] = queue.Queue(1)
        threading.Thread(target=self._run, name=f"channel {name}", daemon=True).start()

    def start(self, job: Callable[[], Outcome]) -> None:
        """Begin a try; its result comes into the inbox."""
        self._jobs.put_nowait(job)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                outcome = job()
            except Exception as error:
                # A thread that ends is a channel that is silent for ever, without a word.
                outcome = Outcome("unsure", f"a mistake in sentinel itself: {type(error).__name__}")
            self._inbox.put(Result(self._name, outcome))


class Health:
    """How a channel fares: what is stored of it, and when the journal gets a line."""

    def __init__(self, name: str, store: Store, say: Callable[[int, str], None]) -> None:
        self._name = name
        self._store = store
        self._say = say
        self._failing_since: float | None = None
        self._said_at = float("-inf")

    def restore(self, now: Now) -> None:
        """What an earlier run knew."""
        since = self._store.value(self._name, "failing_since")
        if since is not None:
            self._failing_since = now.steady - max(0.0, now.wall - since)

    def delivered(self, now: Now, *, messages: int) -> None:
        """Within a transaction of the store."""
        if self._failing_since is not None:
            self._say(5, f"channel {self._name} delivers again, after {duration(now.steady - self._failing_since)}")
        self._failing_since, self._said_at = None, float("-inf")
        count = self._store.value(self._name, "messages") + messages
        self._store.report(self._name, delivered_at=now.wall, failing_since=None, why="", lost=0, messages=count)

    def failed(self, now: Now, why: str) -> None:
        """Within a transaction of the store."""
        since: dict[str, object] = {}
        if self._failing_since is None:
            self._failing_since = now.steady
            since = {"failing_since": now.wall}
            self._say(4, f"channel {self._name} does not deliver, it is tried again: {why}")
        failing = now.steady - self._failing_since
        if failing >= _DEAD and now.steady - self._said_at >= _AGAIN:
            self._said_at = now.steady
            self._say(3, f"channel {self._name} is dead: nothing was delivered for {duration(failing)}: {why}")
        self._store.report(self._name, why=why, **since)

    def stuck(self, now: Now, seconds: float) -> None:
        """A try that does not end. Within a transaction of the store."""
        why = f"a try began {duration(seconds)} ago and has not ended"
        since: dict[str, object] = {}
        if self._failing_since is None:
            self._failing_since = now.steady - seconds
            since = {"failing_since": now.wall - seconds}
        self._say(3, f"channel {self._name} is dead: {why}")
        self._store.report(self._name, why=why, **since)

    def set_aside(self, why: str) -> None:
        """An alert that the receiver refuses by itself; the others go on."""
        self._say(4, f"channel {self._name}: an alert is refused while others are not, and set aside; it is tried again: {why}")

    @property
    def failing(self) -> bool:
        """Nothing was delivered since it began to fail."""
        return self._failing_since is not None

    def lost(self, count: int) -> None:
        """Alerts were given up."""
        self._say(3, f"channel {self._name}: {counted(count, 'alert')} waited too long or were too many, and are given up")


class Line:
    """A channel that gets messages."""

    def __init__(
        self, channel: Channel, sender: Sender, store: Store, inbox: queue.Queue[Any], host: str, health: Health
    ) -> None:
        self.channel = channel
        self.name = channel.name
        self._sender = sender
        self._store = store
        self._host = host
        self._health = health
        self._worker = Worker(channel.name, inbox)
        self._reported = Reported(channel.chosen, store.open_alerts(self.name), store.value(self.name, "counted_until"))
        self._queue = Queue(channel.policy)
        #: when the try that is under way began; None: it is reported as stuck
        self._begun: float | None = None
        self._sending_now: frozenset[int] = frozenset()

    def restore(self, now: Now) -> None:
        """What an earlier run left."""
        waiting = [Item(one.number, one.urgent, now.steady, one.held, one.mark) for one in self._store.waiting(self.name)]
        self._queue = Queue(self.channel.policy, waiting, self._store.under_way(self.name))
        with self._store.changes():
            # What was set aside is tried with the rest: the receiver, or this program, may be another by now.
            self._store.report(self.name, aside=0)
        self._health.restore(now)

    # --- within a transaction of the store ---

    def take(self, change: Mapping[str, Any], now: Now, number: Callable[[Mapping[str, Any]], int]) -> None:
        """A transition. `number` keeps an alert once for all channels."""
        news = self._reported.take(change)
        self._remember(change["fingerprint"])
        if news is not None:
            self._put(news, number(news), now)

    def reconcile(self, standing: Iterable[Mapping[str, Any]], at: str, now: Now) -> None:
        """What is open now, after a gap or at the first start."""
        for news in self._reported.reconcile(standing, at):
            self._remember(news["fingerprint"])
            self._put(news, self._store.add(news), now)
        self._store.report(self.name, counted_until=at)

    def _remember(self, fingerprint: str) -> None:
        self._store.reported(self.name, fingerprint, self._reported.open.get(fingerprint))

    def _put(self, news: Mapping[str, Any], number: int, now: Now) -> None:
        urgent = news["severity"] in self.channel.urgent
        held = not urgent and self.channel.quiet.at(now.wall)
        self._store.queue(self.name, Waiting(number, urgent, held))
        self._queue.put(Item(number, urgent, now.steady, held, news["fingerprint"]))

    def ended(self, outcome: Outcome, now: Now) -> None:
        """The result of a try."""
        aside = self._queue.aside
        if outcome.kind == "delivered":
            why = self._store.value(self.name, "why")  # of the last refusal, which this delivery may explain
            self._store.done(self.name, self._queue.delivered(now.steady))
            self._store.sending(self.name, None)
            self._health.delivered(now, messages=1)
            self._report_aside(aside, why)
            return
        again = (outcome.too_large or outcome.answered) and self._sending_now <= aside
        left = (
            self._queue.unsure(now.steady)
            if outcome.kind == "unsure"
            else self._queue.refused(now.steady, outcome.after, too_large=outcome.too_large, answered=outcome.answered)
        )
        self._store.sending(self.name, left)
        self._report_aside(aside, outcome.why)
        # That one is refused again, as every hour, is no news of the channel.
        if self._health.failing or not again:
            self._health.failed(now, outcome.why)

    def _report_aside(self, before: frozenset[int], why: str) -> None:
        self._store.report(self.name, aside=len(self._queue.aside))
        if self._queue.aside - before:
            self._health.set_aside(why)

    # --- outside of one ---

    def due(self, now: Now) -> float | None:
        """When `start` has something to do."""
        return self._queue.due(quiet=self.channel.quiet.at(now.wall))

    def start(self, now: Now) -> None:
        """Begin to send what is due."""
        if self.busy:
            if self._begun is not None and now.steady - self._begun > _STUCK:
                with self._store.changes():
                    self._health.stuck(now, now.steady - self._begun)
                self._begun = None
            return
        if over := self._queue.overdue(now.steady):
            with self._store.changes():
                self._store.done(self.name, over)
                self._store.sending(self.name, self._queue.sending)
                lost = self._store.value(self.name, "lost") + len(over)
                self._store.report(self.name, lost=lost, aside=len(self._queue.aside))
            self._health.lost(len(over))
        sending = self._queue.next(now.steady, quiet=self.channel.quiet.at(now.wall))
        if sending is None:
            return
        with self._store.changes():
            # A kill from here on leaves open whether it arrived.
            self._store.sending(self.name, sending)
        message = compose(
            self._store.alerts(sending.numbers),
            self._host,
            key_of(self._store.id, self.name, sending.numbers),
            digest=sending.digest,
            repeat=sending.repeat,
            lost=self._store.value(self.name, "lost"),
            aside=len(self._queue.aside.difference(sending.numbers)),
            now=now.wall,
        )
        self._begun = now.steady
        self._sending_now = frozenset(sending.numbers)
        self._worker.start(lambda: self._sender.send(message))

    @property
    def busy(self) -> bool:
        """A try is under way."""
        return self._queue.busy
