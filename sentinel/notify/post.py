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
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sentinel.model.json_form import to_json
from sentinel.model.text import escape
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.secrets import Redactor

_MOST_BYTES = 4096
#: Answers after which the same may be accepted later; every other refusal is one of the request itself.
_LATER = {408, 425, 429}
#: Answers of a gateway: what stands behind it may have taken the message.
_GATEWAY = {502, 504}
#: Answers about who sends, and that the receiver is away: those are about no message. So are redirects.
_FOR_CHANNEL = {401, 407, 503}
#: Answers to what is too long, among other reasons: chats take 2,000 characters, and a burst has more.
_TOO_LARGE = {400, 413, 422}


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
    """Send; by the key a receiver knows a repeat (Idempotency-Key, as many APIs read it)."""
    data = to_json(body).encode()
    # What fails before is certain not to have arrived.
    sent = False
    until = time.monotonic() + target.seconds
    try:
        with contextlib.closing(_connection(target)) as connection:
            connection.connect()
            with _cut_off_at(connection, until):
                sent = True
                connection.request("POST", _path(target.url), data, _headers(target, key))
                answer = connection.getresponse()
                said = answer.read(_MOST_BYTES)
                return _judged(target, answer, said)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # What was cut off looks like whatever had come in by then.
        over = sent and time.monotonic() >= until
        why = f"{target.shown}: {target.redact(escape(_why(TimeoutError() if over else error)))}"
        return Outcome("unsure" if sent else "refused", why)


def _connection(target: Target) -> http.client.HTTPConnection:
    """Always with its port: without one http.client takes the end of an IPv6 address for it."""
    address = urlsplit(target.url)
    host = address.hostname or ""
    if address.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, address.port or 443, timeout=target.seconds, context=context)
    return http.client.HTTPConnection(host, address.port or 80, timeout=target.seconds)


@contextlib.contextmanager
def _cut_off_at(connection: http.client.HTTPConnection, until: float) -> Iterator[None]:
    """Cut it off then, whatever trickles in meanwhile.

    It begins when the connection stands. Before, there is nothing to cut (a name with two addresses, TLS), and a timer that ends
    then would leave the rest unbounded.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    timer = threading.Timer(left, _cut_off, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
    if key:
        headers["Idempotency-Key"] = key
    own = {name.lower() for name in target.headers}
    return {name: value for name, value in headers.items() if name.lower() not in own} | dict(target.headers)


def _path(url: str) -> str:
    address = urlsplit(url)
    return (address.path or "/") + (f"?{address.query}" if address.query else "")


def _judged(target: Target, answer: http.client.HTTPResponse, said: bytes) -> Outcome:
    if 200 <= answer.status < 300:
        return DELIVERED
    words = target.redact.quoted(said.decode("utf-8", "replace"))
    why = f"{target.shown} answered {answer.status} {target.redact.quoted(answer.reason, 60)}".rstrip()
    if 300 <= answer.status < 400:
        why += "; it points to another address, which is not followed: write that one"
    elif words and answer.status not in _LATER:
        why += f": {words}"
    return Outcome(
        "unsure" if answer.status in _GATEWAY else "refused",
        target.redact(why),
        _seconds(answer.getheader("Retry-After")),
        too_large=answer.status in _TOO_LARGE,
        answered=may_be_for_content(answer.status),
    )


def may_be_for_content(status: int) -> bool:
    """Whether a refusal with this status may be about what is in the message."""
    return status >= 400 and status not in _FOR_CHANNEL | _LATER


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
