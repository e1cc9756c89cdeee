"""Loads rules anew when a file of them changed, at a signal, or when somebody asks; the old ones stay where the new are wrong.

Editors write in steps: they empty a file and fill it, or move it away and put another in its place. So a change waits until
nothing has moved for a moment, and what would be told as a mistake, or would end a rule, waits longer.
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

#: Seconds without a change after which files are read; and after which a mistake or a missing file is what somebody wants.
QUIET, PATIENCE = 0.3, 2.0
#: inotify is a hint: files are looked at this often whatever it says. Seconds.
LOOK = 5.0
_BREATH = 0.1


class Settling:
    """When a change of files is to be acted on. Pure, time is an argument: seconds of any clock that does not go back."""

    def __init__(self, in_force: Signature) -> None:
        #: what was dealt with: taken, or refused and told
        self.done = in_force
        self._seen = in_force
        self._since = float("-inf")
        self._bad: Signature | None = None

    def wait(self, seen: Signature, at: float) -> float | None:
        """Seconds to wait before looking again, 0: read the files now; None: there is nothing to do."""
        if seen != self._seen:
            self._seen, self._since = seen, at
        if seen == self.done:
            return None
        gone = {path for path, *_ in self.done} - {path for path, *_ in seen}
        needed = PATIENCE if gone or seen == self._bad else QUIET
        return max(0.0, needed - (at - self._since))

    def tried(self, seen: Signature, at: float, *, good: bool) -> bool:
        """Files were read. Whether that is final: a mistake in files that may still be written is not."""
        if good or (seen == self._seen and at - self._since >= PATIENCE):
            self.done, self._bad = seen, None
            return True
        self._bad = seen
        return False


class Reload:
    """Watches rule files. `take` gets what was loaded: rules to use, or the mistakes because of which the old ones stay."""

    def __init__(
        self,
        files: RuleFiles,
        in_force: Signature,
        take: Callable[[Loaded], None],
        wakes: Wakes,
        threads: Executor,
    ) -> None:
        self._files = files
        self._settling = Settling(in_force)
        self._take = take
        self._wakes = wakes
        #: a folder in a home may be on a disk that does not answer
        self._threads = threads
        self._changed = asyncio.Event()
        self._asked = False
        self._loop = asyncio.get_running_loop()
        self._one = asyncio.Lock()
        self._watched: set[Path] = set()
        self._watch()

    def _watch(self) -> None:
        """Also folders that came since."""
        wanted = {*self._files.watched, *self._files.subfolders()}
        for folder in self._watched - wanted:
            self._wakes.unwatch(folder)
        for folder in sorted(wanted - self._watched):
            try:
                self._wakes.watch_folder(folder, self._wake)
            except SourceFault:
                # Files are looked at every few seconds all the same; the fault itself is told where logs are watched.
                continue
        self._watched = wanted

    def _wake(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)

    def ask(self) -> None:
        """Load at the next opportunity, whatever has changed: a signal."""
        self._asked = True
        self._changed.set()

    async def now(self) -> Loaded:
        """Load at once, whatever has changed, and tell."""
        async with self._one:
            loaded = await self._loop.run_in_executor(self._threads, self._files.load)
            self._settling.done = loaded.signature
            self._take(loaded)
            self._watch()
            return loaded

    async def run(self) -> None:
        """Act on changes until cancelled."""
        pause: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK if pause is None else pause):
                    await self._changed.wait()
                    # Whoever writes without a pause does not keep the daemon busy.
                    await asyncio.sleep(_BREATH)
            self._changed.clear()
            if self._asked:
                self._asked = False
                await self.now()
                continue
            async with self._one:
                pause = await self._look()

    async def _look(self) -> float | None:
        """Deal with what there is to be seen; how long to wait for more."""
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
