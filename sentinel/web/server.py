"""Connections: how many, of whom, how long each may take; and uvicorn's HTTP on them.

On the loopback one local user could hold every connection and keep all others from the page. Now each user, and each address
elsewhere, has a place, which is taken back from whoever has most (`api/places.py`), as on the daemon's socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sentinel.api.accepting import Accepting
from sentinel.api.places import ClientPlace, Places
from sentinel.web.config import Tls
from sentinel.web.peers import whose

#: Connections at a time, and of one address that is not this machine: a browser takes six. One local user may have all while
#: nobody else comes: a proxy on this machine is one.
MOST_CONNECTIONS, MOST_OF_ONE = 128, 32
#: A request must have come in so many seconds, and so must each next part of what is sent be read.
SECONDS = 10.0
_PART_BYTES = 16 * 1024


class Connection(H11Protocol):
    """uvicorn's, with time limits that it has not: it waits for the first request, and for who does not read, for ever."""

    place: ClientPlace
    ended: Callable[[], None]
    sans: frozenset[str] = frozenset()
    _timer: asyncio.TimerHandle | None = None
    _left = 0
    #: since when the client is waited for
    _since: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.place.waits_since, self.place.end = lambda: self._since, transport.abort
        self._arm()
        if self.sans and not self.sans & names_of(transport.get_extra_info("peercert")):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What an earlier answer left to be read keeps its time.
        if self._is_busy() and not self.transport.get_write_buffer_size():
            self._disarm()

    def on_response_complete(self) -> None:
        # Before uvicorn's: that may begin with the next request.
        self._arm()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm()
        if not self._is_busy():
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        self.ended()

    def _arm(self) -> None:
        self._disarm()
        self._left = self.transport.get_write_buffer_size()
        self._since = time.monotonic()
        self._timer = self.loop.call_later(SECONDS, self._expire)

    def _disarm(self) -> None:
        self._left, self._since = 0, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread and (not self._left or unread <= self._left - _PART_BYTES):
            # It is read, slowly.
            self._arm()
        elif unread or not self._is_busy():
            self.transport.abort()

    def _is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete


def names_of(certificate: Any) -> frozenset[str]:
    """The subject's alternative names of a client's certificate."""
    return frozenset(value for kind, value in (certificate or {}).get("subjectAltName", ()) if isinstance(value, str))


class Server(uvicorn.Server):
    """Accepts by itself, because uvicorn counts a connection only once its TLS is agreed upon."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        tls: Callable[[], tuple[ssl.SSLContext, frozenset[str]] | None],
        tick: Callable[[], None],
        ending: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._ending = ending
        self._tls = tls
        self._tick = tick
        self._places = Places(MOST_CONNECTIONS, MOST_CONNECTIONS, 0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        self.servers = cast(Any, [_Accepting(listener, self._take) for listener in sockets or ()])
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 50 == 0:
            self._tick()
        is_over: bool = await super().on_tick(counter)
        return is_over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What would go on for ever ends first: uvicorn waits for it."""
        self._ending()
        await super().shutdown(sockets)

    def _take(self, taken: socket.socket) -> asyncio.Task[None] | None:
        """Nothing is made for one that is refused: who comes again at once costs little."""
        came = time.monotonic()
        place = ClientPlace(whose(taken), waits_since=lambda: came)
        if (place.user < 0 and self._places.of(place.user) >= MOST_OF_ONE) or not self._places.take(place):
            taken.close()
            return None
        task = asyncio.ensure_future(self._connect(taken, place))
        # Until there is a connection, which TLS takes a while for.
        place.end = task.cancel
        return task

    async def _connect(self, taken: socket.socket, place: ClientPlace) -> None:
        found = self._tls()
        made: list[Connection] = []

        def protocol() -> Connection:
            connection = Connection(self.config, self.server_state, {"place": place})
            connection.place = place
            connection.ended = lambda: self._ended(place)
            connection.sans = found[1] if found is not None else frozenset()
            made.append(connection)
            return connection

        loop = asyncio.get_running_loop()
        limits = {"ssl_handshake_timeout": SECONDS, "ssl_shutdown_timeout": SECONDS}
        options: dict[str, Any] = {} if found is None else {"ssl": found[0], **limits}
        try:
            await loop.connect_accepted_socket(protocol, taken, **options)
        # A handshake that fails, or takes too long; or its place was given to another.
        except (OSError, asyncio.CancelledError):
            if not made or made[0].transport is None:
                taken.close()
                self._ended(place)

    def _ended(self, place: ClientPlace) -> None:
        place.is_over = True
        self._places.leave(place)


class _Accepting:
    """One listening socket; uvicorn closes it as it does a server of asyncio."""

    def __init__(self, listener: socket.socket, take: Callable[[socket.socket], asyncio.Task[None] | None]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._take = take
        self._accepting = Accepting(listener, self._taken)

    def close(self) -> None:
        """No more."""
        self._accepting.close()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Everything that was begun has ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _taken(self, client: socket.socket) -> None:
        if (task := self._take(client)) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def context(tls: Tls) -> ssl.SSLContext:
    """Raises OSError and ssl.SSLError for files that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = tls.least, tls.most
    made.load_cert_chain(tls.cert, tls.key, password=_no_password)
    if tls.client_ca is not None:
        made.load_verify_locations(tls.client_ca)
        made.verify_mode = tls.clients
    return made


def _no_password() -> str:
    raise ValueError("the key has a password; write it without one, readable for its owner alone")
