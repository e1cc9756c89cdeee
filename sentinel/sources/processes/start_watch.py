"""Sees starts that are over before the next scan.

A missing model or a port in use ends llama-server within 0.1 to 0.2 s, a missing library within half a millisecond, and /proc is
scanned once a second. Where the kernel reports starts, a thread looks at them: of those of half a millisecond it sees eight of
ten on a busy machine. What fails is tried again, so once a server was started a program of its own looks (sources/look.py), which
misses none, until none was started for two minutes: at rest its 4 MB are spared. The thread then makes servers of what that has
seen, which takes 10 to 50 ms for each. Where the kernel reports nothing, it looks as soon as a known program is opened.
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
from sentinel.sources.processes.proc_events import ProcessEnded, ProcessExeced, ProcEvents
from sentinel.sources.processes.program_files import ProgramFiles
from sentinel.sources.processes.short_slice import run_at_once

#: Looks at /proc after a program was opened, seconds apart: exec(2) replaces the process within a millisecond, as a rule.
_LOOKS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)
#: What the program has seen waits here while the thread describes a server: a hundred starts. Bytes, the most that Linux gives.
_PIPE = 1 << 20
#: The program that looks is ended when no server was started for this long. Seconds.
_QUIET = 120.0
#: Reads until nothing is queued: its buffer of 1 MiB holds 1,400 events, a read takes 256 (proc_events.py).
_QUEUED = 8


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
        #: what ended the thread; None while it runs
        self.bug: Exception | None = None
        self._servers = servers
        self._wake = wake
        self._events: ProcEvents | None = None
        self._files: ProgramFiles | None = None
        self._looker: LookProgram | None = None
        #: the program that looks has begun, which takes it 50 ms: until then the thread looks as well
        self._looks = False
        self._stop, self._stopped = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._events = ProcEvents()
        except NotHere as absent:
            self.why = str(absent)
            try:
                self._files = ProgramFiles()
                self.how = "files"
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
        if (looker := self._looker) is not None:
            looker.ask(*self._servers.wanted())

    def _run(self) -> None:
        try:
            if self._events is not None:
                self._listen(self._events)
            elif self._files is not None:
                self._watch(self._files)
        # Any exception: a bug, which the daemon raises on its own thread (daemon/starts.py).
        except Exception as error:
            self.bug = error
            self._wake()

    def _listen(self, events: ProcEvents) -> None:
        run_at_once()
        quiet_at = 0.0
        while True:
            waits: list[int | ProcEvents | LookProgram] = [self._stop]
            if self._looker is not None:
                waits.append(self._looker)
            if not self._looks:
                waits.append(events)
            left = None if self._looker is None else max(0.0, quiet_at - time.monotonic())
            ready, _, _ = select.select(waits, [], [], left)
            if self._stop in ready:
                return
            if not ready:
                self._end_looking()
                continue
            started, ended = self._of_events(events.read()) if events in ready else (False, False)
            if self._looker is not None and self._looker in ready:
                if self._looker.read():
                    began, over = self._of_looker(self._looker)
                    started, ended = started or began, ended or over
                else:
                    # Somebody has ended it: whoever frees memory, for example.
                    self._end_looking()
            if started:
                quiet_at = time.monotonic() + _QUIET
                self._begin_looking()
            if started or ended:
                self._wake()

    def _of_events(self, events: Iterable[ProcessExeced | ProcessEnded]) -> tuple[bool, bool]:
        started = ended = False
        for event in events:
            match event:
                case ProcessExeced(pid):
                    started = self._servers.catch((pid,)) or started
                case ProcessEnded(pid, code):
                    ended = self._servers.ended(pid, code) or ended
        return started, ended

    def _of_looker(self, looker: LookProgram) -> tuple[bool, bool]:
        started = ended = False
        for what, pid, *rest in looker.seen():
            if what == "ready":
                self._looks = True
            elif what == "start":
                started = self._servers.take(pid, (rest[0], rest[1], rest[2])) or started
            else:
                ended = self._servers.ended(pid, rest[0]) or ended
        return started, ended

    def _begin_looking(self) -> None:
        if self._looker is None:
            # Where it cannot be started the thread goes on.
            with contextlib.suppress(NotHere):
                self._looker = LookProgram(self._servers.roots)
                self._looker.ask(*self._servers.wanted())

    def _end_looking(self) -> None:
        looker, self._looker, self._looks = self._looker, None, False
        if self._events is not None:
            # What was queued meanwhile is old: the process id of an end may be another server's by now. Before the program ends:
            # what happens from here on is queued, and looked at.
            for _ in range(_QUEUED):
                for _ in self._events.read():
                    pass
        if looker is not None:
            looker.close()

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
        self._end_looking()
        for one in (self._events, self._files):
            if one is not None:
                one.close()
        os.close(self._stop)
        os.close(self._stopped)


class LookProgram:
    """The program of sources/look.py. Raises NotHere where the kernel reports no starts, or no program can be started.

    Asked by the daemon's thread, heard and ended by the watching one.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._lock = threading.Lock()
        self._held = bytearray()
        self._wanted: tuple[frozenset[str], frozenset[int]] = (frozenset(), frozenset())
        #: what it is being asked
        self._rest = b""
        self._closed = False
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

    def ask(self, programs: frozenset[str], pids: frozenset[int]) -> None:
        """What to look for. Where it does not take that now, it gets it with the next call."""
        with self._lock, contextlib.suppress(BlockingIOError, BrokenPipeError):
            if self._closed:
                return
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
            self._closed = True
            process.kill()


def _descriptor(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()
