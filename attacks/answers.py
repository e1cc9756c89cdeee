"""What an attacker's servers answer when they are asked over HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

from attacks.ground import ATTACKER, ground
from attacks.outcome import Attack


def large_answers(*, short: bool) -> Attack:
    """Servers that answer every question with a megabyte of empty lists."""
    count = 20 if short else 60
    body = b"[" + b"[]," * ((1 << 20) // 3 - 10) + b"[]]"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def talk(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                asker, _ = listener.accept()
                with asker, contextlib.suppress(OSError):
                    asker.settimeout(5)
                    asker.recv(65536)
                    asker.sendall(answer)

    with (
        ground(f"{count} servers, each with a port of its own, that answer every question with 1 MiB of empty lists") as here,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(count):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            os.fchown(listener.fileno(), ATTACKER, ATTACKER)
            threading.Thread(target=talk, args=(listener,), daemon=True).start()
            here.server("--port", str(listener.getsockname()[1]), pass_fds=(listener.fileno(),))
        here.endure(10 if short else 20)
        servers = (here.daemon.get("/v1/status") or {}).get("servers", [])
        here.row.expect(len(servers) > count, f"{len(servers)} of {count + 1} servers are in the status")
    return here.row
