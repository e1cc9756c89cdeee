"""Calls of one moment share a thread; one that hangs keeps it to itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from sentinel.daemon.threads import Workers
from sentinel.daemon.together import Together


class Counted(Workers):
    """Counts what is handed over."""

    handed = 0

    def submit(self, *arguments, **named):  # type: ignore[no-untyped-def]
        self.handed += 1
        return super().submit(*arguments, **named)


def test_calls_of_one_moment_are_handed_over_once_and_made_in_their_order() -> None:
    async def story() -> None:
        workers = Counted()
        together = Together(workers)
        made: list[int] = []

        def call(number: int) -> Callable[[], tuple[int, int]]:
            def one() -> tuple[int, int]:
                made.append(number)
                return number, threading.get_ident()

            return one

        found = await asyncio.wait_for(asyncio.gather(*(together.run(call(number)) for number in range(5))), 10)
        assert [number for number, _ in found] == made == [0, 1, 2, 3, 4]
        assert len({thread for _, thread in found} - {threading.get_ident()}) == 1
        assert workers.handed == 1
        await asyncio.wait_for(together.run(call(5)), 10)
        assert workers.handed == 2
        workers.shutdown()

    asyncio.run(story())


def test_those_before_and_behind_one_that_hangs_have_their_answers() -> None:
    async def story() -> None:
        workers = Workers()
        together = Together(workers, patience=0.01)
        let_go = [threading.Event(), threading.Event()]
        first = together.run(lambda: "first")
        stuck = [together.run(partial(event.wait, 30)) for event in let_go]
        last = together.run(lambda: "last")
        assert [await asyncio.wait_for(one, 10) for one in (first, last)] == ["first", "last"]
        assert await asyncio.wait_for(together.run(lambda: "next"), 10) == "next"
        assert not any(one.done() for one in stuck)
        for event in let_go:
            event.set()
        assert await asyncio.wait_for(asyncio.gather(*stuck), 10) == [True, True]
        workers.shutdown()

    asyncio.run(story())


def test_what_one_raises_is_its_own() -> None:
    async def story() -> None:
        workers = Workers()
        together = Together(workers)

        def wrong() -> None:
            raise ValueError("wrong")

        found = await asyncio.gather(together.run(wrong), together.run(lambda: 1), return_exceptions=True)
        assert [type(one) for one in found] == [ValueError, int]
        workers.shutdown()

    asyncio.run(story())


def test_one_that_was_cancelled_before_its_turn_is_not_made() -> None:
    async def story() -> None:
        workers = Workers()
        together = Together(workers)
        made: list[str] = []
        gone, stays = together.run(lambda: made.append("gone")), together.run(lambda: made.append("stays"))
        gone.cancel()
        await asyncio.wait_for(stays, 10)
        assert made == ["stays"]
        workers.shutdown()

    asyncio.run(story())


def test_without_a_thread_each_one_gets_to_know() -> None:
    class Full(Workers):
        def submit(self, *arguments, **named):  # type: ignore[no-untyped-def]
            raise BlockingIOError(11, "no thread")

    async def story() -> None:
        together = Together(Full())
        found = await asyncio.gather(together.run(lambda: 1), together.run(lambda: 2), return_exceptions=True)
        assert [type(one) for one in found] == [BlockingIOError, BlockingIOError]

    asyncio.run(story())


def test_a_call_that_ends_after_the_daemon_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers()
    # Those that hang for other tests are not waited for: 110 s.
    of_others = set(threading.enumerate())
    begun, let_go = threading.Event(), threading.Event()
    wrong: list[object] = []
    monkeypatch.setattr(threading, "excepthook", wrong.append)

    def hang() -> None:
        begun.set()
        let_go.wait(30)

    async def story() -> None:
        _ = Together(workers, patience=0.01).run(hang)
        while not begun.is_set():
            await asyncio.sleep(0)

    asyncio.run(story())
    let_go.set()
    workers.shutdown()
    for thread in set(threading.enumerate()) - of_others:
        if thread.name == "source":
            thread.join(10)
    assert wrong == []
