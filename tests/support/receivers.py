"""Receivers of our own for what `sentinel notify` sends: HTTP with every bad habit, and mail."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Got:
    """One request that was answered or not."""

    path: str
    headers: dict[str, str]
    body: Any
    at: float


class HttpReceiver:
    """An HTTP server on the loopback. `mode`: ok, 500, hang (takes the request and says nothing), drop (takes it and closes)."""

    def __init__(self) -> None:
        self.mode = "ok"
        #: answered with 2xx
        self.taken: list[Got] = []
        #: everything that arrived
        self.seen: list[Got] = []
        self.headers: dict[str, str] = {}
        #: what has this in it is answered with that
        self.refuses, self.refusal = "", 400
        self.port = 0
        self._server: http.server.ThreadingHTTPServer | None = None
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, on the same port as before."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        server.daemon_threads = True
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def keys(self) -> list[str]:
        """The keys of what was taken."""
        return [got.headers.get("Idempotency-Key", "") for got in self.taken]

    def alerts(self) -> list[tuple[str, str]]:
        """Rule and state of every alert that was taken, each message once."""
        messages = {got.body["key"]: got.body for got in self.taken}
        return [(alert["entity"]["name"], alert["state"]) for body in messages.values() for alert in body["alerts"]]


def _handler(owner: HttpReceiver) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            got = Got(self.path, dict(self.headers.items()), _json(data), time.monotonic())
            owner.seen.append(got)
            if owner.mode == "hang":
                owner.release.wait(60)
                return
            if owner.mode == "drip":
                with contextlib.suppress(OSError):
                    for char in "HTTP/1.1 200 O" * 100:
                        self.wfile.write(char.encode())
                        self.wfile.flush()
                        if owner.release.wait(0.2):
                            return
                return
            if owner.mode == "drop":
                self.close_connection = True
                return
            status = 200 if owner.mode == "ok" else int(owner.mode)
            if owner.refuses and owner.refuses.encode() in data:
                status = owner.refusal
            if status == 200:
                owner.taken.append(got)
            self.send_response(status)
            for name, value in owner.headers.items():
                self.send_header(name, value)
            # What a careless receiver does: it repeats what it was sent.
            said = b"" if status == 200 else f"refused {self.path} {self.headers.get('Authorization')}".encode()
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


@contextlib.contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """One that listens, while the block lasts."""
    one = HttpReceiver()
    one.up()
    try:
        yield one
    finally:
        one.release.set()
        one.down()


@dataclass
class MailReceiver:
    """An SMTP server on the loopback that takes everything (RFC 5321, as little as a client needs)."""

    port: int
    mails: list[str] = field(default_factory=list)


class _Smtp(socketserver.StreamRequestHandler):
    mails: list[str]

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while raw := self.rfile.readline():
            verb = raw[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-sink\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line)
                self.mails.append(b"".join(lines).decode("utf-8", "replace"))
                self.wfile.write(b"250 taken\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


@contextlib.contextmanager
def mail_receiver() -> Iterator[MailReceiver]:
    """One that listens, while the block lasts."""
    mails: list[str] = []
    handler = type("Handler", (_Smtp,), {"mails": mails})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield MailReceiver(server.server_address[1], mails)
        server.shutdown()
