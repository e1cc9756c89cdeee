"""Connections: how many, of whom, how long each may take; and uvicorn's HTTP on them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sentinel.web.config import Tls

#: Connections at a time, and of one address that is not this machine: a browser takes six.
MOST_CONNECTIONS, MOST_OF_ONE = 128, 32
#: A request must have come in so many seconds, and so must each next part of what is sent be read.
SECONDS = 10.0
_PART_BYTES = 16 * 1024


class Connection(H11Protocol):
    """uvicorn's, with time limits that it has not: it waits for the first request, and for who does not read, for ever."""

    ended: Callable[[], None]
    sans: frozenset[str] = frozenset()
    _timer: asyncio.TimerHandle | None = None
    _left = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
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
        self._timer = self.loop.call_later(SECONDS, self._expire)

    def _disarm(self) -> None:
        self._left = 0
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
        self._of: Counter[str] = Counter()

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

    async def _take(self, taken: socket.socket, address: str) -> None:
        mine = MOST_CONNECTIONS if _is_here(address) else MOST_OF_ONE
        if self._of.total() >= MOST_CONNECTIONS or self._of[address] >= mine:
            taken.close()
            return
        self._of[address] += 1
        found = self._tls()
        made: list[Connection] = []

        def protocol() -> Connection:
            connection = Connection(self.config, self.server_state, {})
            connection.ended = lambda: self._ended(address)
            connection.sans = found[1] if found is not None else frozenset()
            made.append(connection)
            return connection

        loop = asyncio.get_running_loop()
        limits = {"ssl_handshake_timeout": SECONDS, "ssl_shutdown_timeout": SECONDS}
        options: dict[str, Any] = {} if found is None else {"ssl": found[0], **limits}
        try:
            await loop.connect_accepted_socket(protocol, taken, **options)
        # A handshake that fails, or takes too long.
        except (OSError, asyncio.CancelledError):
            if not made or made[0].transport is None:
                self._ended(address)

    def _ended(self, address: str) -> None:
        self._of[address] -= 1
        if self._of[address] <= 0:
            del self._of[address]


class _Accepting:
    """One listening socket; uvicorn closes it as it does a server of asyncio."""

    def __init__(self, listener: socket.socket, take: Callable[[socket.socket, str], Any]) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.ensure_future(self._accept(take))

    def close(self) -> None:
        """No more."""
        self._accepting.cancel()
        for task in self._tasks:
            task.cancel()
        self._listener.close()

    async def wait_closed(self) -> None:
        """Everything that was begun has ended."""
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)

    async def _accept(self, take: Callable[[socket.socket, str], Any]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, address = await loop.sock_accept(self._listener)
            except OSError:
                # No more descriptors, or the client has left already.
                await asyncio.sleep(0.1)
                continue
            task = asyncio.ensure_future(take(taken, str(address[0])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _is_here(address: str) -> bool:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    return False


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
