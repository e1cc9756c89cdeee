"""What one channel sends, and when: grouping, quiet hours, retries, what is set aside. Pure: time is an argument, on a clock that
never steps.

An alert that the receiver refuses for what is in it would hold up all that come after it. It is set aside: the others go on, and
it is tried again, alone, until it is delivered, superseded by a later transition of the same alert, or too old. HTTP 400 and the
like say that they are about what is in it; of other answers `blame` finds out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sentinel.notify.blame import Blame

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
    #: the alert's fingerprint
    mark: str = ""


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
    #: pause of an alert that was set aside because the receiver says that it is at fault; else `longest_pause`
    aside_pause: float = 3600.0


#: Refusals for what is in a message, without a delivery between them, after which pauses grow: the receiver refuses everything.
_PATIENCE = 20


@dataclass(frozen=True, slots=True)
class _Aside:
    """An alert that was refused by itself: when it is tried again; whether an earlier try may have arrived."""

    again: float
    repeat: bool


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
        #: until then the receiver asked for a pause
        self._asked_until = float("-inf")
        self._sent = float("-inf")
        #: alerts of the next message: halved when the receiver refuses it as it is, and more by one after each that it takes
        self._most = MOST_IN_ONE
        self._aside: dict[int, _Aside] = {}
        #: what was refused last turned out to be one alert: sizes were not the reason, and double again
        self._one_was_it = False
        self._blame = Blame()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def sending(self) -> Sending | None:
        """The message under way, or one that may have arrived."""
        return self._sending

    @property
    def aside(self) -> frozenset[int]:
        """Alerts that the receiver refuses for what is in them."""
        return frozenset(self._aside)

    def put(self, item: Item) -> None:
        """An alert for this channel."""
        self._waiting[item.number] = item
        if self._blame.tries_alone and not self.busy and self._sending is None:
            # Whether it takes this one says whose fault it is, and need not wait for ten minutes.
            soon = max(item.taken + self._policy.group_interval, self._asked_until)
            self._pause_until = min(self._pause_until, soon)

    def overdue(self, now: float) -> tuple[int, ...]:
        """Take away what is too old, and the oldest of what is too much. The caller has to say that they are lost."""
        if self.busy:
            return ()
        numbers = sorted(self._waiting)
        excess = max(0, len(numbers) - self._policy.most)
        old = [n for at, n in enumerate(numbers) if at < excess or now - self._waiting[n].taken > self._policy.keep]
        for number in old:
            self._forget(number)
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
            ready = self._ready(quiet=quiet)
            if ready and now >= self._due_of(ready):
                alone = self._blame.choose(ready, lambda n: self._waiting[n].mark)
                numbers = ready[: self._most] if alone is None else [alone]
                self._sending = Sending(tuple(numbers), digest=not quiet and any(self._waiting[n].held for n in numbers))
            else:
                number = min(self._retried(quiet=quiet), key=lambda one: self._aside[one].again)
                self._sending = Sending((number,), repeat=self._aside[number].repeat)
        self.busy = True
        return self._sending

    def due(self, *, quiet: bool) -> float | None:
        """From when on `next` has a message; None: not before something happens (an alert, a result, the end of quiet hours)."""
        if self.busy:
            return None
        if self._sending is not None:
            loud = not quiet or any(self._waiting[n].urgent for n in self._sending.numbers)
            return self._pause_until if loud else None
        ready, retried = self._ready(quiet=quiet), self._retried(quiet=quiet)
        dues = [self._due_of(ready)] if ready else []
        dues += [max(min(self._aside[n].again for n in retried), self._pause_until)] if retried else []
        return min(dues, default=None)

    def _due_of(self, numbers: Iterable[int]) -> float:
        first = min(self._waiting[number].taken for number in numbers)
        return max(first + self._policy.group_wait, self._sent + self._policy.group_interval, self._pause_until)

    def delivered(self, now: float) -> tuple[int, ...]:
        """The receiver has it. Returns the alerts that do not wait any more: those in it, and what they supersede."""
        assert self._sending is not None
        numbers, self._sending = self._sending.numbers, None
        if not self._aside.keys().isdisjoint(numbers):
            # It takes what it refused: so it may take the rest.
            self._aside.clear()
        newest = {self._waiting[number].mark: number for number in numbers}
        over = [n for n in self._aside if (mark := self._waiting[n].mark) and newest.get(mark, -1) > n]
        for number in (*numbers, *over):
            self._forget(number)
        for number in self._blame.taken(rest=len(self._waiting) > len(self._aside)):
            if number in self._waiting:
                self._aside[number] = _Aside(now + self._policy.longest_pause, repeat=False)
        self.busy, self.failures, self._sent, self._pause_until = False, 0, now, float("-inf")
        self._most = min(self._most * 2 if self._one_was_it else self._most + 1, MOST_IN_ONE)
        return (*numbers, *over)

    def refused(self, now: float, retry_after: float = 0.0, *, too_large: bool = False, answered: bool = False) -> Sending | None:
        """The receiver has it not. What came meanwhile joins it, unless an earlier try may have arrived: that is returned.

        `too_large`: it refuses what is in it. Half of it is tried next; one alert alone is set aside. `answered`: it may do so.
        """
        assert self._sending is not None
        sending, self._sending = self._sending, None
        one = sending.numbers[0] if len(sending.numbers) == 1 else None
        self._one_was_it = one is not None
        if one in self._aside and (too_large or answered):
            # As each time: no news of the receiver.
            self.busy, self._pause_until = False, now + self._policy.first_pause
            pause = self._policy.aside_pause if too_large else self._policy.longest_pause
            self._aside[one] = _Aside(now + pause, sending.repeat)
            return None
        if too_large:
            # It has not arrived, however often it was tried: it was the same each time.
            then = "half"
            if one is not None:
                self._aside[one] = _Aside(now + self._policy.aside_pause, sending.repeat)
        elif answered and not sending.repeat:
            then = self._blame.refused(sending.numbers)
        else:
            then = "wait"
            self._blame.failed()
            self._sending = sending if sending.repeat else None
        if then == "half" and one is None:
            self._most = len(sending.numbers) // 2
        self._pause(now, retry_after, patience=0 if then == "wait" else _PATIENCE)
        return self._sending

    def unsure(self, now: float) -> Sending:
        """It may have arrived: it goes out again as it was, so that the receiver can see that it is the same."""
        assert self._sending is not None
        self._blame.failed()
        self._pause(now, 0.0)
        self._sending = replace(self._sending, repeat=True)
        return self._sending

    def _pause(self, now: float, retry_after: float, patience: int = 0) -> None:
        self.busy = False
        policy = self._policy
        # 2 ** 30 is beyond every pause; the number itself grows for days.
        pause = min(policy.first_pause * 2 ** min(max(0, self.failures - patience), 30), policy.longest_pause)
        self.failures += 1
        self._asked_until = now + min(retry_after, policy.longest_pause)
        self._pause_until = max(now + pause, self._asked_until)

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        self._aside.pop(number, None)

    def _ready(self, *, quiet: bool) -> list[int]:
        return sorted(n for n, item in self._waiting.items() if n not in self._aside and (item.urgent or not quiet))

    def _retried(self, *, quiet: bool) -> list[int]:
        return [n for n in self._aside if self._waiting[n].urgent or not quiet]
