"""The bounded log of `sentinel exec`: one file and the one before it. Its faults never reach the server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

#: Bytes of one file; with the one before it twice that is kept. A start at full verbosity prints some 100 KB.
LIMIT = 16 << 20


class KeptLog:
    """Appends bytes to a file of the user's own; at `limit` bytes it becomes ``FILE.1`` and a new one begins, after a line."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self.path = path
        #: why nothing is kept; a sentence
        self.fault = ""
        self._limit = limit
        self._size = 0
        self._fd = -1
        #: what was written ends with a line's end
        self._whole = True
        self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._fd = os.open(self.path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.fault = f"what the server prints is not kept in {self.path}: {error.strerror}"
        self.close()

    def write(self, data: bytes) -> None:
        """Append. A full disk ends the keeping, not the server."""
        if self._fd < 0:
            return
        room = self._limit - self._size
        if len(data) > room and self._size:
            end = data.rfind(b"\n", 0, max(room, 0)) + 1
            if not end and not self._whole:
                # In the midst of a line, which is not torn apart unless it never ends.
                end = data.find(b"\n") + 1 or (len(data) if self._size > 2 * self._limit else 0)
            if end or self._whole:
                self._append(data[:end])
                self._rotate()
                data = data[end:]
        self._append(data)
        self._whole = data.endswith(b"\n") if data else self._whole

    def _append(self, data: bytes) -> None:
        while data and self._fd >= 0:
            try:
                done = os.write(self._fd, data)
            except OSError as error:
                self._fail(error)
                return
            self._size += done
            data = data[done:]

    def _rotate(self) -> None:
        if self._fd < 0:
            return
        try:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        except OSError as error:
            self._fail(error)
            return
        self.close()
        self._open()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def usual_place(command: list[str], environ: Mapping[str, str]) -> Path:
    """Where a server's log goes if nothing else is said: by program and port, so that two servers never share one.

    A unit's own folder (``LogsDirectory=``) if it has one, else the user's state folder.
    """
    folder = environ.get("LOGS_DIRECTORY", "").split(":")[0]
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "/")
    place = Path(folder) if folder else Path(state if state.startswith("/") else f"{home}/.local/state") / "sentinel/servers"
    return place / f"{Path(command[0]).name[:60]}{_port(command, environ)}.log"


def _port(command: list[str], environ: Mapping[str, str]) -> str:
    port = environ.get("LLAMA_ARG_PORT", "")
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == "--port":
            port = following
        elif word.startswith("--port="):
            port = word.removeprefix("--port=")
    return f"-{port}" if port.isascii() and port.isdigit() and len(port) < 6 else ""
