"""`sentinel serve` as a program of its own, and what the tests with it share."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from live import REPO, wait_for


class Answer(NamedTuple):
    """What came back."""

    code: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """As data."""
        return json.loads(self.body)


class Serving:
    """One program on a port that the kernel chose."""

    def __init__(self, folder: Path, daemon: Path, *words: str, listen: str = "127.0.0.1:0") -> None:
        self.errors = folder / "serve.stderr"
        command = [sys.executable, "-m", "sentinel", "serve", "--socket", str(daemon), "--listen", listen, *words]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, cwd=REPO)
        wait_for(self._ready, lambda: f"it serves; it said {self.said()}", 60.0)
        found = re.search(r"answers at (https?)://(.*):(\d+)/", self.said())
        assert found is not None
        self.scheme, self.port = found[1], int(found[3])

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "answers at" in self.said()

    @property
    def url(self) -> str:
        """With the slash at its end."""
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    def said(self) -> str:
        """What it printed."""
        return self.errors.read_text(encoding="utf-8", errors="replace")

    def end(self) -> int:
        """Its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        """A connection that waits twenty seconds at most."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")

    def raw(self, request: bytes, tls: ssl.SSLContext | None = None) -> Answer:
        """What comes back for these bytes, until it closes the connection or the answer is complete."""
        with self.connect(tls) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as reader:
                status = reader.readline()
                if not status:
                    return Answer(0, {}, b"")
                headers = {}
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.decode("latin-1").partition(": ")
                    headers[name.lower()] = value
                length = headers.get("content-length")
                body = (
                    b""
                    if request.startswith(b"HEAD") or b" 304 " in status
                    else reader.read(None if length is None else int(length))
                )
                return Answer(int(status.split()[1]), headers, body)

    def get(
        self,
        path: str,
        *,
        host: str = "localhost",
        who: str = "",
        method: str = "GET",
        more: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """An ordinary request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}"
        if who:
            head += f"Authorization: Basic {base64.b64encode(who.encode()).decode()}\r\n"
        return self.raw(f"{head}\r\n".encode("utf-8", "surrogateescape"), tls)
