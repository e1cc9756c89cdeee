"""The daemon's event stream, passed on to a browser: a thread that reads for each, and a queue that it may be behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

from sentinel.api import client
from sentinel.api.event_stream import QUEUE, frame
from sentinel.model.fault import Fault

#: A comment at this interval shows that a client is gone, and keeps proxies from ending the stream.
_KEEPALIVE_SECONDS = 15.0


class Relay:
    """One client's stream. `begin` waits for the daemon's first word."""

    def __init__(self, stream: client.Stream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._frames: asyncio.Queue[bytes | Fault | None] = asyncio.Queue()

    async def begin(self) -> bytes:
        """The first frame. Raises Fault if the daemon is gone or has no room."""
        threading.Thread(target=self._read, name="relay", daemon=True).start()
        first = await self._frames.get()
        if isinstance(first, bytes):
            return first
        raise first or Fault("the daemon ended the stream")

    async def frames(self, first: bytes) -> AsyncIterator[bytes]:
        """All frames, until the daemon or the client ends it, or the client is too far behind."""
        yield first
        while True:
            try:
                part = await asyncio.wait_for(self._frames.get(), _KEEPALIVE_SECONDS)
            except TimeoutError:
                part = b": \n\n"
            if not isinstance(part, bytes):
                return
            yield part

    def close(self) -> None:
        """Nobody reads any more: the thread ends, and the daemon learns of it."""
        self._stream.close()

    def _read(self) -> None:
        last: Fault | None = None
        try:
            for event, data in self._stream:
                self._say(frame(event, data, self._stream.last_event_id))
        except Fault as gone:
            last = gone
        self._say(last)

    def _say(self, part: bytes | Fault | None) -> None:
        # The program ends while this thread still reads.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, part)

    def _take(self, part: bytes | Fault | None) -> None:
        if part is not None and self._frames.qsize() >= QUEUE:
            # It does not read. What it has not read, it gets when it comes again and says where it was.
            self._stream.close()
        else:
            self._frames.put_nowait(part)
