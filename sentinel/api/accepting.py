"""Accepts connections, some at a time, and hands each on before anything was made for it.

asyncio's own makes a transport, buffers and a task for each, and accepts as many in a row as the listener's queue holds: 0.3 ms
each, so that users who were refused and came again at once took all of the daemon's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

#: Between two turns of everything else; refusing one costs 0.03 ms.
_AT_A_TIME = 32
#: Until it is tried again where there are no descriptors.
_PAUSE_SECONDS = 1.0


class Accepting:
    """Until `close`, which closes the listener too."""

    def __init__(self, listener: socket.socket, taken: Callable[[socket.socket], None]) -> None:
        self._listener = listener
        self._taken = taken
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._begin()

    def close(self) -> None:
        """No more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _begin(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._some)

    def _some(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._begin)
                return
            client.setblocking(False)
            self._taken(client)


async def opened(client: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Its two directions. Raises OSError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client)
    except BaseException:
        with contextlib.suppress(OSError):
            client.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
