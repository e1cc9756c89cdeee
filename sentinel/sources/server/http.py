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

from sentinel.model.input_limits import MOST_HTTP_ANSWER, MOST_HTTP_ANSWERS, MOST_JSON_COST
from sentinel.model.json_cost import cost

#: Time limit in seconds for whole answers, however slowly their bytes arrive.
_TIMEOUT = 2.0
_PIECE = 16 * 1024
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
        #: the body is not read as JSON yet
        self.status, self.data = TIMED_OUT, bytearray()
        self._http = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target=path, headers=[("Host", named), ("Connection", "close")])
        self._unsent = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        self._status = 0
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
            self.status = self._status
        except BlockingIOError:
            return False
        except (OSError, h11.ProtocolError):
            self.status = NO_ANSWER
        return True

    def give_up(self) -> None:
        """It is none that is read."""
        self.status, self.data = NO_ANSWER, bytearray()

    def _read(self) -> bool:
        """Whether the answer is there, or is none that is read."""
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                return False
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self.data += event.data
                if len(self.data) > MOST_HTTP_ANSWER:
                    self._status = 0
                    return True
            elif not isinstance(event, h11.InformationalResponse):
                self._status = 0
                return True
        return True


def get_all(targets: Sequence[Target]) -> list[HttpAnswer]:
    """The answers, in the order of the targets; each address and path is asked once. All within the time limit."""
    asked: dict[Target, _Exchange | None] = {}
    until = time.monotonic() + _TIMEOUT
    with selectors.DefaultSelector() as selector:
        for target in dict.fromkeys(targets):
            asked[target] = None
            with suppress(OSError, h11.ProtocolError):
                exchange = asked[target] = _Exchange(target)
                selector.register(exchange.socket, exchange.waits_for, exchange)
        there = [exchange for exchange in asked.values() if exchange is not None]
        while (waiting := selector.get_map()) and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                exchange = key.data
                if exchange.go_on():
                    selector.unregister(exchange.socket)
                    exchange.socket.close()
                elif exchange.waits_for != key.events:
                    selector.modify(exchange.socket, exchange.waits_for, exchange)
            if sum(len(exchange.data) for exchange in there) > MOST_HTTP_ANSWERS:
                largest = max(there, key=lambda one: len(one.data))
                largest.give_up()
                if largest.socket.fileno() >= 0:
                    selector.unregister(largest.socket)
                    largest.socket.close()
        for key in list(waiting.values()):
            key.data.give_up()
            key.data.status = TIMED_OUT
            key.data.socket.close()
    read = _read(there)
    answers = {target: read.get(exchange, (NO_ANSWER, None)) for target, exchange in asked.items()}
    return [answers[target] for target in targets]


def _read(there: Sequence[_Exchange]) -> dict[_Exchange | None, HttpAnswer]:
    """As JSON, the smallest first: who answers with much goes without, not others."""
    answers: dict[_Exchange | None, HttpAnswer] = {}
    spent = 0
    for price, exchange in sorted(((cost(one.data), one) for one in there), key=lambda pair: pair[0]):
        spent += price
        if exchange.status <= 0:
            answers[exchange] = (exchange.status, None)
        elif spent <= MOST_JSON_COST:
            with suppress(ValueError, RecursionError):
                answers[exchange] = (exchange.status, json.loads(exchange.data))
    return answers


def get(host: str, port: int, path: str) -> HttpAnswer:
    """One answer."""
    return get_all([(host, port, path)])[0]
