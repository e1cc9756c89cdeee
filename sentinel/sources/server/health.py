"""Polls a llama-server whose log cannot be read: ready or loading (/health), and the context it serves (/props).

Only these two: /health answers without a key and without waking the server's loop, /props costs one answer per start. /metrics
is never requested, because a scrape resets gauges that the user may watch, and for /slots older builds log a line per request
(llama.cpp, tools/server). Only loopback addresses are polled: the command line of a process is untrusted and must not send
sentinel to another host.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h11

from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots
from sentinel.sources.processes.discover import ServerProcess
from sentinel.sources.processes.listening import ports, shares_network

#: Time limit in seconds for a whole answer, however slowly its bytes arrive: one poll queries every server in turn.
_TIMEOUT = 2.0
#: A chat template is a few KB and the largest part of /props; a larger answer is not llama-server's.
_MOST = 1 << 20
_PIECE = 64 * 1024
#: Seconds between requests: while it loads, and once it is ready.
_WHILE_LOADING, _WHEN_READY = 2.0, 30.0
_LOOPBACK = {
    "": "127.0.0.1",
    "localhost": "127.0.0.1",
    "127.0.0.1": "127.0.0.1",
    "0.0.0.0": "127.0.0.1",  # noqa: S104
    "::1": "::1",
    "::": "::1",
}


@dataclass(slots=True)
class _Asked:
    start: float
    at: float = float("-inf")
    ready: bool = False
    context: bool = False


class LlamaHttp:
    """Polled source: `servers` are those running now, `hidden` says whether a server's log is unreadable."""

    name = "llama_http"
    interval = 2.0
    blocking = True

    def __init__(
        self, servers: Callable[[], Sequence[ServerProcess]], hidden: Callable[[ServerProcess], bool], roots: Roots | None = None
    ) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._hidden = hidden
        self._asked: dict[int, _Asked] = {}

    def poll(self, at: float) -> Sequence[Reading]:
        """Query each server that is due. No answer proves nothing: it may listen elsewhere."""
        running = [s for s in self._servers() if self._hidden(s)]
        self._asked = {s.pid: self._asked.get(s.pid, _Asked(s.start_time)) for s in running}
        readings: list[Reading] = []
        for server in running:
            asked = self._asked[server.pid]
            if at - asked.at < (_WHEN_READY if asked.ready else _WHILE_LOADING):
                continue
            asked.at = at
            values = self._ask(server, asked)
            if values:
                readings.append(Samples(at, self.name, server.entity, values))
        return readings

    def _ask(self, server: ServerProcess, asked: _Asked) -> dict[str, Value | Unknown]:
        address = loopback(server, self._roots)
        if address is None:
            return {}
        host, port = address
        health = get(host, port, "/health")
        state = state_of(health)
        asked.ready = state == "ready"
        if not state:
            return {}
        values: dict[str, Value | Unknown] = {"server.state": state}
        if asked.ready and not asked.context:
            asked.context = True
            values |= context_of(get(host, port, "/props"))
        return values


def loopback(server: ServerProcess, roots: Roots) -> tuple[str, int] | None:
    """The server's loopback address; None if it listens elsewhere, on a socket, or not yet.

    In a container the same address belongs to another network: a different server may answer there.
    """
    host = _LOOPBACK.get(str(server.values.get("server.host", "")))
    port = server.values.get("server.port")
    if host is None or not isinstance(port, int) or not 0 < port < 65536 or not shares_network(roots, server.pid):
        return None
    if "port" in server.requested.settings:
        return host, port
    # the default changes with the build (b11434 announces 9931)
    open_ports = ports(roots, server.pid)
    if open_ports is None or port in open_ports:
        return host, port
    return (host, min(open_ports)) if len(open_ports) == 1 else None


def get(host: str, port: int, path: str) -> tuple[int, Any]:
    """Status and JSON of a GET; (0, None) without an answer in time or if the answer is not JSON.

    Uses h11, which the daemon needs for its own socket: http.client imports the email parser too (0.6 MB).
    """
    until = time.monotonic() + _TIMEOUT
    named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    http = h11.Connection(h11.CLIENT)
    try:
        with socket.create_connection((host, port), _TIMEOUT) as connection:
            connection.sendall(
                http.send(h11.Request(method="GET", target=path, headers=[("Host", named), ("Connection", "close")])) or b""
            )
            http.send(h11.EndOfMessage())
            status, data = _answer(http, connection, until)
        return (status, json.loads(data)) if status else (0, None)
    except (OSError, h11.ProtocolError, ValueError, RecursionError):
        return 0, None


def _answer(http: h11.Connection, connection: socket.socket, until: float) -> tuple[int, bytes]:
    """Status and body; (0, b"") for a body that is too large. Raises OSError on timeout, h11.ProtocolError."""
    status, data = 0, bytearray()
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            http.receive_data(connection.recv(_PIECE))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > _MOST:
                return 0, b""
    return status, bytes(data)


def state_of(answer: tuple[int, Any]) -> str:
    """``ready`` or ``loading``; empty if the answer is not llama-server's (README of tools/server, /health)."""
    status, body = answer
    if not isinstance(body, Mapping):
        return ""
    if status == 200 and body.get("status") == "ok":
        return "ready"
    error = body.get("error")
    if status == 503 and isinstance(error, Mapping) and error.get("message") == "Loading model":
        return "loading"
    return ""


def context_of(answer: tuple[int, Any]) -> dict[str, Value]:
    """Context of a slot and number of slots from /props; empty if a key is required or they are missing."""
    status, body = answer
    if status != 200 or not isinstance(body, Mapping):
        return {}
    values: dict[str, Value] = {}
    settings = body.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    if isinstance(context, int) and not isinstance(context, bool) and 0 < context < 1 << 40:
        values["server.ctx_per_slot"] = context
    slots = body.get("total_slots")
    if isinstance(slots, int) and not isinstance(slots, bool) and 0 < slots < 1 << 20:
        values["server.slots"] = slots
    return values
