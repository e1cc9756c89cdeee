"""What a source is, and the three ways in which it can end: readings, nothing there, failed.

A polled source has `poll`: it is called from time to time, possibly on a worker thread, never twice at once, and returns what
it read. A streaming source has `run`: it lives as a task and puts readings as they come. The daemon calls neither again while
a pause after a fault lasts, and says in `status` what failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from sentinel.model.fault import Fault
from sentinel.model.reading import Reading

#: Awaited by streaming sources; waits while the queue is full, for the file or the journal is the buffer.
Put = Callable[[Reading], Awaitable[None]]


class SourceFault(Fault):
    """The source failed."""


class NotHere(Exception):
    """There is nothing to read, and that is fine (no AMD GPU, no swap). The text says what is not there."""


@runtime_checkable
class Polled(Protocol):
    """A source that is asked. `interval` is in seconds; `blocking` ones run on a worker thread of their own."""

    name: str
    interval: float
    blocking: bool

    def poll(self, at: float) -> Sequence[Reading]:
        """Read once. `at` is the time to stamp on the readings. Raises SourceFault or NotHere."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A source that tells by itself."""

    name: str

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put readings until cancelled. Raises SourceFault or NotHere; the daemon starts it again after a pause."""
        ...
