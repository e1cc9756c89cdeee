"""The queue between the sources and the engine: bounded, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sentinel.model.reading import Reading, Samples

#: Readings; a batch of log lines counts as one. With batches of 128 KiB a full queue, behind a stalled engine, takes 32 MiB.
SIZE = 256
_MOST_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class QueuedReading:
    """A reading, and the callback for when the engine has processed it (it saves a log position or a cursor)."""

    reading: Reading
    taken: Callable[[], None] | None = None


class Inbox:
    """When full, log sources wait, because the file is their buffer; samples drop the oldest samples, which are counted."""

    def __init__(self, size: int = SIZE) -> None:
        self._items: deque[QueuedReading] = deque()
        self._size = size
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        #: samples dropped since the start
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, reading: Reading) -> None:
        """Put a reading without waiting."""
        if len(self._items) >= self._size:
            oldest = next((i for i, item in enumerate(self._items) if isinstance(item.reading, Samples)), None)
            if oldest is not None:
                del self._items[oldest]
                self.dropped += 1
        self._items.append(QueuedReading(reading))
        self._ready.set()

    async def put(self, reading: Reading, taken: Callable[[], None] | None = None) -> None:
        """Put a reading, waiting while the queue is full. `taken` is called once the engine has processed it."""
        while len(self._items) >= self._size:
            self._room.clear()
            await self._room.wait()
        self._items.append(QueuedReading(reading, taken))
        self._ready.set()

    async def take(self) -> list[QueuedReading]:
        """The next readings in order, at least one."""
        while not self._items:
            self._ready.clear()
            await self._ready.wait()
        taken = [self._items.popleft() for _ in range(min(len(self._items), _MOST_AT_ONCE))]
        self._room.set()
        return taken
