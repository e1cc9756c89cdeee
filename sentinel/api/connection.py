"""One client's connection: HTTP/1.1 through h11, with limits on size and time.

Larger than 64 KiB: 431 for the head, 413 for the body. Not received in time: 408. Not read in time: the connection is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from sentinel.api.routes import ApiError
from sentinel.model.input_limits import MOST_REQUEST_BYTES

#: Bytes per read: h11 measures a head only while it is incomplete, so a head may exceed the limit by at most this much.
_READ_BYTES = 16 * 1024
#: Bytes per write: a client that reads less than this in `write_seconds` is too slow.
_PART_BYTES = 64 * 1024
#: A client that got `Connection: close` should close at once; this is how long the server waits for it.
_LINGER_SECONDS = 1.0


_TOO_LARGE = f"the request's body is larger than {MOST_REQUEST_BYTES} bytes"


class Hangup(Exception):
    """The client disconnected, read too slowly, or speaks another protocol: no answer is possible."""


@dataclass(frozen=True, slots=True)
class Received:
    """A complete request."""

    method: bytes
    target: bytes
    body: bytes
    #: the Last-Event-ID of an event stream's client (HTML standard, 9.2.4), else empty
    last_event_id: str = ""


class Connection:
    """Reads requests and writes answers on one connection, one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request_seconds: float, write_seconds: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._request_seconds = request_seconds
        self._write_seconds = write_seconds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_REQUEST_BYTES)
        self._head_only = False
        #: since when the client is waited for: for the rest of a request, or until it has read; None while it waits for us
        self.waits_since: float | None = time.monotonic()

    async def receive(self) -> Received | None:
        """The next request; None if the client sends no more. Raises ApiError for an invalid one, and Hangup."""
        self.waits_since = time.monotonic()
        deadline = self.waits_since + self._request_seconds
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._event(deadline, idle=head is None)
            match event:
                case h11.Request():
                    head = event
                    self._head_only = head.method == b"HEAD"
                    self._refuse_large(head)
                case h11.Data():
                    body += event.data
                    if len(body) > MOST_REQUEST_BYTES:
                        raise ApiError(413, _TOO_LARGE)
                case h11.EndOfMessage() if head is not None:
                    self.waits_since = None
                    last = next((value for name, value in head.headers if name == b"last-event-id"), b"")
                    return Received(head.method, head.target, bytes(body), last.decode("utf-8", "replace"))
                case _:
                    return None

    @staticmethod
    def _refuse_large(head: h11.Request) -> None:
        # h11 guarantees at most one, and that it is a number.
        length = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(length) > MOST_REQUEST_BYTES:
            raise ApiError(413, _TOO_LARGE)

    async def _event(self, deadline: float, *, idle: bool) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _bad_request(error) from error
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            begun = not idle or bool(self._http.trailing_data[0])
            try:
                data = await asyncio.wait_for(self._reader.read(_READ_BYTES), deadline - time.monotonic())
            except TimeoutError as error:
                if begun:
                    raise ApiError(408, f"the request was not complete after {self._request_seconds:g} seconds") from error
                # An idle connection without a request is closed without an answer.
                raise Hangup from error
            except OSError as error:
                raise Hangup from error
            self._http.receive_data(data)

    async def send(self, code: int, content_type: str, *pieces: bytes, allow: Sequence[str] = ()) -> None:
        """Send a complete answer, its body in pieces. `allow`: the methods for a 405. Raises Hangup."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise Hangup
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(sum(map(len, pieces)))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if allow:
            headers.append(("Allow", ", ".join(allow)))
        if self._http.their_state is not h11.DONE:
            # The rest of a request that was refused half-way is not read: the connection closes after the answer.
            headers.append(("Connection", "close"))
        self.waits_since = time.monotonic()
        await self._send(h11.Response(status_code=code, headers=headers))
        # An answer to HEAD has the body's length but no body.
        for piece in () if self._head_only else pieces:
            for start in range(0, len(piece), _PART_BYTES):
                await self._send(h11.Data(data=piece[start : start + _PART_BYTES]))
        await self._send(h11.EndOfMessage())

    async def again(self) -> bool:
        """Whether another request may follow on this connection; if not, it is closed gracefully."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        await self.finish()
        return False

    async def begin_stream(self, content_type: str) -> None:
        """Send the head of an answer of unknown length. Raises Hangup."""
        headers = [("Content-Type", content_type), ("Cache-Control", "no-store"), ("Connection", "close")]
        await self._send(h11.Response(status_code=200, headers=headers))

    async def send_part(self, data: bytes) -> None:
        """Send a part of a stream. Raises Hangup if the client does not read it in time."""
        await self._send(h11.Data(data=data))

    async def end_stream(self) -> None:
        """End a stream."""
        await self._send(h11.EndOfMessage())
        await self.finish()

    async def left(self) -> None:
        """Return when the client closes its side. What it sends meanwhile is not parsed as a request."""
        try:
            while await self._reader.read(_PART_BYTES):
                pass
        except OSError:
            return

    async def _send(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError as error:
            # HTTP has no answer to this client's request: it loses its connection, and no other client is affected.
            raise Hangup from error
        await self._write(data)

    async def _write(self, data: bytes | None) -> None:
        if not data:
            return
        try:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), self._write_seconds)
        except (TimeoutError, OSError) as error:
            raise Hangup from error

    async def finish(self) -> None:
        """Close our side, then drain what the client still sends: closing with unread bytes breaks its next write, and a client
        that gets a broken pipe never reads why its request was refused."""
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            await asyncio.wait_for(self.left(), _LINGER_SECONDS)
        except (TimeoutError, OSError) as error:
            raise Hangup from error


def _bad_request(error: h11.RemoteProtocolError) -> ApiError:
    code = error.error_status_hint
    if code == 431:
        return ApiError(431, f"the request's head is larger than {MOST_REQUEST_BYTES} bytes")
    return ApiError(code if code in (400, 501, 505) else 400, f"this is no HTTP/1.1 request ({error})")
