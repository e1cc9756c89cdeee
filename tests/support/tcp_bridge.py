"""A loopback port in front of a unix socket, for tools that speak TCP alone. Bytes go through as they are."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def bridge(path: Path) -> Iterator[int]:
    """The port, while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, path: Path) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        daemon = socket.socket(socket.AF_UNIX)
        try:
            daemon.connect(str(path))
        except OSError:
            client.close()
            continue
        for source, target in ((client, daemon), (daemon, client)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
