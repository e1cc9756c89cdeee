"""One POST of JSON over HTTP or HTTPS, bounded in time and size. No redirects, no proxies, no cookies.

By the standard library: the address of a webhook is a secret, and a redirect would carry it, or its headers, to somebody else.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from sentinel.model.json_form import to_json
from sentinel.model.text import escape
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.secrets import Redactor

_MOST_BYTES = 4096
_LONGEST = 160
#: Answers after which the same may be accepted later; every other refusal is one of the request itself.
_LATER = {408, 425, 429}
#: Answers of a gateway: what stands behind it may have taken the message.
_GATEWAY = {502, 504}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, with what headers, and for how long at most."""

    url: str
    headers: Mapping[str, str]
    seconds: float
    redact: Redactor

    @property
    def shown(self) -> str:
        """The address for people: who, without the path, which is often the secret."""
        address = urlsplit(self.url)
        return f"{address.scheme}://{address.hostname or ''}{f':{address.port}' if address.port else ''}"


def post(target: Target, body: object, key: str = "") -> Outcome:
    """Send; the key lets a receiver tell a repeat (Idempotency-Key, as many APIs read it)."""
    data = to_json(body).encode()
    # What fails before is certain not to have arrived.
    sent = False
    try:
        with _connection(target) as connection:
            connection.connect()
            sent = True
            connection.request("POST", _path(target.url), data, _headers(target, key))
            answer = connection.getresponse()
            said = answer.read(_MOST_BYTES)
            return _judged(target, answer, said)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"{target.shown}: {target.redact(escape(_why(error)))}"
        return Outcome("unsure" if sent else "refused", why)


@contextlib.contextmanager
def _connection(target: Target) -> Iterator[http.client.HTTPConnection]:
    """A connection that is cut off after the time, whatever trickles in meanwhile."""
    address = urlsplit(target.url)
    kind: Any = http.client.HTTPConnection
    more: dict[str, Any] = {}
    if address.scheme == "https":
        kind, more = http.client.HTTPSConnection, {"context": ssl.create_default_context()}
    connection = kind(address.hostname or "", address.port, timeout=target.seconds, **more)
    timer = threading.Timer(target.seconds, _cut_off, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield connection
    finally:
        timer.cancel()
        connection.close()


def _cut_off(connection: http.client.HTTPConnection) -> None:
    line = connection.sock
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def _headers(target: Target, key: str) -> dict[str, str]:
    address = urlsplit(target.url)
    headers = {"Content-Type": "application/json", "User-Agent": "sentinel-notify", "Connection": "close"}
    if address.username:
        who = f"{unquote(address.username)}:{unquote(address.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(who.encode()).decode()
    return headers | ({"Idempotency-Key": key} if key else {}) | dict(target.headers)


def _path(url: str) -> str:
    address = urlsplit(url)
    return (address.path or "/") + (f"?{address.query}" if address.query else "")


def _judged(target: Target, answer: http.client.HTTPResponse, said: bytes) -> Outcome:
    if 200 <= answer.status < 300:
        return DELIVERED
    words = " ".join(escape(said.decode("utf-8", "replace")).split())[:_LONGEST]
    why = f"{target.shown} answered {answer.status} {escape(answer.reason)[:60]}".rstrip()
    if 300 <= answer.status < 400:
        why += "; it points to another address, which is not followed: write that one"
    elif words and answer.status not in _LATER:
        why += f": {words}"
    return Outcome(
        "unsure" if answer.status in _GATEWAY else "refused", target.redact(why), _seconds(answer.getheader("Retry-After"))
    )


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _why(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "does not answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case socket.gaierror():
            return "its name is not known"
        case http.client.RemoteDisconnected():
            return "closed the connection without an answer"
        case OSError():
            return error.strerror or str(error)
        case _:
            return f"does not speak HTTP ({type(error).__name__})"
