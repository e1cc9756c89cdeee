"""The lines of the servers that llama-swap starts: it keeps them to itself and streams them over HTTP (internal/server/log.go).

``/logs/stream/MODEL`` has the lines of one model's server, after what is kept of them (a ring of some 100 KB); ``/running`` names
the models that run, with the address of each server. Only the loopback address is asked, for the log of a server that runs here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import h11

from sentinel.engine.log.lines import LineSplitter
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LINE_BYTES, MOST_SWAP_ANSWER
from sentinel.model.reading import LogLines
from sentinel.sources.base import Put, SourceFault

_CONNECT_SECONDS = 5.0
#: For the list of what runs; the stream itself may be silent for as long as its server is.
_ANSWER_SECONDS = 10.0
_PIECE = 1 << 16
_CURE = "set `logToStdout: both` in llama-swap's configuration and start it again"


class LlamaSwapLog:
    """Streaming source: the lines of the server on `port`, from the llama-swap that listens on `at_port`."""

    def __init__(self, at_port: int, port: int, entity: Entity, *, name: str, elapsed_base: float | None = None) -> None:
        self.entity = entity
        self.name = name
        self.cursor: str | None = None
        self._at_port = at_port
        self._port = port
        self._base = elapsed_base
        self._line = 1
        self._seen = False

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put LogLines until cancelled. Raises SourceFault when llama-swap does not answer, wants a key, or ends the stream."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                model = await self._model()
            # What was kept has been read if this is not the first time.
            path = f"/logs/stream/{quote(model)}{'?no-history' if self._seen else ''}"
            splitter = LineSplitter(MOST_LINE_BYTES)
            async for data in self._get(path):
                # The first piece is what was kept.
                backlog, self._seen = not self._seen, True
                lines = splitter.feed(data)
                if lines:
                    first, self._line = self._line, self._line + lines.count(b"\n")
                    await put(LogLines(now(), self.name, self.entity, lines, "llama-server", first, backlog, self._base))
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            reason = str(error) or "no answer in time"
            why = f"llama-swap on port {self._at_port} does not stream its servers' lines ({reason})"
            raise SourceFault(why, _CURE) from error
        raise SourceFault(f"llama-swap on port {self._at_port} ended the stream of its server's lines; it is asked again")

    async def _model(self) -> str:
        """The name under which llama-swap runs the server."""
        whole = bytearray()
        async for data in self._get("/running"):
            whole += data
            if len(whole) > MOST_SWAP_ANSWER:
                break
        try:
            answer: Any = json.loads(bytes(whole))
            for one in answer["running"]:
                if str(one["proxy"]).rstrip("/").endswith(f":{self._port}"):
                    return str(one["model"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SourceFault(f"port {self._at_port} answers /running not as llama-swap does", _CURE) from error
        if not answer["running"]:
            # It died at once: what is kept of all servers' lines is its own.
            return "upstream"
        raise SourceFault(f"llama-swap on port {self._at_port} names no model with a server on port {self._port}", _CURE)

    async def _get(self, path: str) -> AsyncIterator[bytes]:
        """The body of an answer, as it arrives. Raises SourceFault for any status but 200, OSError, h11.ProtocolError."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._at_port)
        http = h11.Connection(h11.CLIENT)
        try:
            headers = [("Host", f"127.0.0.1:{self._at_port}"), ("Accept", "text/plain")]
            writer.write(http.send(h11.Request(method="GET", target=path, headers=headers)) or b"")
            http.send(h11.EndOfMessage())
            while not isinstance(event := http.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(_PIECE))
                elif isinstance(event, h11.Response) and event.status_code in (401, 403):
                    raise SourceFault(f"llama-swap on port {self._at_port} wants an API key for its servers' lines", _CURE)
                elif isinstance(event, h11.Response) and event.status_code != 200:
                    raise SourceFault(f"llama-swap on port {self._at_port} answers {event.status_code} to {path}", _CURE)
                elif isinstance(event, h11.Data):
                    yield bytes(event.data)
        finally:
            writer.close()
