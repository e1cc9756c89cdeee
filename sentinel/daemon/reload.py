"""Reloads the rules when a file changed, at a signal, or on request; if the new ones have mistakes, the old ones stay.

Editors write in steps: they truncate a file and fill it, or rename it and create another. So a change waits until the files
have been stable for a moment, and one that would be reported as a mistake, or would remove a rule, waits longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from sentinel.rulefiles.files import Loaded, RuleFiles, Signature
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.watch import Wakes

#: Seconds without a change after which files are read; and after which a mistake or a missing file is final.
QUIET, PATIENCE = 0.3, 2.0
#: The same for a file without content: `sentinel rules override ... > FILE` takes a second or two to fill what the shell emptied.
FILLING = 10.0
#: inotify events may be lost: files are polled at this interval as well. Seconds.
LOOK = 5.0
_BREATH = 0.1


class Settling:
    """Decides when to act on changed files. Pure; time is an argument, in seconds of any monotonic clock."""

    def __init__(self, active: Signature) -> None:
        #: what was handled: loaded, or refused and reported
        self.done = active
        self._seen = active
        self._since = float("-inf")
        self._bad: Signature | None = None

    def wait(self, seen: Signature, at: float) -> float | None:
        """Seconds to wait before the next check. 0: read the files now; None: nothing to do."""
        if seen != self._seen:
            self._seen, self._since = seen, at
        if seen == self.done:
            return None
        gone = {path for path, *_ in self.done} - {path for path, *_ in seen}
        needed = self._patience(seen) if gone or seen == self._bad else QUIET
        return max(0.0, needed - (at - self._since))

    def _patience(self, seen: Signature) -> float:
        return FILLING if any(not size and path.endswith(".toml") for path, _, size, _ in seen - self.done) else PATIENCE

    def tried(self, seen: Signature, at: float, *, good: bool) -> bool:
        """The files were read. Returns whether that is final: a mistake in files that are still being written is not."""
        if good or (seen == self._seen and at - self._since >= self._patience(seen)):
            self.done, self._bad = seen, None
            return True
        self._bad = seen
        return False


class Reload:
    """Watches rule files. `take` gets the result of a load: the new rules, or the mistakes that keep the old ones active."""

    def __init__(
        self,
        files: RuleFiles,
        active: Signature,
        take: Callable[[Loaded], None],
        wakes: Wakes,
        threads: Executor,
    ) -> None:
        self._files = files
        self._settling = Settling(active)
        self._take = take
        self._wakes = wakes
        #: a home folder may be on a disk that hangs
        self._threads = threads
        self._changed = asyncio.Event()
        self._asked = False
        self._loop = asyncio.get_running_loop()
        self._one = asyncio.Lock()
        self._watched: set[Path] = set()
        self._watch()

    def _watch(self) -> None:
        """Watch the folders, new ones included."""
        wanted = {*self._files.watched, *self._files.subfolders()}
        for folder in self._watched - wanted:
            self._wakes.unwatch(folder)
        for folder in sorted(wanted - self._watched):
            try:
                self._wakes.watch_folder(folder, self._wake)
            except SourceFault:
                # Files are polled every few seconds anyway; the fault itself is reported where logs are watched.
                continue
        self._watched = wanted

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    def ask(self) -> None:
        """Request a reload soon, whether or not files changed: for a signal."""
        self._asked = True
        self._changed.set()

    async def now(self) -> Loaded:
        """Reload now, whether or not files changed, and report the result."""
        async with self._one:
            loaded = await self._loop.run_in_executor(self._threads, self._files.load)
            self._settling.done = loaded.signature
            self._take(loaded)
            self._watch()
            return loaded

    async def run(self) -> None:
        """Handle changes until cancelled."""
        pause: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK if pause is None else pause):
                    await self._changed.wait()
                    # Continuous writes must not keep the daemon busy.
                    await asyncio.sleep(_BREATH)
            self._changed.clear()
            if self._asked:
                self._asked = False
                await self.now()
                continue
            async with self._one:
                pause = await self._look()

    async def _look(self) -> float | None:
        """Handle a change, if there is one. Returns how long to wait before the next check."""
        seen = await self._loop.run_in_executor(self._threads, self._files.signature)
        pause = self._settling.wait(seen, self._loop.time())
        if pause is None or pause > 0:
            return pause
        loaded = await self._loop.run_in_executor(self._threads, self._files.load)
        if self._settling.tried(loaded.signature, self._loop.time(), good=loaded.ruleset is not None):
            self._take(loaded)
            self._watch()
            return None
        return QUIET
