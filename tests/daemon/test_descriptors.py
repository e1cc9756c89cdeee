"""What the machine lacks is a fault of the source that needed it, and never the end of the daemon."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from sentinel.daemon import descriptors
from sentinel.daemon.clock import Clock
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.supervisor import Supervisor
from sentinel.daemon.threads import Workers
from sentinel.model.reading import Reading


class Polled:
    name, interval, blocking = "polled", 1.0, True

    def __init__(self, number: int) -> None:
        self.error = OSError(number, os.strerror(number))

    def poll(self, at: float) -> Sequence[Reading]:
        raise self.error


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
def test_a_lack_is_the_fault_of_the_source(number: int) -> None:
    async def story() -> Supervisor:
        supervisor = Supervisor(Inbox(10), Clock(wall=lambda: 1.0, since_boot=lambda: 1.0), ThreadPoolExecutor(1))
        await supervisor.poller(Polled(number))()
        return supervisor

    state = asyncio.run(story()).state("polled")
    assert state.health == "failed"
    assert "is left" in state.why


def test_any_other_error_that_a_source_lets_through_is_a_bug() -> None:
    async def story() -> None:
        supervisor = Supervisor(Inbox(10), Clock(wall=lambda: 1.0, since_boot=lambda: 1.0), ThreadPoolExecutor(1))
        await supervisor.poller(Polled(errno.EIO))()

    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(story())


def test_where_no_thread_can_be_started_the_read_fails_and_the_next_one_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    async def story() -> int:
        reads = FileReads(Workers())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(10):
                with pytest.raises(OSError, match="can't start") as caught:
                    await reads.run(7, int, lambda _: None)
                assert descriptors.shortage(caught.value)
        return await reads.run(7, lambda: 5, lambda _: None)

    assert asyncio.run(story()) == 5


def test_the_soft_limit_becomes_the_hard_one_and_logs_get_half(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 8192)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    descriptors.raise_limit()
    assert limits[-1] == (8192, 8192)
    assert 3000 < descriptors.most_logs() < 4097
    limits.append((64, 64))
    assert 4 <= descriptors.most_logs() < 20
