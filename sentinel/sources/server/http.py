"""GET requests to many llama-servers at a time, on one thread: those that do not answer keep nobody else waiting.

Uses h11, which the daemon needs for its own socket: http.client imports the email parser too (0.6 MB).
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import h11

from sentinel.model.input_limits import MOST_HTTP_ANSWER

#: Time limit in seconds for whole answers, however slowly their bytes arrive.
_TIMEOUT = 2.0
_PIECE = 64 * 1024
#: Status of an answer that did not come in time, and of none: refused, or not HTTP, or not JSON.
TIMED_OUT, NO_ANSWER = -1, 0
#: Host, port and path.
Target = tuple[str, int, str]
#: Status and JSON.
HttpAnswer = tuple[int, Any]


class _Exchange:
    """One request and its answer."""

    def __init__(self, target: Target) -> None:
        host, port, path = target
        named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.answer: HttpAnswer = (TIMED_OUT, None)
        self._http = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target=path, headers=[("Host", named), ("Connection", "close")])
        self._unsent = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        self._status, self._data = 0, bytearray()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        with suppress(BlockingIOError):
            self.socket.connect((host, port))

    @property
    def waits_for(self) -> int:
        return selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ

    def go_on(self) -> bool:
        """The socket is ready. Whether the exchange is over."""
        try:
            if self._unsent:
                if (error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
                    raise OSError(error, "connect")
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
                return False
            self._http.receive_data(self.socket.recv(_PIECE))
            if not self._read():
                return False
            self.answer = (self._status, json.loads(self._data)) if self._status else (NO_ANSWER, None)
        except BlockingIOError:
            return False
        except (OSError, h11.ProtocolError, ValueError, RecursionError):
            self.answer = (NO_ANSWER, None)
        return True

    def _read(self) -> bool:
        """Whether the answer is there, or is none that is read."""
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return False
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._data += event.data
                if len(self._data) > MOST_HTTP_ANSWER:
                    self._status = 0
                    return True
            elif not isinstance(event, h11.InformationalResponse):
                self._status = 0
                return True
        return True


def get_all(targets: Sequence[Target]) -> list[HttpAnswer]:
    """The answers, in the order of the targets; each address and path is asked once. All within the time limit."""
    answers: dict[Target, HttpAnswer] = {}
    until = time.monotonic() + _TIMEOUT
    with selectors.DefaultSelector() as selector:
        for target in dict.fromkeys(targets):
            try:
                exchange = _Exchange(target)
            except (OSError, h11.ProtocolError):
                answers[target] = (NO_ANSWER, None)
                continue
            selector.register(exchange.socket, exchange.waits_for, (target, exchange))
        while (waiting := selector.get_map()) and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                target, exchange = key.data
                if exchange.go_on():
                    answers[target] = exchange.answer
                    selector.unregister(exchange.socket)
                    exchange.socket.close()
                elif exchange.waits_for != key.events:
                    selector.modify(exchange.socket, exchange.waits_for, key.data)
        for key in list(waiting.values()):
            target, exchange = key.data
            answers[target] = exchange.answer
            exchange.socket.close()
    return [answers[target] for target in targets]


def get(host: str, port: int, path: str) -> HttpAnswer:
    """One answer."""
    return get_all([(host, port, path)])[0]
