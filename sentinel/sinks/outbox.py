"""Which transitions each sink still has to get: in order, none lost, each sink at its own pace.

A transition is first committed to the history, then put here; a sink's mark in the history moves on after delivery. So a
daemon that is killed loses none, and what it may have told without having marked it is asked of the sink at the next start: the
one that it was telling, after a power cut those of a whole flush. Memory is bounded: what does not fit waits in the history.
Time is an argument; the daemon calls `flush` when something was put and when `next_flush` has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinel.model.alert import Transition
from sentinel.model.json_form import is_news
from sentinel.sinks.base import Sink, SinkDown, Store

#: Transitions in memory for each sink: some 20 MB at most, and far more than a night without journald produces.
LIMIT = 10_000
#: Read back at once from the history.
_REFILL = 1_000
#: Delivered to one sink in one `flush`: 256 journal entries take about 20 ms, which the daemon's loop can spare.
_MOST_AT_ONCE = 256
_CLOCKS_SECONDS = 3600.0
_FIRST_PAUSE_SECONDS = 0.5
#: journald restarts in well under a second, so that a long first pause would only delay; a minute bounds the wait at the end.
_LONGEST_PAUSE_SECONDS = 60.0


def next_pause(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row (from 1): 0.5, 1, 2, ... at most 60."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures - 1, 0), 16), _LONGEST_PAUSE_SECONDS)


@dataclass(slots=True)
class _Lane:
    """What one sink still has to get. `last` is the newest id that was in memory; `spilled`: the history holds more."""

    sink: Sink
    waiting: deque[tuple[int, Transition]] = field(default_factory=deque)
    last: int = 0
    spilled: bool = True
    failures: int = 0
    not_before: float = float("-inf")
    reason: str = ""


class Outbox:
    """Delivers to every sink what it is owed, beginning with what an earlier run of the daemon left undelivered."""

    def __init__(self, sinks: Sequence[Sink], store: Store, limit: int = LIMIT) -> None:
        self._store = store
        self._epoch = store.epoch
        self._limit = limit
        self._lanes = [_Lane(sink) for sink in sinks]
        for sink in sinks:
            store.register(sink.name)
            self._own_up(sink)

    def put(self, transition_id: int, transition: Transition) -> None:
        """Owe a transition that the history has just committed under `transition_id` to every sink."""
        if not is_news(transition):
            return
        for lane in self._lanes:
            if lane.spilled or len(lane.waiting) >= self._limit:
                lane.spilled = True
            else:
                lane.waiting.append((transition_id, transition))
                lane.last = transition_id

    def _own_up(self, sink: Sink) -> None:
        """Mark what an earlier run told and could not mark any more. In order, as it was told."""
        owed = self._store.undelivered(sink.name, 0, _MOST_AT_ONCE)
        if not owed:
            return
        # A clock that was set back between the two must not hide what was told.
        times = [transition.at - _CLOCKS_SECONDS for _, transition in owed if transition.at is not None]
        told = sink.delivered([self._key(number) for number, _ in owed], min(times, default=None))
        last = max((number for number, _ in owed if self._key(number) in told), default=0)
        if last:
            self._store.mark_delivered(sink.name, last)
            self._store.settle()

    def _key(self, transition_id: int) -> str:
        return f"{self._epoch}-{transition_id}"

    def flush(self, now: float) -> None:
        """Deliver what is due. A sink that fails pauses, longer each time; the others go on."""
        delivered = [self._flush(lane, now) for lane in self._lanes if now >= lane.not_before]
        if any(delivered):
            self._store.settle()

    def next_flush(self) -> float | None:
        """When `flush` should be called again, in the time it is given; None while nothing waits."""
        times = [lane.not_before for lane in self._lanes if lane.waiting or lane.spilled]
        return min(times, default=None)

    @property
    def names(self) -> tuple[str, ...]:
        """The sinks, in the order in which they were given."""
        return tuple(lane.sink.name for lane in self._lanes)

    def waiting(self, sink: str) -> int:
        """How many transitions wait in memory for `sink`."""
        return sum(len(lane.waiting) for lane in self._lanes if lane.sink.name == sink)

    def down(self) -> dict[str, str]:
        """The sinks that failed at their last try, each with the reason."""
        return {lane.sink.name: lane.reason for lane in self._lanes if lane.reason}

    def _flush(self, lane: _Lane, now: float) -> int:
        """Returns how many were delivered."""
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
        """Read on from the history. Returns whether there is something to deliver now."""
        if not lane.spilled:
            return False
        count = min(_REFILL, self._limit)
        lane.waiting.extend(self._store.undelivered(lane.sink.name, lane.last, count))
        lane.spilled = len(lane.waiting) == count
        if lane.waiting:
            lane.last = lane.waiting[-1][0]
        return bool(lane.waiting)
