"""Binds, builds the site and what stands before it, runs both until a signal, and takes a changed file into use."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio.to_thread
import uvicorn

from sentinel.model.problem import ConfigError, Problem
from sentinel.web.answers import Answers
from sentinel.web.app import Site
from sentinel.web.config import WebConfig, load
from sentinel.web.gate import MOST_HEAD_BYTES, Gate
from sentinel.web.server import Connection, Server, context

#: Threads that ask the daemon and write pages: it answers one question at a time.
_THREADS = 4
#: Connections that wait to be accepted; the kernel drops what is beyond, and the client tries again after 1, 3 and 7 s.
_BACKLOG = 1024
#: What may pass by itself: another program has the port, the machine does not have the address yet, or no name server answers.
_PASSES = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, socket.EAI_AGAIN}
_PAUSE = 5.0
#: Says something in the journal, with its level.
Log = Callable[[int, str], None]


class CannotServe(Exception):
    """One sentence for the user."""


def check_files(config: WebConfig) -> ssl.SSLContext | None:
    """What TLS needs is there and fits together. Raises ConfigError."""
    if config.tls is None:
        return None
    try:
        return context(config.tls)
    except (OSError, ValueError) as error:
        at = "key" if isinstance(error, ValueError) and not isinstance(error, OSError) else "certificate, key or CA"
        what = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        named = error.filename if isinstance(error, OSError) and error.filename else ""
        said = what or getattr(error, "reason", None) or str(error)
        where = f"{named} " if named else f"{config.tls.cert}, {config.tls.key}: the {at} "
        raise ConfigError([Problem(str(config.files[0]), "tls_server_config", f"{where}cannot be used: {said}")]) from error


class Current:
    """The file as it is now: looked at every five seconds, so that a certificate may be renewed. A mistake changes nothing."""

    def __init__(self, file: Path | None, config: WebConfig, log: Log) -> None:
        self._file = file
        self._log = log
        self.config = config
        self.tls = check_files(config)
        self._seen = self._stamps()

    def look(self) -> bool:
        """Whether something changed."""
        stamps = self._stamps()
        if self._file is None or stamps == self._seen:
            return False
        self._seen = stamps
        try:
            config = load(self._file)
            tls = check_files(config)
        except ConfigError as error:
            for problem in error.problems:
                self._log(4, f"{problem}; what was read before holds")
            return False
        if (config.tls is None) != (self.config.tls is None) or (self.config.authenticates and not config.authenticates):
            self._log(4, f"{self._file}: TLS and authentication begin and end with a restart; what was read before holds")
            return False
        self.config, self.tls = config, tls
        self._seen = self._stamps()
        self._log(6, f"{self._file} is in use as it is now")
        return True

    def _stamps(self) -> list[tuple[str, int, int]]:
        found = []
        for path in {*self.config.files, *([self._file] if self._file else [])}:
            try:
                status = path.stat()
                found.append((str(path), status.st_mtime_ns, status.st_ino))
            except OSError:
                found.append((str(path), 0, 0))
        return sorted(found)


def run(
    address: tuple[str, int], file: Path | None, config: WebConfig, *, names: Sequence[str], frames: Sequence[str], host: str,
    sockets: Sequence[str] | None, log: Log, patient: bool,
) -> None:  # fmt: skip
    """Until SIGTERM or SIGINT. Raises CannotServe. Patient: waits for an address that it cannot have yet."""
    listener = _listen_patiently(*address, log) if patient else _listen(*address)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    current = Current(file, config, log)

    async def serve() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        site = Site(Answers(sockets), host)
        gate = Gate(site.app(), config, names, frames)
        settings = uvicorn.Config(
            gate, http=Connection, ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, h11_max_incomplete_event_size=MOST_HEAD_BYTES, timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )  # fmt: skip

        def tick() -> None:
            if current.look():
                gate.use(current.config)

        def tls() -> tuple[ssl.SSLContext, frozenset[str]] | None:
            wanted = current.config.tls
            return None if current.tls is None or wanted is None else (current.tls, wanted.sans)

        server = Server(settings, tls=tls, tick=tick, ending=site.close)
        at = listener.getsockname()
        shown = f"[{at[0]}]:{at[1]}" if ":" in at[0] else f"{at[0]}:{at[1]}"
        log(6, f"answers at {'http' if config.tls is None else 'https'}://{shown}/")
        await server.serve([listener])

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with contextlib.suppress(_Stopped):
        asyncio.run(serve())


class _Stopped(BaseException):
    """A signal wants the end. uvicorn takes signals while it serves, and raises them again when it is done."""


def _stop(*_: object) -> None:
    raise _Stopped


def _listen_patiently(host: str, port: int, log: Log) -> socket.socket:
    """Said once. A start by systemd every five seconds would fill the journal: six lines each."""
    told = False
    while True:
        try:
            return _listen(host, port)
        except CannotServe as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in _PASSES:
                raise
            if not told:
                log(3, f"{error}; it is tried every {_PAUSE:g} s until it works")
            told = True
        time.sleep(_PAUSE)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise CannotServe(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --listen"
        ) from error
    return listener
