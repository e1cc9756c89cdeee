"""A read that hangs: it holds up no other source, it is reported, it is not asked twice, and the interpreter ends without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
from places import REPO

from sentinel.daemon.clock import Clock
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.supervisor import Supervisor
from sentinel.daemon.threads import Workers
from sentinel.model.entity import HOST
from sentinel.model.reading import Reading, Samples


class Driver:
    """A source whose driver hangs until it is let go."""

    name = "amdgpu"
    interval = 1.0
    blocking = True

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.polls = 0

    def poll(self, at: float) -> Sequence[Reading]:
        self.polls += 1
        self.let_go.wait(30)
        return [Samples(at, self.name, HOST, {"host.gpu_count": 1})]


class Quick(Driver):
    name = "host"

    def poll(self, at: float) -> Sequence[Reading]:
        self.polls += 1
        return [Samples(at, self.name, HOST, {"host.gpu_count": 1})]


def supervisor(inbox: Inbox, workers: Workers) -> Supervisor:
    return Supervisor(inbox, Clock(wall=lambda: 1000.0, since_boot=lambda: 1000.0), workers, patience=0.01)


@pytest.mark.parametrize("alone", [True, False])
def test_a_source_whose_first_poll_hangs_is_not_polled_beside_that(alone: bool) -> None:
    """The daemon makes the first poll itself, before the schedule begins."""

    async def story() -> None:
        workers, driver = Workers(), Driver()
        poll = supervisor(Inbox(), workers).poller(driver, alone=alone)
        first = asyncio.ensure_future(poll())
        while not driver.polls:
            await asyncio.sleep(0)
        await asyncio.wait_for(poll(), 10)
        assert driver.polls == 1
        driver.let_go.set()
        await asyncio.wait_for(first, 10)
        await asyncio.wait_for(poll(), 10)
        assert driver.polls == 2
        workers.shutdown()

    asyncio.run(story())


@pytest.mark.parametrize("alone", [True, False])
def test_drivers_that_hang_hold_up_no_other_source_and_are_reported(alone: bool) -> None:
    async def story() -> None:
        workers, inbox = Workers(), Inbox()
        watch = supervisor(inbox, workers)
        stuck = [Driver() for _ in range(8)]
        tasks = [asyncio.ensure_future(watch.poller(driver, alone=alone)()) for driver in stuck]
        quick = Quick()
        await asyncio.wait_for(watch.poller(quick, alone=alone)(), 10)
        assert len(inbox) == 1
        while "no answer" not in watch.states["amdgpu"].why:
            await asyncio.sleep(0)
        assert len(watch.states) == 2
        for driver in stuck:
            driver.let_go.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert watch.states["amdgpu"].why == ""
        assert [driver.polls for driver in stuck] == [1] * 8
        workers.shutdown()

    asyncio.run(story())


def test_threads_are_used_again() -> None:
    async def story() -> set[int]:
        workers = Workers()
        loop = asyncio.get_running_loop()
        used = {await loop.run_in_executor(workers, threading.get_ident)}
        for _ in range(20):
            # the thread hands the result over before it waits for work again
            while not workers._idle:
                await asyncio.sleep(0)
            used.add(await loop.run_in_executor(workers, threading.get_ident))
        workers.shutdown()
        return used

    assert len(asyncio.run(story())) == 1


def test_what_a_call_raises_reaches_whoever_awaits_it() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().run_in_executor(Workers(), int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(story())


def test_a_call_that_never_returns_does_not_hold_up_the_end_of_the_interpreter() -> None:
    program = (
        "import asyncio, threading\n"
        "from sentinel.daemon.threads import Workers\n"
        "async def main():\n"
        "    workers, began = Workers(), threading.Event()\n"
        "    workers.submit(lambda: (began.set(), threading.Event().wait()))\n"
        "    began.wait(10)\n"
        "    workers.shutdown()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=20, check=False, cwd=REPO)
    assert done.returncode == 0
