"""journald's end of the socket: receives entries in the native protocol, datagrams and sealed memory files alike."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_BUFFER = 8 << 20
_LARGEST = 1 << 20
_INT = struct.calcsize("i")


@dataclass(frozen=True)
class Entry:
    """One alert as it arrived; `raw` distinguishes two deliveries of one transition from two transitions."""

    at: float
    rule: str
    state: str
    entity: str
    message: str
    raw: bytes


def fields(data: bytes) -> dict[str, str]:
    """Each field's first value."""
    found: dict[str, str] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = struct.unpack_from("<Q", rest)[0]
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        found.setdefault(name.decode(), value.decode("utf-8", "replace"))
        data = rest
    return found


class Journald:
    """Listens at `path` until `stop`; `vanish` and `appear` are a journald that ends and comes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.appear()

    def appear(self) -> None:
        """Begin to listen."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(str(self.path))
        self.path.chmod(0o666)
        self._thread = threading.Thread(target=self._receive, args=(self._socket,), daemon=True)
        self._thread.start()

    def vanish(self) -> None:
        """End; what was sent is kept."""
        self.path.unlink(missing_ok=True)
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
            assert self._thread is not None
            self._thread.join(5)
            self._socket.close()
            self._socket = None

    def _receive(self, sock: socket.socket) -> None:
        while True:
            try:
                data, ancillary, _, _ = sock.recvmsg(_LARGEST, socket.CMSG_SPACE(_INT))
            except OSError:
                return
            for _, kind, payload in ancillary:
                if kind == socket.SCM_RIGHTS:
                    descriptors = array.array("i", payload[:_INT])
                    with os.fdopen(descriptors[0], "rb") as file:
                        file.seek(0)
                        data = file.read()
            if not data:
                return
            found = fields(data)
            if "SENTINEL_RULE" in found:
                entity = found["SENTINEL_ENTITY"].partition(":")[2]
                self.entries.append(
                    Entry(time.monotonic(), found["SENTINEL_RULE"], found["SENTINEL_STATE"], entity, found["MESSAGE"], data)
                )

    def of(self, rule: str, entity: str = "") -> list[Entry]:
        """Entries of a rule, of one entity if it is given."""
        return [e for e in list(self.entries) if e.rule == rule and entity in ("", e.entity)]
