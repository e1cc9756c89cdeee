"""Malformed requests without end: real ones changed by bytes, and by what HTTP is made of. The same seed, the same requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

_METHODS = [
    b"GET",
    b"POST",
    b"DELETE",
    b"HEAD",
    b"PUT",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"G ET",
    b"",
    b"\xff",
    b"GET" * 999,
]
_PATHS = [
    b"/v1/status", b"/v1/alerts?pending=1", b"/v1/alerts/%00", b"/v1/history?since=nan&limit=-1", b"/v1/history?limit=1000",
    b"/v1/signals", b"/v1/why/cpu-fallback?server=%ff%fe", b"/v1/why/..%2f..%2fetc%2fpasswd", b"/v1/recordings/%2e%2e%2fx",
    b"/v1/recordings/" + b"a" * 5000, b"/v1/silences", b"/v1/silences/1", b"/v1/openapi.json", b"/metrics", b"/v1/events",
    b"//", b"*", b"http://[::1", b"/v1/status?" + b"a=1&" * 40, b"/%", b"/v1/why/" + b"%F0%9F%98%80" * 50, b"/\r\nX: y",
    b"/v1/ status",
]  # fmt: skip
_VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"http/1.1", b"HTTP/999999999999999999.1", b""]
_HEADERS = [
    b"Host: localhost", b"Host: a", b"Host:", b"Content-Length: 5", b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 5, 6", b"Content-Length: 0x5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity", b"Expect: 100-continue", b"Expect: 100-continue, x", b"Connection: close",
    b"Connection: keep-alive, Upgrade", b"Upgrade: h2c", b"Last-Event-ID: 0-1", b"Last-Event-ID: \xff\xfe", b"X: " + b"y" * 3000,
    b" folded", b"No-Colon", b"Na me: x", b"\x00: \x00", b": x", b"A: b\x0bc", b"Range: bytes=0-", b"Cookie: " + b"a=b; " * 200,
]  # fmt: skip
_BODIES = [
    b"", b"hello", b"{}", b'{"for": "2h", "reason": "x", "rule": "cpu-fallback"}', b'{"for": "2h", "reason": 7, "all": true}',
    b'{"a":' * 3000, b"[" * 5000, b"\xff\xfe", b'{"for": "\\ud800", "reason": "\\ud800", "all": true}', b'{"for": "9999999999d"}',
    b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx", b"-5\r\nhello\r\n", b"5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"G\r\n", b"0\r\n" * 9,
]  # fmt: skip
_PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b":",
    b" ",
    b"\t",
    b"%",
    b"/../",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
]


def requests(seed: int) -> Iterator[bytes]:
    """One after the other."""
    dice = random.Random(seed)
    kinds = (_built, _mutated, _mutated, _noise, _pipelined)
    while True:
        yield dice.choice(kinds)(dice)


def _built(dice: random.Random) -> bytes:
    """Whole in form, wrong in its parts."""
    line = b" ".join((dice.choice(_METHODS), dice.choice(_PATHS), dice.choice(_VERSIONS)))
    headers = dice.choices(_HEADERS, k=dice.randrange(8))
    if dice.random() < 0.5:
        headers.insert(0, b"Host: x")
    return b"\r\n".join([line, *headers, b"", dice.choice(_BODIES)])


def _sound(dice: random.Random) -> bytes:
    path = dice.choice([p for p in _PATHS[:14] if p.isascii()])
    if dice.random() < 0.4:
        body = dice.choice(_BODIES)
        return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)
    return b"GET %s HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n" % path


def _mutated(dice: random.Random) -> bytes:
    """A sound request with bytes put in, taken out, changed, doubled or cut off."""
    data = bytearray(_sound(dice))
    changes: tuple[Callable[[int], None], ...] = (
        lambda at: data.__setitem__(slice(at, at), dice.choice(_PIECES)),
        lambda at: data.__delitem__(slice(at, at + dice.randint(1, 9))),
        lambda at: data.__setitem__(slice(at, at), dice.randbytes(dice.randint(1, 6))),
        lambda at: data.__setitem__(slice(at, at + 1), bytes((dice.randrange(256),))),
        lambda at: data.__setitem__(slice(at, at), data[: dice.randint(0, 60)]),
        lambda at: data.__delitem__(slice(at, len(data))),
    )
    for _ in range(dice.randint(1, 6)):
        dice.choice(changes)(dice.randrange(len(data) + 1))
    return bytes(data)


def _noise(dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice((1, 7, 60, 3_000)))


def _pipelined(dice: random.Random) -> bytes:
    """Several on one connection, of which one is wrong."""
    return _sound(dice) + _mutated(dice) + _sound(dice)
