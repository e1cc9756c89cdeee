"""Runs what streams in an event loop of its own, bounded in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from sentinel.model.reading import Reading
from sentinel.sources.base import Streaming


def limited(test: Callable[[], Awaitable[None]]) -> None:
    """A test of a minute at most."""

    async def run() -> None:
        await asyncio.wait_for(test(), 60.0)

    asyncio.run(run())


def collect(
    source: Streaming,
    enough: Callable[[list[Reading]], bool],
    now: Callable[[], float] = time.time,
    then: Callable[[], None] = lambda: None,
) -> list[Reading]:
    """Run a source until it has put enough, or raises. `then` acts once it waits for more."""

    async def main() -> list[Reading]:
        found: list[Reading] = []
        done = asyncio.Event()

        async def put(reading: Reading) -> None:
            found.append(reading)
            if enough(found):
                done.set()

        running = asyncio.create_task(source.run(put, now))
        await asyncio.sleep(0)
        await asyncio.to_thread(then)
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        waiting.cancel()
        if running.done():
            await running
        assert done.is_set(), f"only {found}"
        # The cursor is set after the put that was enough.
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found

    return asyncio.run(main())
