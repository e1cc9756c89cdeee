"""What one channel sends, and when: grouping, quiet hours, retries. Pure: time is an argument, on a clock that never steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

#: Alerts of one message. Sixty lines are read by nobody; a storm becomes several messages.
MOST_IN_ONE = 200


@dataclass(frozen=True, slots=True)
class Item:
    """One alert that waits for a channel. `number` is unique and ascending, `taken` a time of the clock that never steps."""

    number: int
    urgent: bool
    taken: float
    #: it came in quiet hours
    held: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """One message: the alerts in it. `repeat`: an earlier try may have arrived, so it goes out again as it was."""

    numbers: tuple[int, ...]
    digest: bool = False
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """All in seconds, except `most`: alerts that may wait."""

    #: after the first alert, for others of the same burst
    group_wait: float = 5.0
    #: between two messages
    group_interval: float = 30.0
    #: pause after the first failure, doubled after each further one up to `longest_pause`
    first_pause: float = 5.0
    longest_pause: float = 600.0
    keep: float = 86400.0
    most: int = 5000


class Queue:
    """What waits for one channel. At most one message is under way, so that alerts arrive in their order."""

    def __init__(self, policy: Policy, waiting: Iterable[Item] = (), sending: Sending | None = None) -> None:
        self._policy = policy
        self._waiting = {item.number: item for item in waiting}
        self._sending = sending if sending and set(sending.numbers) <= self._waiting.keys() else None
        #: a try is under way
        self.busy = False
        #: failures since the last delivery
        self.failures = 0
        self._pause_until = float("-inf")
        self._sent = float("-inf")
        #: alerts of the next message: halved when the receiver refuses it as it is, and more by one after each that it takes
        self._most = MOST_IN_ONE

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def sending(self) -> Sending | None:
        """The message under way, or one that may have arrived."""
        return self._sending

    def put(self, item: Item) -> None:
        """An alert for this channel."""
        self._waiting[item.number] = item

    def overdue(self, now: float) -> tuple[int, ...]:
        """Take away what is too old, and the oldest of what is too much. The caller has to say that they are lost."""
        if self.busy:
            return ()
        numbers = sorted(self._waiting)
        excess = max(0, len(numbers) - self._policy.most)
        old = [n for at, n in enumerate(numbers) if at < excess or now - self._waiting[n].taken > self._policy.keep]
        for number in old:
            del self._waiting[number]
        if self._sending is not None and not set(self._sending.numbers) <= self._waiting.keys():
            # What is left of it is another message.
            self._sending = None
        return tuple(old)

    def next(self, now: float, *, quiet: bool) -> Sending | None:
        """The message to send now, if there is one. A try of it is under way then, until one of the three below is called."""
        at = self.due(quiet=quiet)
        if at is None or now < at:
            return None
        if self._sending is None:
            numbers = self._ready(quiet=quiet)[: self._most]
            self._sending = Sending(tuple(numbers), digest=not quiet and any(self._waiting[n].held for n in numbers))
        self.busy = True
        return self._sending

    def due(self, *, quiet: bool) -> float | None:
        """From when on `next` has a message; None: not before something happens (an alert, a result, the end of quiet hours)."""
        if self.busy:
            return None
        if self._sending is not None:
            loud = not quiet or any(self._waiting[n].urgent for n in self._sending.numbers)
            return self._pause_until if loud else None
        ready = self._ready(quiet=quiet)
        if not ready:
            return None
        first = min(self._waiting[number].taken for number in ready)
        return max(first + self._policy.group_wait, self._sent + self._policy.group_interval, self._pause_until)

    def delivered(self, now: float) -> tuple[int, ...]:
        """The receiver has it. Returns the alerts that it has."""
        assert self._sending is not None
        numbers, self._sending = self._sending.numbers, None
        for number in numbers:
            del self._waiting[number]
        self.busy, self.failures, self._sent, self._pause_until = False, 0, now, float("-inf")
        self._most = min(self._most + 1, MOST_IN_ONE)
        return numbers

    def refused(self, now: float, retry_after: float = 0.0, *, too_large: bool = False) -> Sending | None:
        """The receiver has it not. What came meanwhile joins it, unless an earlier try may have arrived: that is returned."""
        assert self._sending is not None
        self._pause(now, retry_after)
        if too_large:
            self._most = max(1, len(self._sending.numbers) // 2)
        # What is refused for its size was as large the first time: it has not arrived, and would be refused for ever.
        if not self._sending.repeat or (too_large and len(self._sending.numbers) > 1):
            self._sending = None
        return self._sending

    def unsure(self, now: float) -> Sending:
        """It may have arrived: it goes out again as it was, so that the receiver can see that it is the same."""
        assert self._sending is not None
        self._pause(now, 0.0)
        self._sending = replace(self._sending, repeat=True)
        return self._sending

    def _pause(self, now: float, retry_after: float) -> None:
        self.busy = False
        policy = self._policy
        # 2 ** 30 is beyond every pause; the number itself grows for days.
        pause = min(policy.first_pause * 2 ** min(self.failures, 30), policy.longest_pause)
        self.failures += 1
        self._pause_until = now + max(pause, min(retry_after, policy.longest_pause))

    def _ready(self, *, quiet: bool) -> list[int]:
        return sorted(item.number for item in self._waiting.values() if item.urgent or not quiet)
