"""Stands before every answer: who asks, under which name, with what, how often; and the headers that all answers have."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from itertools import chain
from typing import Any

from sentinel.api.turns import Turns
from sentinel.model.text import escape
from sentinel.web.config import WebConfig
from sentinel.web.users import Users

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Of the head of a request.
MOST_HEAD_BYTES = 16 * 1024
#: Passwords of one user or address that wait for their turn, and of all: each takes a hash's time of one processor.
_MOST_TRIES, _MOST_TRIES_IN_ALL = 8, 64
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors {frames}; require-trusted-types-for 'script'; trusted-types 'none'"
)


class Refusal(Exception):
    """An answer instead of what was asked for, with a sentence."""

    def __init__(self, code: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: App, config: WebConfig, names: Iterable[str], frames: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._frames = tuple(frames)
        self._policy = _POLICY.format(frames=" ".join(self._frames) or "'none'")
        self._turns = Turns()
        self._waiting: Counter[int] = Counter()
        self.use(config)

    def use(self, config: WebConfig) -> None:
        """From now on; passwords that were right are tried again."""
        self._users = Users(config.users)
        self._hsts = config.hsts if config.tls is not None else ""
        self._interval, self._burst = config.interval, config.burst
        self._tokens, self._filled = float(config.burst), time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of HTTP alone: there are no web sockets, and nothing waits for a start."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower(), value) for name, value in message["headers"]]
                names = {name for name, _ in given}
                message["headers"] = given + [(name, value) for name, value in self._headers() if name not in names]
            await send(message)

        try:
            self._has_name(headers)
            self._asks_only(scope, headers)
            self._has_turn()
            await self._may(scope["state"]["place"].user, headers.get("authorization", ""))
        except Refusal as refusal:
            await refuse(refusal, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        common = {
            "content-security-policy": self._policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
        }
        if not self._frames:
            common["x-frame-options"] = "DENY"
        if self._hsts:
            common["strict-transport-security"] = self._hsts
        return [(name.encode(), value.encode()) for name, value in common.items()]

    def _has_name(self, headers: MutableMapping[str, str]) -> None:
        """A page of somebody else whose name leads here after a while (DNS rebinding) has that name still."""
        given = headers.get("host", "")
        host = (given[: given.find("]") + 1] if given.startswith("[") else given.partition(":")[0]).lower().rstrip(".")
        try:
            # An address is no name: nobody's page can have ours.
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            if host not in self._names:
                named = f"{escape(host):.100}"
                said = f"'{named}' is no name of this machine; if it is one, start `sentinel serve` with --name {named}"
                raise Refusal(421, said) from None

    def _asks_only(self, scope: Scope, headers: MutableMapping[str, str]) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            allowed = (("allow", "GET, HEAD"), ("connection", "close"))
            raise Refusal(405, "there is nothing to change here: GET and HEAD alone", allowed)
        # h11 measures a head only while it is incomplete: what comes at once may be larger.
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, chain(*scope["headers"]))) > MOST_HEAD_BYTES:
            raise Refusal(431, f"a request has at most {MOST_HEAD_BYTES} bytes", (("connection", "close"),))
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            raise Refusal(413, "a question has no body", (("connection", "close"),))

    def _has_turn(self) -> None:
        if not self._interval:
            return
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._filled) / self._interval, float(self._burst))
        self._filled = now
        if self._tokens < 1.0:
            raise Refusal(429, "more requests than rate_limit allows", (("retry-after", str(max(1, round(self._interval)))),))
        self._tokens -= 1.0

    async def _may(self, user: int, header: str) -> None:
        users = self._users
        if not users or users.remembers(header):
            return
        who = (("www-authenticate", 'Basic realm="sentinel", charset="UTF-8"'),)
        if not header:
            raise Refusal(401, "a name and a password are wanted", who)
        if self._waiting[user] >= _MOST_TRIES or self._waiting.total() >= _MOST_TRIES_IN_ALL:
            raise Refusal(503, "too many passwords are being tried", (("retry-after", "1"),))
        self._waiting[user] += 1
        try:
            async with self._turns.of(user, 0.0):
                # Of a browser's six connections the first has tried it.
                right = users.remembers(header) or await asyncio.to_thread(users.lets_in, header)
        finally:
            self._waiting[user] -= 1
            if not self._waiting[user]:
                del self._waiting[user]
        if not right:
            raise Refusal(401, "name or password is wrong", who)


async def refuse(refusal: Refusal, send: Send) -> None:
    """The refusal in the form of the daemon's own."""
    body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode() + b"\n"
    headers = [*refusal.headers, ("content-type", "application/json"), ("content-length", str(len(body)))]
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    await send({"type": "http.response.start", "status": refusal.code, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
