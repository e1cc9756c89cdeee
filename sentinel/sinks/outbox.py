"""Pending deliveries: to each sink in order, without loss, at its own pace.

A transition is first committed to the history, then put here; a sink's mark in the history advances after delivery. So a killed
daemon loses none. Transitions that it may have delivered without marking them are looked up in the sink at the next start: one
after a kill, those of a whole flush after a power cut. Memory is bounded: what does not fit waits in the history. Time is an
argument; the daemon calls `flush` after a put and when `next_flush` is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinel.model.alert import Transition
from sentinel.model.json_form import is_news
from sentinel.sinks.base import Sink, SinkDown, Store

#: Transitions in memory per sink: some 20 MB at most, and far more than a night without journald produces.
LIMIT = 10_000
#: Transitions per read from the history.
_REFILL = 1_000
#: Deliveries to one sink per `flush`: 256 journal entries take about 20 ms, short enough for the daemon's event loop.
_MOST_AT_ONCE = 256
_CLOCKS_SECONDS = 3600.0
_FIRST_PAUSE_SECONDS = 0.5
#: journald restarts in well under a second, so a long first pause would only delay; a minute is the longest pause.
_LONGEST_PAUSE_SECONDS = 60.0


def next_pause(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row (from 1): 0.5, 1, 2, ... at most 60."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures - 1, 0), 16), _LONGEST_PAUSE_SECONDS)


@dataclass(slots=True)
class _Lane:
    """The pending deliveries of one sink. `last` is the newest id that was in memory; `spilled`: the history has more."""

    sink: Sink
    waiting: deque[tuple[int, Transition]] = field(default_factory=deque)
    last: int = 0
    spilled: bool = True
    failures: int = 0
    not_before: float = float("-inf")
    reason: str = ""


class Outbox:
    """Delivers to every sink what it is owed, starting with what an earlier run left undelivered."""

    def __init__(self, sinks: Sequence[Sink], store: Store, limit: int = LIMIT) -> None:
        self._store = store
        self._epoch = store.epoch
        self._limit = limit
        self._lanes = [_Lane(sink) for sink in sinks]
        for sink in sinks:
            store.register(sink.name)
            self._own_up(sink)

    def put(self, transition_id: int, transition: Transition) -> None:
        """Queue a transition for every sink; the history has just committed it under `transition_id`."""
        if not is_news(transition):
            return
        for lane in self._lanes:
            if lane.spilled or len(lane.waiting) >= self._limit:
                lane.spilled = True
            else:
                lane.waiting.append((transition_id, transition))
                lane.last = transition_id

    def _own_up(self, sink: Sink) -> None:
        """Mark what an earlier run delivered but did not mark. Deliveries are in order, so the last one found is enough."""
        owed = self._store.undelivered(sink.name, 0, _MOST_AT_ONCE)
        if not owed:
            return
        # A clock set back in between must not hide what was delivered.
        times = [transition.at - _CLOCKS_SECONDS for _, transition in owed if transition.at is not None]
        sent = sink.delivered([self._key(number) for number, _ in owed], min(times, default=None))
        last = max((number for number, _ in owed if self._key(number) in sent), default=0)
        if last:
            self._store.mark_delivered(sink.name, last)
            self._store.settle()

    def _key(self, transition_id: int) -> str:
        return f"{self._epoch}-{transition_id}"

    def flush(self, now: float) -> None:
        """Deliver what is due. A sink that fails backs off, longer each time; the others continue."""
        delivered = [self._flush(lane, now) for lane in self._lanes if now >= lane.not_before]
        if any(delivered):
            self._store.settle()

    def next_flush(self) -> float | None:
        """When to call `flush` again, on the clock of its `now`; None if nothing is pending."""
        times = [lane.not_before for lane in self._lanes if lane.waiting or lane.spilled]
        return min(times, default=None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sinks, in their given order."""
        return tuple(lane.sink.name for lane in self._lanes)

    def waiting(self, sink: str) -> int:
        """The number of transitions pending in memory for `sink`."""
        return sum(len(lane.waiting) for lane in self._lanes if lane.sink.name == sink)

    def down(self) -> dict[str, str]:
        """The sinks whose last delivery failed, each with the reason."""
        return {lane.sink.name: lane.reason for lane in self._lanes if lane.reason}

    def _flush(self, lane: _Lane, now: float) -> int:
        """Returns the number of deliveries."""
        for count in range(_MOST_AT_ONCE):
            if not lane.waiting and not self._refill(lane):
                return count
            transition_id, transition = lane.waiting[0]
            try:
                lane.sink.deliver(transition, self._key(transition_id))
            except SinkDown as down:
                lane.failures += 1
                lane.not_before = now + next_pause(lane.failures)
                lane.reason = str(down)
                return count
            lane.waiting.popleft()
            lane.failures, lane.reason = 0, ""
            self._store.mark_delivered(lane.sink.name, transition_id)
        return _MOST_AT_ONCE

    def _refill(self, lane: _Lane) -> bool:
        """Read more from the history. Returns whether there is something to deliver now."""
        if not lane.spilled:
            return False
        count = min(_REFILL, self._limit)
        lane.waiting.extend(self._store.undelivered(lane.sink.name, lane.last, count))
        lane.spilled = len(lane.waiting) == count
        if lane.waiting:
            lane.last = lane.waiting[-1][0]
        return bool(lane.waiting)
