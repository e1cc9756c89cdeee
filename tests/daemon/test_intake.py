"""The queue and the supervision of sources: order, back-pressure, pauses, and what is noted when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from sentinel.daemon.clock import Clock
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.supervisor import Supervisor
from sentinel.model.entity import HOST
from sentinel.model.reading import LogLines, Reading, Samples, Tick
from sentinel.sources.base import NotHere, Put, SourceFault


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.at, since_boot=lambda: self.at)


def sample(number: int) -> Samples:
    return Samples(float(number), "s", HOST, {"host.gpu_count": number})


def lines(number: int) -> LogLines:
    return LogLines(float(number), "s", HOST, b"x\n")


async def drain(inbox: Inbox, count: int) -> list[float]:
    out: list[float] = []
    while len(out) < count:
        for item in await inbox.take():
            out.append(item.reading.at)
            if item.taken is not None:
                item.taken()
    return out


def test_a_full_queue_drops_the_oldest_samples_and_counts_them() -> None:
    async def story() -> None:
        inbox = Inbox(3)
        for number in range(5):
            inbox.offer(sample(number))
        assert inbox.dropped == 2
        assert await drain(inbox, 3) == [2.0, 3.0, 4.0]

    asyncio.run(story())


def test_log_lines_wait_for_room_and_none_is_lost() -> None:
    async def story() -> None:
        inbox = Inbox(2)

        async def write() -> None:
            for number in range(50):
                await inbox.put(lines(number))

        writer = asyncio.create_task(write())
        await asyncio.sleep(0)
        assert len(inbox) == 2
        for number in range(100, 110):
            inbox.offer(Tick(float(number)))
        got = await drain(inbox, 60)
        await writer
        assert [g for g in got if g < 100] == [float(n) for n in range(50)]
        assert inbox.dropped == 0

    asyncio.run(story())


class Script:
    """A polled source that does as a test says."""

    name = "script"
    interval = 1.0
    blocking = False

    def __init__(self, *outcomes: Exception | Sequence[Reading]) -> None:
        self.outcomes = list(outcomes)
        self.polls = 0

    def poll(self, at: float) -> Sequence[Reading]:
        self.polls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_source_that_fails_is_paused_longer_each_time_and_says_why() -> None:
    async def story() -> None:
        hands, inbox = Hands(), Inbox()
        supervisor = Supervisor(inbox, hands.clock(), ThreadPoolExecutor(1))
        source = Script(SourceFault("no permission"), SourceFault("no permission"), [sample(1)])
        poll = supervisor.poller(source)
        await poll()
        state = supervisor.states["script"]
        assert (state.health, state.why, state.failures) == ("failed", "no permission", 1)
        await poll()
        assert source.polls == 1
        hands.at += 1.0
        await poll()
        assert (source.polls, state.failures) == (2, 2)
        hands.at += 1.0
        await poll()
        assert source.polls == 2
        hands.at += 1.0
        await poll()
        assert (state.health, state.failures, len(inbox)) == ("up", 0, 1)

    asyncio.run(story())


def test_what_is_not_there_is_not_a_fault() -> None:
    async def story() -> None:
        supervisor = Supervisor(Inbox(), Hands().clock(), ThreadPoolExecutor(1))
        await supervisor.poller(Script(NotHere("no AMD GPU")))()
        state = supervisor.states["script"]
        assert (state.health, state.why, state.failures) == ("absent", "no AMD GPU", 0)

    asyncio.run(story())


class Stream:
    """A streaming source that moves its position on after each put, as journalctl's reader does."""

    name = "stream"

    def __init__(self, count: int) -> None:
        self.count = count
        self.position = 0
        self.ended = asyncio.Event()

    async def run(self, put: Put, _now: object) -> None:
        for number in range(1, self.count + 1):
            await put(lines(number))
            self.position = number
        self.ended.set()
        await asyncio.Event().wait()


def test_a_position_is_noted_when_the_engine_has_taken_what_it_covers_and_never_before() -> None:
    async def story() -> None:
        inbox, noted = Inbox(4), list[int]()
        supervisor = Supervisor(inbox, Hands().clock(), ThreadPoolExecutor(1))
        source = Stream(20)
        task = asyncio.create_task(supervisor.stream(source, position=lambda: source.position, note=noted.append))
        taken = 0
        while taken < 20:
            for item in await inbox.take():
                assert item.taken is not None
                item.taken()
                taken += 1
                assert noted[-1] == taken
        task.cancel()

    asyncio.run(story())


def test_a_source_that_has_to_prove_itself_is_not_well_by_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        name = "silent"

        async def run(self, _put: object, _now: object) -> None:
            await asyncio.Event().wait()

    async def story() -> None:
        monkeypatch.setattr("sentinel.daemon.supervisor._SETTLED", 0.0)
        supervisor = Supervisor(Inbox(10), Clock(), ThreadPoolExecutor(1))
        asked: list[str] = []

        def proven() -> bool:
            asked.append(supervisor.state("silent").health)
            return len(asked) > 3

        task = asyncio.create_task(supervisor.stream(Silent(), proven=proven))
        while supervisor.state("silent").health != "up":
            await asyncio.sleep(0)
        assert asked == ["starting"] * 4
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 10))
