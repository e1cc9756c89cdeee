"""Sees starts that are over before the next scan: a thread that waits for the kernel to report them.

A missing model or a port in use ends llama-server within 0.1 to 0.2 s, a missing library within 2 ms, and /proc is scanned once a
second. A thread of its own, because the event loop may be busy for 20 ms, and the process is gone by then.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from sentinel.sources.base import NotHere
from sentinel.sources.processes.proc_events import ProcessEnded, ProcessExeced, ProcEvents
from sentinel.sources.processes.program_files import ProgramFiles
from sentinel.sources.processes.short_slice import run_at_once

#: Looks at /proc after a program was opened, seconds apart: exec(2) replaces the process within a millisecond, as a rule.
_LOOKS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04)


class Catching(Protocol):
    """What finds the servers. Both methods are called on the watching thread."""

    def catch(self, pids: Iterable[int] | None) -> bool:
        """Look at these processes now, or at all that are new; whether one is a server."""

    def ended(self, pid: int, code: int) -> bool:
        """How a process ended, as wait(2) has it; whether it was a server."""


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
        """More programs, where their files are watched."""
        if self._files is not None:
            for path in programs:
                self._files.add(path)

    def _run(self) -> None:
        try:
            self._watch()
        # Any exception: a bug, which the daemon raises on its own thread (daemon/starts.py).
        except Exception as error:
            self.bug = error
            self._wake()

    def _watch(self) -> None:
        run_at_once()
        waits = [one for one in (self._events, self._files) if one is not None]
        while True:
            ready, _, _ = select.select([self._stop, *waits], [], [])
            if self._stop in ready:
                return
            news = False
            if self._events is not None:
                news = self._of_events(self._events.read())
            if self._files is not None and self._files.read():
                news = self._look() or news
            if news:
                self._wake()

    def _of_events(self, events: Iterable[ProcessExeced | ProcessEnded]) -> bool:
        news = False
        for event in events:
            match event:
                case ProcessExeced(pid):
                    news = self._servers.catch((pid,)) or news
                case ProcessEnded(pid, code):
                    news = self._servers.ended(pid, code) or news
        return news

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
        for one in (self._events, self._files):
            if one is not None:
                one.close()
        os.close(self._stop)
        os.close(self._stopped)
