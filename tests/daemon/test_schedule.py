"""Calls in their time, and sooner where somebody asks for it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from sentinel.daemon.schedule import Schedule


async def told(story: Callable[[Schedule], Awaitable[None]], seconds: float = 3600.0) -> list[float]:
    """When the call `look`, which is due each so many seconds, was made during the story: seconds since its beginning."""
    bugs: list[BaseException] = []
    schedule = Schedule(bugs.append)
    calls: list[float] = []
    begun = time.monotonic()

    async def look() -> None:
        calls.append(time.monotonic() - begun)

    schedule.every(seconds, look, "look")
    schedule.start()
    try:
        await story(schedule)
        deadline = begun + 10.0
        while len(calls) < 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.4)
    finally:
        schedule.stop()
    assert not bugs
    return calls


def test_a_call_that_is_asked_for_does_not_wait_for_its_time() -> None:
    async def story(schedule: Schedule) -> None:
        schedule.soon("look")

    assert len(asyncio.run(told(story))) == 1


def test_asked_for_again_and_again_it_is_made_four_times_a_second() -> None:
    async def story(schedule: Schedule) -> None:
        for _ in range(200):
            schedule.soon("look")
            await asyncio.sleep(0.005)

    calls = asyncio.run(told(story))
    assert len(calls) >= 2
    apart = [later - earlier for earlier, later in itertools.pairwise(calls)]
    assert min(apart) > 0.1, calls


def test_one_that_nobody_knows_is_asked_for_in_vain() -> None:
    """As discovery is where the configuration switches it off."""

    async def story(schedule: Schedule) -> None:
        schedule.soon("nothing")
        schedule.soon("look")

    assert len(asyncio.run(told(story))) == 1
