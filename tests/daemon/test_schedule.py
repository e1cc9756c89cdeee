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


def test_each_call_has_its_interval_and_one_that_takes_long_delays_no_other() -> None:
    async def story() -> tuple[list[str], list[BaseException]]:
        bugs: list[BaseException] = []
        schedule = Schedule(bugs.append)
        made: list[str] = []
        stuck = asyncio.Event()

        async def call(name: str) -> None:
            made.append(name)
            if name == "hangs":
                await stuck.wait()

        schedule.every(0.1, lambda: call("often"), "often")
        schedule.every(0.1, lambda: call("hangs"), "hangs")
        schedule.every(0.3, lambda: call("seldom"), "seldom")
        schedule.start()
        deadline = time.monotonic() + 20.0
        while made.count("seldom") < 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        schedule.stop()
        return made, bugs

    made, bugs = asyncio.run(story())
    assert not bugs
    assert made.count("hangs") == 1
    assert made.count("seldom") == 3
    # On a busy machine rounds are left out, and an interval is never cut.
    assert 4 <= made.count("often") <= 10


def test_what_a_call_raises_is_reported_and_the_others_go_on() -> None:
    async def story() -> None:
        bugs: list[BaseException] = []
        schedule = Schedule(bugs.append)
        calls: list[int] = []

        async def wrong() -> None:
            raise ValueError("wrong")

        async def right() -> None:
            calls.append(1)

        schedule.every(0.05, wrong, "wrong")
        schedule.every(0.05, right, "right")
        schedule.start()
        deadline = time.monotonic() + 20.0
        while (len(bugs) < 2 or len(calls) < 2) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        schedule.stop()
        assert [str(bug) for bug in bugs[:2]] == ["wrong", "wrong"]
        assert len(calls) >= 2

    asyncio.run(story())
