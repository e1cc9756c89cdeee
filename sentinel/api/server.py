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
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.api.connection import Connection, Hangup
from sentinel.api.event_stream import Broadcaster
from sentinel.api.routes import API_VERSION, RESTARTS, Answer, ApiError, Blob, Query, Request, Text, find, split_target
from sentinel.model.input_limits import MOST_CLIENTS, MOST_STREAMS, MOST_WAITING_BYTES
from sentinel.model.json_form import to_json
from sentinel.model.shares import leaves_room, owner

_KEPT_CLIENTS = 4
EVENTS_PATH = "/v1/events"
_READS = frozenset({"GET"})
#: A report of one's own: who may read may send it.
_REPORTS = frozenset({("POST", "/v1/starts")})
_ON_FULL = "see who they are with `ss -xp | grep sentinel.sock`, end those that hang, and ask again"
#: A comment frame at this interval detects dead clients, and keeps proxies from closing the stream.
_KEEPALIVE_SECONDS = 15.0

#: Content type and body.
Encoded = tuple[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Timeouts in seconds: for a request to arrive, and for a client to read a part of the answer."""

    request_seconds: float = 10.0
    write_seconds: float = 10.0
    clients: int = MOST_CLIENTS
    #: connections of one user, so that his half-open ones do not lock out the others
    share: int = MOST_CLIENTS // 2
    streams: int = MOST_STREAMS
    #: event streams per user
    own: int = MOST_STREAMS // 2
    #: bytes of answers that one user's clients have not read yet
    waiting: int = MOST_WAITING_BYTES


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
        #: connections, with the user id of each
        self._clients: dict[asyncio.Task[None], int] = {}
        #: connections that are answered that there is no room
        self._turned_away: set[asyncio.Task[None]] = set()
        #: event streams, with the user id of each
        self._streams: dict[asyncio.Task[None], int] = {}
        #: bytes of answers in flight, by user
        self._waiting: dict[int, int] = {}
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a listening unix socket (from `listen` or systemd); its creator removes the file."""
        # Since Python 3.13 asyncio would remove the file at the end, even if systemd still listens on it.
        kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, **kept)

    def stop_accepting(self) -> None:
        """Accept no new clients until `start`; connected clients stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Stop accepting, end every stream and connection."""
        self.stop_accepting()
        self._events.close()
        tasks = {*self._clients, *self._turned_away, *self._streams}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def clients(self) -> int:
        """Number of open connections."""
        return len(self._clients) + len(self._streams)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pid, uid = _peer(writer)
        connection = Connection(reader, writer, self._limits.request_seconds, self._limits.write_seconds)
        try:
            if why := self._no_room(uid):
                await self._turn_away(task, connection, why)
            else:
                self._clients[task] = uid
                await self._serve(connection, uid, pid)
        except Hangup:
            pass
        # asyncio's own callback for this task logs a cancellation as an error; only `close` above cancels it.
        except asyncio.CancelledError:
            pass
        finally:
            self._clients.pop(task, None)
            writer.transport.abort()

    async def _serve(self, connection: Connection, uid: int, pid: int) -> None:
        while True:
            try:
                request = await connection.receive()
                if request is None:
                    return
                path, query = split_target(request.target)
                method = request.method.decode("ascii")
                # HEAD is GET without sending the body (RFC 9110, 9.3.2).
                method = "GET" if method == "HEAD" else method
                if request.method == b"GET" and path == EVENTS_PATH:
                    await self._stream(connection, uid, request.last_event_id)
                    return
                found, params = find(self._queries, method, path)
                if not self._may(uid, method, path):
                    raise ApiError(403, f"{method} is for root and the daemon's own user; this is user id {uid}")
                answer = await self._ask(found, Request(params, query, request.body, uid, pid))
            except ApiError as error:
                await self._refuse(connection, error)
            else:
                await self._give(connection, uid, answer)
            if not await connection.again():
                return

    def _no_room(self, uid: int) -> str:
        """Why there is none for one more connection of this user; empty where there is."""
        held = list(self._clients.values())
        if uid in self._may_change:
            return "" if len(held) < self._limits.clients + _KEPT_CLIENTS else f"{len(held)} clients are connected; {_ON_FULL}"
        if leaves_room(uid, held, self._limits.share, self._limits.clients):
            return ""
        if mine := sum(owner(one) == owner(uid) for one in held):
            return f"user id {uid} has {mine} connections, no user gets more; {_ON_FULL}"
        return f"{len(held)} clients are connected, no more are taken; {_ON_FULL}"

    async def _turn_away(self, task: asyncio.Task[None], connection: Connection, why: str) -> None:
        """It takes nobody's room: a user who came again faster than these leave, which may take a second, shut out all others."""
        if len(self._turned_away) >= self._limits.clients:
            return
        self._turned_away.add(task)
        try:
            await self._refuse(connection, ApiError(503, why))
            await connection.finish()
        finally:
            self._turned_away.discard(task)

    def _has_room(self, uid: int) -> None:
        waiting = self._waiting.get(owner(uid), 0)
        if waiting > self._limits.waiting:
            raise ApiError(503, f"{waiting} bytes of answers wait for clients of user id {uid} that do not read; {_ON_FULL}")

    async def _give(self, connection: Connection, uid: int, answer: Encoded) -> None:
        content_type, pieces = answer
        size, whose = sum(map(len, pieces)), owner(uid)
        self._waiting[whose] = self._waiting.get(whose, 0) + size
        try:
            await connection.send(200, content_type, *pieces)
        finally:
            self._waiting[whose] -= size
            if not self._waiting[whose]:
                del self._waiting[whose]

    def _may(self, uid: int, method: str, path: str) -> bool:
        """Whether a user may send this request."""
        if method in _READS or (method, path) in _REPORTS or uid in self._may_change:
            return True
        return (method, path) == ("POST", RESTARTS) and uid in self._may_restart

    async def _ask(self, query: Query, request: Request) -> Encoded:
        try:
            # One at a time: however many requests wait, the engine runs after each answer.
            async with self._turn:
                self._has_room(request.uid)
                answer = query(request)
                if not inspect.isawaitable(answer):
                    given = _encoded(answer)
                await asyncio.sleep(0)
            if inspect.isawaitable(answer):
                # It has waited for something, maybe together with many others.
                worked_out = await answer
                async with self._turn:
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

    async def _stream(self, connection: Connection, uid: int, last_event_id: str) -> None:
        if not leaves_room(uid, list(self._streams.values()), self._limits.own, self._limits.streams):
            why = (
                f"{len(self._streams)} clients follow the events, at most {self._limits.own} of one user: end a `sentinel watch`"
            )
            raise ApiError(503, why)
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = uid
        # Long-lived event streams are counted separately, so that they never use up the connections for requests.
        self._clients.pop(task, None)
        try:
            await self._follow(connection, last_event_id)
        finally:
            del self._streams[task]

    async def _follow(self, connection: Connection, last_event_id: str) -> None:
        subscription = self._events.subscribe(last_event_id)
        left = asyncio.ensure_future(connection.left())
        try:
            await connection.begin_stream("text/event-stream")
            for missed in subscription.missed:
                await connection.send_part(missed)
                # With a fast client the write never waits; the engine must run all the same.
                await asyncio.sleep(0)
            while not left.done():
                frame = asyncio.ensure_future(subscription.next())
                await asyncio.wait({frame, left}, timeout=_KEEPALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not frame.done():
                    frame.cancel()
                    await connection.send_part(b": \n\n")
                    continue
                part = frame.result()
                if part is None:
                    break
                await connection.send_part(part)
            await connection.end_stream()
        finally:
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError, Hangup):
                await left
            self._events.unsubscribe(subscription)


def _encoded(answer: Answer) -> Encoded:
    if isinstance(answer, Text):
        return answer.content_type, (answer.body.encode("utf-8", "replace"),)
    if isinstance(answer, Blob):
        return answer.content_type, answer.pieces
    return "application/json", ((to_json({"api_version": API_VERSION, **answer}) + "\n").encode(),)


def _no_query(_request: Request) -> Answer:
    """Holds the place of the event stream in the table, so that 404 and 405 know its path."""
    raise ApiError(404, "the event stream is not a query")


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Process and user id."""
    sock = writer.get_extra_info("socket")
    pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid), int(uid)
