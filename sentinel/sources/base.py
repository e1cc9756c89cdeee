"""What a source is, and its three outcomes: readings, nothing there, failed.

A polled source has `poll`: it is called at intervals, possibly on a worker thread, never concurrently, and returns what
it read. A streaming source has `run`: it runs as a task and puts readings as they arrive. After a fault the daemon pauses
before it calls either again, and shows the fault in `status`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from sentinel.model.fault import Fault
from sentinel.model.reading import Reading

#: Awaited by streaming sources; blocks while the queue is full, because the file or the journal is the buffer.
Put = Callable[[Reading], Awaitable[None]]


class SourceFault(Fault):
    """The source failed."""


class NotHere(Exception):
    """There is nothing to read, and that is fine (no AMD GPU, no swap). The text says what is not there."""


@runtime_checkable
class Polled(Protocol):
    """A source that the daemon polls. `interval` is in seconds; `blocking` ones run on a worker thread."""

    name: str
    interval: float
    blocking: bool

    def poll(self, at: float) -> Sequence[Reading]:
        """Read once. `at` is the time to stamp on the readings. Raises SourceFault or NotHere."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A source that pushes its readings."""

    name: str

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put readings until cancelled. Raises SourceFault or NotHere; the daemon restarts it after a pause."""
        ...
