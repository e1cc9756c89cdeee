"""Runs what may hang or take long about one process on a thread of its own, so that the scan for processes goes on.

A process chooses where its log and its model are, and even how long a read of its command line takes (a page of it may lie on a
file system of its own). Threads that hang, and processors' time, are limited for each user.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

#: Examinations at a time: of one user, and in all. A thread of one that hangs is never free again.
_OF_ONE, _IN_ALL = 2, 8
#: An examination that took this much of a processor is followed by a pause of so many times it, for that user. Seconds.
_LONG, _REST = 0.5, 5.0
T = TypeVar("T")


class Examination(Generic[T]):
    """One that runs. `result` may be read once it is done."""

    def __init__(self, work: Callable[[], T], ended: Callable[[float], None]) -> None:
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._work = work
        self._ended = ended
        threading.Thread(target=self._run, name="examination", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        # Any exception: it is raised where the result is taken.
        except BaseException as error:
            self._error = error
        finally:
            self._ended(time.thread_time())
            self._done.set()

    def wait(self, seconds: float = 0.0) -> bool:
        """Whether it is done, within so many seconds."""
        return self._done.wait(seconds)

    @property
    def result(self) -> T:
        """What it found. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class Examinations:
    """Starts them, within the limits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[int] = Counter()
        #: user -> when the next may start
        self._resting: dict[int, float] = {}

    def begin(self, user: int, work: Callable[[], T]) -> Examination[T] | None:
        """Start one for a process of this user; None while too many of his run, or he has taken too much time."""
        with self._lock:
            if self._running[user] >= _OF_ONE or self._running.total() >= _IN_ALL or self._rests(user):
                return None
            self._running[user] += 1

        def ended(took: float) -> None:
            with self._lock:
                self._running[user] -= 1
            self._took(user, took)

        try:
            return Examination(work, ended)
        except RuntimeError:
            # No thread can be started now: TasksMax= of the unit.
            ended(0.0)
            return None

    def at_once(self, user: int, work: Callable[[], T]) -> T | None:
        """The same on the caller's thread, for a process that is gone before another thread runs. None while that user's rest."""
        with self._lock:
            if self._rests(user):
                return None
        begun = time.thread_time()
        try:
            return work()
        finally:
            self._took(user, time.thread_time() - begun)

    def _rests(self, user: int) -> bool:
        now = time.monotonic()
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        return user in self._resting

    def _took(self, user: int, seconds: float) -> None:
        if seconds > _LONG:
            with self._lock:
                self._resting[user] = time.monotonic() + _REST * seconds
