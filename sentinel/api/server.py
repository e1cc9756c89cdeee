"""Serves the API on a unix socket: access control, connection limits, and the dispatch of requests.

Permissions are by peer credentials (SO_PEERCRED, unix(7)): every user who can open the socket may read; only root and the
daemon's own user may change; the user of sentinel-cure.service may report restarts. The queries are injected; this package knows
no alerts. No client can block the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from sentinel.api.accepting import Accepting, opened
from sentinel.api.connection import Connection, Hangup, Received
from sentinel.api.event_stream import Broadcaster
from sentinel.api.places import ClientPlace, Places
from sentinel.api.routes import API_VERSION, RESTARTS, Answer, ApiError, Blob, Query, Request, Text, find, split_target
from sentinel.api.streaming import stream
from sentinel.api.turns import Turns
from sentinel.model.input_limits import (
    MOST_CLIENTS,
    MOST_CLIENTS_OF_OWNER,
    MOST_STREAMS,
    MOST_WAITING_BYTES,
    MOST_WAITING_BYTES_OF_OWNER,
)
from sentinel.model.json_form import to_json
from sentinel.model.shares import owner

#: Connections, and streams, beyond all others: for root, the daemon's own user, and its services.
_KEPT = 4
EVENTS_PATH = "/v1/events"
_READS = frozenset({"GET"})
#: A report of one's own: who may read may send it.
_REPORTS = frozenset({("POST", "/v1/starts")})
_ON_FULL = "see who they are with `ss -xp | grep sentinel.sock`, end those that hang, and ask again"
#: Content type and body.
Encoded = tuple[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Timeouts in seconds: for a request to arrive, and for a client to read a part of the answer."""

    request_seconds: float = 10.0
    write_seconds: float = 10.0
    clients: int = MOST_CLIENTS
    #: connections of one user
    share: int = MOST_CLIENTS_OF_OWNER
    streams: int = MOST_STREAMS
    #: event streams per user
    own: int = MOST_CLIENTS_OF_OWNER
    #: bytes of answers that one user's clients have not read yet, and those of all
    waiting: int = MOST_WAITING_BYTES_OF_OWNER
    waiting_in_all: int = MOST_WAITING_BYTES


class ApiServer:
    """Serves until closed. Any exception of a query but ApiError is a bug: the answer is 500, and `on_bug` gets it."""

    def __init__(
        self,
        queries: Mapping[tuple[str, str], Query],
        events: Broadcaster,
        *,
        on_bug: Callable[[BaseException], None],
        limits: ServerLimits | None = None,
        may_change: frozenset[int] | None = None,
        may_restart: frozenset[int] = frozenset(),
    ) -> None:
        self._queries = {**queries, ("GET", EVENTS_PATH): _no_query}
        self._events = events
        self._on_bug = on_bug
        self._limits = ServerLimits() if limits is None else limits
        self._may_change = frozenset({0, os.geteuid()}) if may_change is None else may_change
        #: users who may report restarts besides: that of sentinel-cure.service
        self._may_restart = may_restart
        self._clients = Places(self._limits.share, self._limits.clients, _KEPT)
        # Long-lived event streams are counted separately, so that they never use up the connections for requests.
        self._streams = Places(self._limits.own, self._limits.streams, _KEPT)
        #: users of connections that are answered that there is no room
        self._turned_away: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        #: seconds that each query took the last time
        self._took: dict[Query, float] = {}
        self._accepting: Accepting | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a listening unix socket (from `listen` or systemd); its creator removes the file."""
        self._accepting = Accepting(listener, self._taken)

    def stop_accepting(self) -> None:
        """Accept no new clients until `start`; connected clients stay."""
        if self._accepting is not None:
            self._accepting.close()
            self._accepting = None

    async def close(self) -> None:
        """Stop accepting, end every stream and connection."""
        self.stop_accepting()
        self._events.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def clients(self) -> int:
        """Number of open connections."""
        return len(self._clients) + len(self._streams)

    def _taken(self, client: socket.socket) -> None:
        """A connection that was accepted. One that is refused takes nobody's room, and of one user one at a time hears why: users
        who came again faster than these leave, which may take a second, shut out all others.
        """
        pid, uid = _peer(client)
        place = ClientPlace(uid, kept=self._is_kept(uid))
        if self._clients.take(place):
            work = self._serve(client, place, pid)
        elif len(self._turned_away) < self._limits.clients and place.whose not in self._turned_away:
            self._turned_away.add(place.whose)
            work = self._turn_away(client, place)
        else:
            client.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        place.end = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on(self, client: socket.socket, place: ClientPlace, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Work on its connection, which ends with that, in whatever way."""
        # Cancelled by `close`, and by `Places`, which ends one for others.
        with contextlib.suppress(Hangup, OSError, asyncio.CancelledError):
            reader, writer = await opened(client)
            connection = Connection(reader, writer, self._limits.request_seconds, self._limits.write_seconds)
            place.waits_since = lambda: connection.waits_since
            cancel = place.end

            def end() -> None:
                # Alone the latter may be lost in `wait_for`, before Python 3.12: 60 answers stayed in memory.
                writer.transport.abort()
                cancel()

            place.end = end
            try:
                await work(connection)
            finally:
                writer.transport.abort()

    def _is_kept(self, uid: int) -> bool:
        return uid in self._may_change or uid in self._may_restart

    async def _serve(self, client: socket.socket, place: ClientPlace, pid: int) -> None:
        try:
            await self._on(client, place, lambda connection: self._answer(connection, place, pid))
        finally:
            self._clients.leave(place)

    async def _answer(self, connection: Connection, place: ClientPlace, pid: int) -> None:
        is_open = True
        while is_open:
            try:
                request = await connection.receive()
                if request is None or place.is_over:
                    return
                if request.method == b"GET" and split_target(request.target)[0] == EVENTS_PATH:
                    await self._stream(connection, place, request.last_event_id)
                    return
                # In a call of its own: the answer is gone when the next request is waited for.
                await self._respond(connection, place, request, pid)
            except ApiError as error:
                await self._refuse(connection, error)
            is_open = await connection.again()

    async def _respond(self, connection: Connection, place: ClientPlace, request: Received, pid: int) -> None:
        path, query = split_target(request.target)
        method = request.method.decode("ascii")
        # HEAD is GET without sending the body (RFC 9110, 9.3.2).
        method = "GET" if method == "HEAD" else method
        found, params = find(self._queries, method, path)
        if not self._may(place.user, method, path):
            raise ApiError(403, f"{method} is for root and the daemon's own user; this is user id {place.user}")
        content_type, pieces = await self._ask(found, Request(params, query, request.body, place.user, pid))
        place.unread = sum(map(len, pieces))
        try:
            await connection.send(200, content_type, *pieces)
        finally:
            place.unread = 0

    def _no_room(self, uid: int) -> str:
        """Why there is none for one more connection of this user."""
        if not self._is_kept(uid) and (mine := self._clients.of(uid)):
            return f"user id {uid} has {mine} connections, no user gets more; {_ON_FULL}"
        return f"{len(self._clients)} clients are connected, no more are taken; {_ON_FULL}"

    async def _turn_away(self, client: socket.socket, place: ClientPlace) -> None:
        refusal = ApiError(503, self._no_room(place.user))

        async def work(connection: Connection) -> None:
            await self._refuse(connection, refusal)
            await connection.finish()

        try:
            await self._on(client, place, work)
        finally:
            self._turned_away.discard(place.whose)

    def _has_room(self, uid: int) -> None:
        waiting = sum(one.unread for one in self._clients.held if one.whose == owner(uid))
        if waiting > self._limits.waiting:
            raise ApiError(503, f"{waiting} bytes of answers wait for clients of user id {uid} that do not read; {_ON_FULL}")
        self._clients.free(self._limits.waiting_in_all)

    def _may(self, uid: int, method: str, path: str) -> bool:
        """Whether a user may send this request."""
        if method in _READS or (method, path) in _REPORTS or uid in self._may_change:
            return True
        return (method, path) == ("POST", RESTARTS) and uid in self._may_restart

    async def _ask(self, query: Query, request: Request) -> Encoded:
        try:
            # One at a time: however many requests wait, the engine runs after each answer.
            async with self._turns.of(request.uid, self._took.get(query, 0.0)):
                self._has_room(request.uid)
                begin = time.monotonic()
                answer = query(request)
                if not inspect.isawaitable(answer):
                    given = _encoded(answer)
                self._took[query] = time.monotonic() - begin
                await asyncio.sleep(0)
            if inspect.isawaitable(answer):
                # It has waited for something, maybe together with many others.
                worked_out = await answer
                async with self._turns.of(request.uid, self._took[query]):
                    self._has_room(request.uid)
                    given = _encoded(worked_out)
                    await asyncio.sleep(0)
            return given
        except ApiError:
            raise
        # A bug in one view must not stop the daemon: the client gets 500, and the daemon's log the traceback.
        except Exception as error:
            self._on_bug(error)
            raise ApiError(500, f"a bug in sentinel ({type(error).__name__}); its log has the details") from error

    async def _refuse(self, connection: Connection, error: ApiError) -> None:
        body = {"error": {"code": error.code, "message": error.message, **error.more}}
        content_type, pieces = _encoded(body)
        await connection.send(error.code, content_type, *pieces, allow=error.allow)

    async def _stream(self, connection: Connection, client: ClientPlace, last_event_id: str) -> None:
        # A stream waits for nobody: whoever has most of them gives up the one that began last.
        begun = -time.monotonic()
        place = ClientPlace(client.user, kept=client.kept, waits_since=lambda: begun, end=client.end)
        if not self._streams.take(place):
            why = (
                f"{len(self._streams)} clients follow the events, at most {self._limits.own} of one user: end a `sentinel watch`"
            )
            raise ApiError(503, why)
        self._clients.leave(client)
        try:
            await stream(self._events, connection, last_event_id)
        finally:
            self._streams.leave(place)


def _encoded(answer: Answer) -> Encoded:
    if isinstance(answer, Text):
        return answer.content_type, (answer.body.encode("utf-8", "replace"),)
    if isinstance(answer, Blob):
        return answer.content_type, answer.pieces
    return "application/json", ((to_json({"api_version": API_VERSION, **answer}) + "\n").encode(),)


def _no_query(_request: Request) -> Answer:
    """Holds the place of the event stream in the table, so that 404 and 405 know its path."""
    raise ApiError(404, "the event stream is not a query")


def _peer(client: socket.socket) -> tuple[int, int]:
    """Process and user id."""
    pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid), int(uid)
