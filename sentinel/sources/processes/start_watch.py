"""Sees starts that are over before the next scan.

A missing model or a port in use ends llama-server within 0.1 to 0.2 s, a missing library within half a millisecond, and /proc is
scanned once a second. Where the kernel reports starts, a program of its own looks at them (sources/look.py), and a thread makes
servers of what that has seen, which takes 10 to 50 ms for each. Elsewhere the thread looks itself as soon as a known program is
opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Protocol

from sentinel.sources import look
from sentinel.sources.base import NotHere
from sentinel.sources.fs import Roots
from sentinel.sources.processes.proc_events import ProcEvents
from sentinel.sources.processes.program_files import ProgramFiles
from sentinel.sources.processes.short_slice import run_at_once

#: Looks at /proc after a program was opened, seconds apart: exec(2) replaces the process within a millisecond, as a rule.
_LOOKS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)
#: What the program has seen waits here while the thread describes a server: a hundred starts. Bytes, the most that Linux gives.
_PIPE = 1 << 20
#: Before the program is started again that somebody has ended. Seconds.
_PAUSE = 1.0


class Catching(Protocol):
    """What finds the servers. Called on the watching thread."""

    @property
    def roots(self) -> Roots:
        """Where /proc is."""

    def catch(self, pids: Iterable[int] | None) -> bool:
        """Look at these processes now, or at all that are new; whether one is a server."""

    def take(self, pid: int, kept: look.ProcessReads) -> bool:
        """What was seen of a process as it started; whether it is a server."""

    def ended(self, pid: int, code: int) -> bool:
        """How a process ended, as wait(2) has it; whether it was a server."""

    def wanted(self) -> tuple[frozenset[str], frozenset[int]]:
        """Programs that are servers whatever they are called, and processes whose ends are waited for."""


class StartWatch:
    """Runs until `close`. `wake` is called on its thread when there is news; `how` and `why` say what is watched."""

    def __init__(self, servers: Catching, wake: Callable[[], None]) -> None:
        self.how = "events"
        self.why = ""
        #: whether a start from now on is seen: the program that looks takes some 50 ms to begin
        self.ready = False
        #: what ended the thread; None while it runs
        self.bug: Exception | None = None
        self._servers = servers
        self._wake = wake
        self._looker: LookProgram | None = None
        self._files: ProgramFiles | None = None
        self._stop, self._stopped = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._looker = LookProgram(servers.roots)
        except NotHere as absent:
            self.why = str(absent)
            try:
                self._files = ProgramFiles()
                self.how, self.ready = "files", True
            except NotHere as neither:
                self.how, self.why = "nothing", f"{absent}; {neither}"
        self._thread = threading.Thread(target=self._run, name="starts", daemon=True)

    def start(self, programs: Iterable[str] = ()) -> None:
        """Begin to watch. `programs` are files that may be started."""
        self.learn(programs)
        if self.how != "nothing":
            self._thread.start()

    def learn(self, programs: Iterable[str]) -> None:
        """More programs, where their files are watched; and the servers that there are."""
        if self._files is not None:
            for path in programs:
                self._files.add(path)
        if self._looker is not None:
            self._looker.ask(*self._servers.wanted())

    def _run(self) -> None:
        try:
            if self._looker is not None:
                self._hear(self._looker)
            elif self._files is not None:
                self._watch(self._files)
        # Any exception: a bug, which the daemon raises on its own thread (daemon/starts.py).
        except Exception as error:
            self.bug = error
            self._wake()

    def _hear(self, looker: LookProgram) -> None:
        while True:
            waits: list[int | LookProgram] = [self._stop, looker]
            ready, _, _ = select.select(waits, [], [])
            if self._stop in ready:
                return
            if not looker.read():
                # Somebody has ended it: whoever frees memory, for example.
                if select.select([self._stop], [], [], _PAUSE)[0]:
                    return
                looker.again()
            news = False
            for what, pid, *rest in looker.seen():
                if what == "ready":
                    self.ready = True
                elif what == "start":
                    news = self._servers.take(pid, (rest[0], rest[1], rest[2])) or news
                else:
                    news = self._servers.ended(pid, rest[0]) or news
            if news:
                self._wake()

    def _watch(self, files: ProgramFiles) -> None:
        run_at_once()
        waits: list[int | ProgramFiles] = [self._stop, files]
        while True:
            ready, _, _ = select.select(waits, [], [])
            if self._stop in ready:
                return
            if files.read() and self._look():
                self._wake()

    def _look(self) -> bool:
        for pause in _LOOKS:
            time.sleep(pause)
            if self._servers.catch(None):
                return True
        return False

    def close(self) -> None:
        """End the thread."""
        os.write(self._stopped, b"x")
        if self._thread.is_alive():
            self._thread.join(2.0)
        for one in (self._looker, self._files):
            if one is not None:
                one.close()
        os.close(self._stop)
        os.close(self._stopped)


class LookProgram:
    """The program of sources/look.py. Raises NotHere where the kernel reports no starts, or no program can be started.

    Asked by the daemon's thread, heard and started again by the watching one.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._lock = threading.Lock()
        self._held = bytearray()
        self._wanted: tuple[frozenset[str], frozenset[int]] = (frozenset(), frozenset())
        #: what it is being asked
        self._rest = b""
        self._process = self._begun()

    def _begun(self) -> subprocess.Popen[bytes]:
        events = ProcEvents()
        try:
            process = self._started(events.fileno())
        except OSError as error:
            raise NotHere(f"the program that looks at starts cannot be started ({error.strerror})") from error
        finally:
            events.close()
        # Refused to whoever has a great many pipes: then it holds fewer starts.
        with contextlib.suppress(OSError):
            fcntl.fcntl(_descriptor(process.stdout), fcntl.F_SETPIPE_SZ, _PIPE)
        # It may hang, and whoever asks it must not.
        os.set_blocking(_descriptor(process.stdin), False)
        return process

    def _started(self, events: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-I", "-S", "-X", "no_debug_ranges", look.__file__, str(self._roots.proc), str(events)]

        def start() -> subprocess.Popen[bytes]:
            # It has what the thread has that starts it.
            run_at_once()
            # In a session of its own: an interrupt at the daemon's terminal is for the daemon.
            return subprocess.Popen(
                words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(events,), start_new_session=True
            )

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(start).result()

    def again(self) -> None:
        """Start it again."""
        self.close()
        with self._lock:
            self._held.clear()
            self._rest = look.frame(*map(tuple, self._wanted))
            self._process = self._begun()

    def ask(self, programs: frozenset[str], pids: frozenset[int]) -> None:
        """What to look for. Where it does not take that now, it gets it with the next call."""
        with self._lock, contextlib.suppress(BlockingIOError, BrokenPipeError):
            if not self._rest and (programs, pids) != self._wanted:
                self._wanted = programs, pids
                self._rest = look.frame(*map(tuple, self._wanted))
            if self._rest:
                self._rest = self._rest[os.write(_descriptor(self._process.stdin), self._rest) :]

    def read(self) -> bool:
        """What has come; False if it has ended."""
        part = os.read(self.fileno(), _PIPE)
        self._held += part
        return bool(part)

    def seen(self) -> Iterable[tuple[Any, ...]]:
        """What has come whole."""
        return look.frames(self._held)

    def fileno(self) -> int:
        """For select(2)."""
        return _descriptor(self._process.stdout)

    def close(self) -> None:
        """End it."""
        with self._lock, self._process as process:
            process.kill()


def _descriptor(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()
