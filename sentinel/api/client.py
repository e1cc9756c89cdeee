"""Client of a running daemon: small and synchronous, for the command line.

It speaks HTTP/1.0, so an answer ends with its length or with the connection, and no library is needed: http.client costs a
command 25 ms of processor time, as much as all the rest of `sentinel status`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sentinel.model.fault import Fault

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

SERVICE_SOCKET = "/run/sentinel/sentinel.sock"
#: An answer takes milliseconds; a daemon that takes longer than this hangs, and an error helps more than waiting.
_ANSWER_SECONDS = 10.0
#: Loading the rules takes one second on an idle processor.
_CHANGE_SECONDS = 60.0
#: The server sends a keep-alive every 15 seconds: two missing ones mean that it is gone.
_STREAM_SECONDS = 40.0
_PIECE_BYTES = 64 * 1024
#: Bytes of a line of the head, and lines: what answers at a path may be anything.
_LINE_BYTES, _MOST_LINES = 8 * 1024, 100


class DaemonUnreachable(Fault):
    """The daemon did not answer."""


class NotHttp(ValueError):
    """What answers does not speak HTTP."""


def socket_paths(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Socket paths in the order to try: only SENTINEL_SOCKET if it is set; else the user's own, then the service's.

    A user's own daemon listens in XDG_RUNTIME_DIR, or without it (a login by su or cron) in its state folder.
    """
    if named := environ.get("SENTINEL_SOCKET"):
        return (named,)
    folders = (environ.get("XDG_RUNTIME_DIR", ""), environ.get("XDG_STATE_HOME", ""), f"{environ.get('HOME', '')}/.local/state")
    own = (os.path.join(folder, "sentinel", "sentinel.sock") for folder in folders if folder.startswith("/"))  # noqa: PTH118
    return (*(path for path in own if os.path.exists(path)), SERVICE_SOCKET)  # noqa: PTH110


def get(path: str, sockets: Sequence[Path | str] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object for a path such as ``/v1/status``. Raises DaemonUnreachable."""
    return _ask("GET", path, sockets)


def post(
    path: str, body: Mapping[str, Any] | None = None, sockets: Sequence[Path | str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object after a change such as ``/v1/reload``. Raises DaemonUnreachable."""
    return _ask("POST", path, sockets, json.dumps(body or {}).encode(), _CHANGE_SECONDS)


def report(
    path: str, body: Mapping[str, Any], sockets: Sequence[Path | str] | None, seconds: float
) -> tuple[int, dict[str, Any]]:
    """As `post`, for what must not keep anybody waiting longer than this. Raises DaemonUnreachable."""
    return _ask("POST", path, sockets, json.dumps(body).encode(), seconds)


def delete(path: str, sockets: Sequence[Path | str] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object after a deletion such as of ``/v1/silences/3``. Raises DaemonUnreachable."""
    return _ask("DELETE", path, sockets)


def fetch(path: str, write: Callable[[bytes], object], sockets: Sequence[Path | str] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and, if that is not 200, the JSON object. A binary answer is passed to `write` in chunks.

    Raises DaemonUnreachable, also if the connection ends in the middle; exceptions of `write` propagate.
    """
    with _Connection(sockets, _ANSWER_SECONDS) as connection:
        try:
            status = connection.ask("GET", path)
            if status != 200:
                answer = json.loads(connection.body())
                return status, answer if isinstance(answer, dict) else {}
            left = connection.length or 0
        except _TROUBLE as error:
            raise _unreachable(connection.path, error) from error
        while left > 0:
            try:
                piece = connection.reader.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise NotHttp("the answer is not complete")
            except _TROUBLE as error:
                raise _unreachable(connection.path, error) from error
            left -= len(piece)
            write(piece)
        return status, {}


def refusal(status: int, answer: Mapping[str, Any]) -> str:
    """What the daemon says where it does not answer 200: its own sentence names the remedy."""
    error = answer.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return str(said or f"the daemon answered {status}")


class Stream:
    """Events as they happen. A new Stream with the `last_event_id` of an ended one resumes there without loss."""

    def __init__(self, sockets: Sequence[Path | str] | None = None, last_event_id: str = "", path: str = "/v1/events") -> None:
        self.last_event_id = last_event_id
        self._sockets = sockets
        self._path = path
        self._connection: _Connection | None = None
        self._closed = False

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Event names and their JSON objects, until the daemon ends the stream. Raises DaemonUnreachable."""
        with _Connection(self._sockets, _STREAM_SECONDS) as connection:
            self._connection = connection
            headers = (f"Last-Event-ID: {self.last_event_id}",) if self.last_event_id else ()
            try:
                status = connection.ask("GET", self._path, headers=headers)
                if status != 200:
                    raise DaemonUnreachable(_refused(connection, self._path, status))
                if self._closed:
                    return
                for event, data, number in _events(connection.reader):
                    self.last_event_id = number or self.last_event_id
                    yield event, data
            except _TROUBLE as error:
                raise _unreachable(connection.path, error) from error
            finally:
                self._connection = None

    def close(self) -> None:
        """End it from another thread: who reads it comes to its end."""
        self._closed = True
        if (connection := self._connection) is not None:
            connection.shut()


def _refused(connection: _Connection, path: str, status: int) -> str:
    """The message of a refusal, with the daemon's own sentence, which names the remedy."""
    try:
        said = str(json.loads(connection.body())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = f"status {status}"
    return f"the daemon at {connection.path} refuses {path}: {said}"


def _events(lines: BufferedReader) -> Iterator[tuple[str, dict[str, Any], str]]:
    event, number = "", ""
    for raw in lines:
        name, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
        if name == "id":
            number = value
        elif name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value), number
            number = ""


class _Connection:
    """One question and its answer on the first socket with a listener. Raises DaemonUnreachable if there is none."""

    def __init__(self, sockets: Sequence[Path | str] | None, seconds: float) -> None:
        self.path, self._socket = _connect(sockets, seconds)
        self.reader: BufferedReader = self._socket.makefile("rb")
        #: bytes of the body, if the answer says so
        self.length: int | None = None

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self._socket.close()

    def shut(self) -> None:
        """Whoever reads or writes comes to the end, on any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Sequence[str] = ()) -> int:
        """Send the request and read the head of the answer; returns the status. Raises OSError and NotHttp."""
        if not path.isascii() or any(char <= " " for char in path + "".join(headers).replace(": ", "")):
            raise ValueError(f"{path!r} is no path")
        head = [f"{method} {path} HTTP/1.0", "Host: localhost", *headers]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self._socket.sendall("\r\n".join((*head, "", "")).encode() + (body or b""))
        version, status, *_ = (*self._line().split(" ", 2), "", "")
        if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
            raise NotHttp("no status line")
        for _ in range(_MOST_LINES):
            name, _, value = self._line().partition(":")
            if not name:
                return int(status)
            if name.lower() == "content-length":
                self.length = int(value)
        raise NotHttp("the head does not end")

    def _line(self) -> str:
        raw = self.reader.readline(_LINE_BYTES)
        if not raw.endswith(b"\n"):
            raise NotHttp("the head is cut off")
        return raw.decode("latin-1").rstrip("\r\n")

    def body(self) -> bytes:
        """The whole body. Raises OSError and NotHttp."""
        data = self.reader.read(-1 if self.length is None else self.length)
        if self.length is not None and len(data) < self.length:
            raise NotHttp("the answer is not complete")
        return data


#: OSError: the socket; ValueError: not HTTP, not JSON, or not a usable path.
_TROUBLE = (OSError, ValueError)


def _ask(
    method: str, path: str, sockets: Sequence[Path | str] | None, body: bytes | None = None, seconds: float = _ANSWER_SECONDS
) -> tuple[int, dict[str, Any]]:
    with _Connection(sockets, seconds) as connection:
        try:
            status = connection.ask(method, path, body)
            answer = json.loads(connection.body())
        except _TROUBLE as error:
            raise _unreachable(connection.path, error) from error
    if not isinstance(answer, dict):
        raise DaemonUnreachable(f"what answers at {connection.path} is not sentinel", "set SENTINEL_SOCKET to its socket")
    return status, answer


def _connect(sockets: Sequence[Path | str] | None, timeout: float) -> tuple[str, socket.socket]:
    """The first socket with a listener. Raises the first error other than a missing or dead daemon."""
    failed: DaemonUnreachable | None = None
    tried: list[str] = []
    for path in map(str, socket_paths() if sockets is None else sockets):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Not `settimeout` yet: with that a full queue of the listener is an error at once, not a wait (unix(7)).
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(timeout), round(timeout % 1 * 1e6))
            )
            connection.connect(path)
            connection.settimeout(timeout)
        except OSError as error:
            connection.close()
            tried.append(path)
            failed = _unreachable(path, error, " or ".join(tried))
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                break
        else:
            return path, connection
    raise failed or DaemonUnreachable("no socket to ask", "set SENTINEL_SOCKET to the daemon's")


def _unreachable(path: str, error: Exception, tried: str = "") -> DaemonUnreachable:
    match error:
        case FileNotFoundError():
            why, remedy = f"no daemon at {tried or path}", "start it with `sentinel run` or `systemctl start sentinel`"
        case PermissionError():
            why, remedy = f"may not open {path}", "join the group sentinel (sudo usermod -aG sentinel $USER) and log in again"
        case ConnectionRefusedError():
            why = f"the daemon that made {path} is gone"
            remedy = "start it again with `sentinel run` or `systemctl start sentinel`"
        # The latter: there was no room in the listener's queue in time.
        case TimeoutError() | BlockingIOError():
            why, remedy = f"the daemon at {path} does not answer", "look at `journalctl -u sentinel`"
        case ValueError():
            why = f"what answers at {path} is not sentinel ({type(error).__name__})"
            remedy = "set SENTINEL_SOCKET to its socket"
        case _:
            why, remedy = f"cannot ask the daemon at {path}: {error}", ""
    return DaemonUnreachable(why, remedy)
