"""Reads of named files take turns; which of those that wait is told that something hangs. The time of the loop is data here."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from sentinel.daemon.file_reads import PATIENCE, FileReads

P = ParamSpec("P")
T = TypeVar("T")
OWNER = 1000


class Hurried(selectors.DefaultSelector):
    """Nothing is waited for: the clock is put forward in its place."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class ByHand(Executor):
    """Its calls end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Future[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self.calls.append(future)
        return future


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    selector = Hurried()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(story())


def test_a_read_that_waits_behind_others_which_go_on_is_late_and_nothing_hangs() -> None:
    """70 logs of one user on a busy machine: each failed and worked again, because `0 other files hang`."""

    async def story() -> None:
        executor, said = ByHand(), list[list[str]]([[] for _ in range(24)])
        reads = FileReads(executor)
        running = [asyncio.create_task(reads.run(OWNER, int, said[n].append)) for n in range(24)]
        for _ in range(6):
            # four at a time, each for less than what is patient, so that the last waits five times as long
            await asyncio.sleep(PATIENCE * 0.9)
            for call in executor.calls:
                if not call.done():
                    call.set_result(0)
        await asyncio.gather(*running)
        assert not any(said)

    run(story)


def test_half_a_minute_is_said() -> None:
    async def story() -> None:
        executor, last = ByHand(), list[str]()
        reads = FileReads(executor)
        others = [asyncio.create_task(reads.run(OWNER, int, lambda _: None)) for _ in range(40)]
        await asyncio.sleep(0)
        waits = asyncio.create_task(reads.run(OWNER, int, last.append))
        while not waits.done():
            await asyncio.sleep(PATIENCE * 0.9)
            for call in executor.calls:
                if not call.done():
                    call.set_result(0)
        await asyncio.gather(*others)
        assert len(last) == 1
        assert last[0].startswith("not read for 30 s: the machine is busy, and ")

    run(story)


def test_where_others_hang_that_is_said_with_their_number() -> None:
    async def story() -> None:
        executor, last = ByHand(), list[str]()
        reads = FileReads(executor)
        # four leave their slot to others as they hang, and the next four keep it
        hang = [asyncio.create_task(reads.run(OWNER, int, lambda _: None)) for _ in range(8)]
        await asyncio.sleep(PATIENCE * 2.5)
        waits = asyncio.create_task(reads.run(OWNER, int, last.append))
        await asyncio.sleep(PATIENCE * 1.5)
        assert last == ["not read: 8 other files of the same user hang already, and it waits for one of them"]
        for call in executor.calls:
            call.set_result(0)
        await asyncio.gather(*hang)
        await asyncio.sleep(0)
        executor.calls[-1].set_result(7)
        assert await waits == 7

    run(story)
