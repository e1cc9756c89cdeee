"""Questions to one llama-server over HTTP: bounded in time and bytes, on the loopback only unless somebody asked for more."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

from sentinel.model.fault import Fault
from sentinel.model.input_limits import MOST_JSON_COST
from sentinel.model.json_cost import cost
from sentinel.model.text import clean

#: An answer has 20 tokens and repeats the prefix: 20 KB. A chat template in /props may be some hundred.
_MOST_BYTES = 4 << 20
_PIECE = 64 * 1024
#: Seconds for one answer. A prefix of 500 tokens takes 25 s at 20 tokens a second, and the server may be busy with a request.
SECONDS = 120.0


#: of an answer
_BEGINNING = b"HTTP/"


class _EndedError(Exception):
    """The connection was closed within an answer, or before it."""


class Trouble(Fault):
    """The server could not be asked. Why, and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    prefix: str = ""

    def __str__(self) -> str:
        return f"http://{_named(self.host)}:{self.port}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """By its number, or the name localhost; another name may mean anything tomorrow."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def address(text: str) -> Address:
    """From a port, ``host:port`` or a URL. Raises Trouble."""
    if text.isascii() and text.isdigit():
        text = f"127.0.0.1:{text}"
    given = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Trouble(f"{clean(text)!r:.120} is no address: {error}", "write a port, HOST:PORT or http://HOST:PORT") from error
    if parts.scheme != "http":
        raise Trouble(
            f"{parts.scheme}:// is not spoken here", "reach the server with `ssh -L 8080:localhost:8080 HOST` and ask 8080"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise Trouble("an address has no user, query or fragment", "give a key with --api-key-file")
    if not host or port == 0 or not given.isascii() or any(char <= " " for char in given):
        raise Trouble(f"{clean(text)!r:.120} is no address", "write a port, HOST:PORT or http://HOST:PORT")
    return Address(host, port or 80, parts.path.rstrip("/"))


class Client:
    """Asks one server; each question has a connection of its own, so that a dead one is never taken up again."""

    def __init__(self, at: Address, key: str = "", seconds: float = SECONDS) -> None:
        self.at = at
        self.key = key
        self._seconds = seconds

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON. Raises Trouble."""
        return self._ask("GET", path, b"")

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Status and JSON. Raises Trouble."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        until = time.monotonic() + self._seconds
        try:
            with socket.create_connection((self.at.host, self.at.port), timeout=self._seconds) as connection:
                status, data = self._exchange(connection, method, path, body, until)
        except TimeoutError as error:
            raise Trouble(
                f"{self.at} did not answer {path} within {self._seconds:g} s", "it is busy or slow: ask when it is idle"
            ) from error
        except ConnectionRefusedError as error:
            raise Trouble(f"nothing listens at {self.at}", "start the server, or give its port") from error
        except _EndedError as error:
            raise Trouble(f"{self.at} closed the connection amid its answer to {path}", "is the server still there?") from error
        except h11.ProtocolError as error:
            raise Trouble(f"what answers at {self.at} does not speak HTTP", "is the port right?") from error
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            raise Trouble(f"the connection to {self.at} failed: {why}", "is the server still there?") from error
        # A check of the daemon's is within the memory of its unit, and systemd ends all of that if one of it takes too much.
        if cost(data) > MOST_JSON_COST:
            raise Trouble(f"{self.at} answered {path} with more values than llama-server has", "is it llama-server?")
        try:
            return status, json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Trouble(f"{self.at} answered {path} with status {status} and no JSON", "is it llama-server?") from error

    def _exchange(self, connection: socket.socket, method: str, path: str, body: bytes, until: float) -> tuple[int, bytes]:
        http = h11.Connection(h11.CLIENT)
        headers = [("Host", f"{_named(self.at.host)}:{self.at.port}"), ("Connection", "close"), ("Accept", "application/json")]
        if method == "POST":
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if self.key:
            headers.append(("Authorization", f"Bearer {self.key}"))
        request = http.send(h11.Request(method=method, target=self.at.prefix + path, headers=headers)) or b""
        connection.sendall(request + (http.send(h11.Data(data=body)) or b"" if body else b""))
        http.send(h11.EndOfMessage())
        status, data, begun, ended = 0, bytearray(), b"", False
        try:
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    if (left := until - time.monotonic()) <= 0:
                        raise TimeoutError
                    connection.settimeout(left)
                    piece = connection.recv(_PIECE)
                    begun, ended = (begun + piece)[: len(_BEGINNING)], not piece
                    http.receive_data(piece)
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    data += event.data
                    if len(data) > _MOST_BYTES:
                        raise Trouble(f"{self.at} answered {path} with more than {_MOST_BYTES >> 20} MiB", "is it llama-server?")
                elif not isinstance(event, h11.InformationalResponse):
                    raise h11.RemoteProtocolError("no answer")
        except h11.RemoteProtocolError as error:
            if ended and _BEGINNING.startswith(begun):
                raise _EndedError from error
            raise
        return status, bytes(data)


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
