"""Client of a running daemon: small and synchronous, for the command line, on http.client only."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sentinel.model.fault import Fault

SERVICE_SOCKET = Path("/run/sentinel/sentinel.sock")
#: An answer takes milliseconds; a daemon that takes longer than this hangs, and an error helps more than waiting.
_ANSWER_SECONDS = 10.0
#: Loading the rules takes one second on an idle processor.
_CHANGE_SECONDS = 60.0
#: The server sends a keep-alive every 15 seconds: two missing ones mean that it is gone.
_STREAM_SECONDS = 40.0
_PIECE_BYTES = 64 * 1024


class DaemonUnreachable(Fault):
    """The daemon did not answer."""


def default_socket_paths(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Socket paths in the order to try: only SENTINEL_SOCKET if it is set; else the user's own, then the service's.

    A user's own daemon listens in XDG_RUNTIME_DIR, or without it (a login by su or cron) in its state folder.
    """
    if named := environ.get("SENTINEL_SOCKET"):
        return (Path(named),)
    folders = (environ.get("XDG_RUNTIME_DIR", ""), environ.get("XDG_STATE_HOME", ""), f"{environ.get('HOME', '')}/.local/state")
    own = (Path(folder) / "sentinel" / "sentinel.sock" for folder in folders if folder.startswith("/"))
    return (*(path for path in own if path.exists()), SERVICE_SOCKET)


def get(path: str, sockets: Sequence[Path] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object for a path such as ``/v1/status``. Raises DaemonUnreachable."""
    return _ask("GET", path, sockets)


def post(path: str, body: Mapping[str, Any] | None = None, sockets: Sequence[Path] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object after a change such as ``/v1/reload``. Raises DaemonUnreachable."""
    return _ask("POST", path, sockets, json.dumps(body or {}).encode(), _CHANGE_SECONDS)


def report(path: str, body: Mapping[str, Any], sockets: Sequence[Path] | None, seconds: float) -> tuple[int, dict[str, Any]]:
    """As `post`, for what must not keep anybody waiting longer than this. Raises DaemonUnreachable."""
    return _ask("POST", path, sockets, json.dumps(body).encode(), seconds)


def delete(path: str, sockets: Sequence[Path] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and JSON object after a deletion such as of ``/v1/silences/3``. Raises DaemonUnreachable."""
    return _ask("DELETE", path, sockets)


def fetch(path: str, write: Callable[[bytes], object], sockets: Sequence[Path] | None = None) -> tuple[int, dict[str, Any]]:
    """Status code and, if that is not 200, the JSON object. A binary answer is passed to `write` in chunks.

    Raises DaemonUnreachable, also if the connection ends in the middle; exceptions of `write` propagate.
    """
    connection = _connect(sockets, _ANSWER_SECONDS)
    try:
        try:
            response = connection.request_answer("GET", path, None)
            if response.status != 200:
                answer = json.loads(response.read())
                return response.status, answer if isinstance(answer, dict) else {}
            left = int(response.headers["Content-Length"] or 0)
        except (*_TROUBLE, TypeError) as error:
            raise _unreachable(connection.path, error) from error
        while left > 0:
            try:
                piece = response.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise http.client.IncompleteRead(b"", left)
            except _TROUBLE as error:
                raise _unreachable(connection.path, error) from error
            left -= len(piece)
            write(piece)
        return response.status, {}
    finally:
        connection.close()


class Stream:
    """Events as they happen. A new Stream with the `last_event_id` of an ended one resumes there without loss."""

    def __init__(self, sockets: Sequence[Path] | None = None, last_event_id: str = "", path: str = "/v1/events") -> None:
        self.last_event_id = last_event_id
        self._sockets = sockets
        self._path = path

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Event names and their JSON objects, until the daemon ends the stream. Raises DaemonUnreachable."""
        for event, data, number in _stream(self._path, self._sockets, self.last_event_id):
            self.last_event_id = number or self.last_event_id
            yield event, data


def _stream(path: str, sockets: Sequence[Path] | None, last_event_id: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    connection = _connect(sockets, _STREAM_SECONDS)
    try:
        with connection.request_answer("GET", path, None, {"Last-Event-ID": last_event_id} if last_event_id else {}) as response:
            if response.status != 200:
                raise DaemonUnreachable(_refused(connection.path, path, response))
            yield from _events(response)
    except _TROUBLE as error:
        raise _unreachable(connection.path, error) from error
    finally:
        connection.close()


def _refused(socket_path: Path, path: str, response: http.client.HTTPResponse) -> str:
    """The message of a refusal, with the daemon's own sentence, which names the remedy."""
    try:
        said = str(json.loads(response.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        said = f"status {response.status}"
    return f"the daemon at {socket_path} refuses {path}: {said}"


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any], str]]:
    event, number = "", ""
    for raw in response:
        name, _, value = raw.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
        if name == "id":
            number = value
        elif name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value), number
            number = ""


class _UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))

    def request_answer(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> http.client.HTTPResponse:
        self.request(method, path, body, {**headers, "Content-Type": "application/json"} if body is not None else headers)
        return self.getresponse()


#: OSError: the socket; HTTPException: not HTTP; ValueError: not JSON, or not a usable path.
_TROUBLE = (OSError, http.client.HTTPException, ValueError)


def _ask(
    method: str, path: str, sockets: Sequence[Path] | None, body: bytes | None = None, seconds: float = _ANSWER_SECONDS
) -> tuple[int, dict[str, Any]]:
    connection = _connect(sockets, seconds)
    try:
        response = connection.request_answer(method, path, body)
        answer = json.loads(response.read())
    except _TROUBLE as error:
        raise _unreachable(connection.path, error) from error
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise DaemonUnreachable(f"what answers at {connection.path} is not sentinel", "set SENTINEL_SOCKET to its socket")
    return response.status, answer


def _connect(sockets: Sequence[Path] | None, timeout: float) -> _UnixConnection:
    """Connect to the first socket with a listener. Raises the first error other than a missing or dead daemon."""
    paths = default_socket_paths() if sockets is None else sockets
    failed: DaemonUnreachable | None = None
    tried: list[str] = []
    for path in paths:
        connection = _UnixConnection(path, timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            tried.append(str(path))
            failed = _unreachable(path, error, " or ".join(tried))
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                break
        else:
            return connection
    raise failed or DaemonUnreachable("no socket to ask", "set SENTINEL_SOCKET to the daemon's")


def _unreachable(path: Path, error: Exception, tried: str = "") -> DaemonUnreachable:
    match error:
        case FileNotFoundError():
            why, remedy = f"no daemon at {tried or path}", "start it with `sentinel run` or `systemctl start sentinel`"
        case PermissionError():
            why, remedy = f"may not open {path}", "join the group sentinel (sudo usermod -aG sentinel $USER) and log in again"
        case ConnectionRefusedError():
            why = f"the daemon that made {path} is gone"
            remedy = "start it again with `sentinel run` or `systemctl start sentinel`"
        case TimeoutError():
            why, remedy = f"the daemon at {path} does not answer", "look at `journalctl -u sentinel`"
        case http.client.HTTPException() | ValueError():
            why = f"what answers at {path} is not sentinel ({type(error).__name__})"
            remedy = "set SENTINEL_SOCKET to its socket"
        case _:
            why, remedy = f"cannot ask the daemon at {path}: {error}", ""
    return DaemonUnreachable(why, remedy)
