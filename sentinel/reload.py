"""Loads rules anew when a rule file is saved or on SIGHUP; the old ones stay where the new ones are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sentinel.sources.base import SourceFault
from sentinel.sources.wake import Wakes

#: An editor writes a file in several steps; the set is read when it has been quiet this long. Seconds.
_QUIET = 0.3


class Reload:
    """Waits for a change and calls `swap`, which returns the mistakes found."""

    def __init__(
        self, swap: Callable[[], list[str]], wakes: Wakes, folders: Sequence[Path], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._swap = swap
        self._changed = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(self._changed.set)

        for folder in folders:
            try:
                wakes.watch_folder(folder, wake)
            except SourceFault:
                # SIGHUP and `sentinel reload` still work; the fault itself is told where logs are watched.
                continue

    def now(self) -> None:
        """Reload at the next opportunity."""
        self._changed.set()

    async def run(self) -> None:
        """Reload whenever something changed and has been quiet for a moment."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                async with asyncio.timeout(_QUIET):
                    await self._changed.wait()
            except TimeoutError:
                self._swap()
