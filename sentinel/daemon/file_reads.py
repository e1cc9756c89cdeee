"""Reads of files that processes name, off the event loop: a disk or a network file system may take minutes, or never answer.

A read that hangs keeps its thread for good, so such threads are limited in all (the unit has TasksMax=64) and for each owner:
whoever names many files that hang stops the reading of his own only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

#: A read that takes longer hangs; a turn of a log ends within half a second. Seconds.
PATIENCE = 5.0
#: As long as nothing hangs, a read that waits for its turn is late, no more: with 70 logs at a load of 30 on two cores it took
#: 10 s, and each log failed and worked again all the time. Seconds.
_LATE = 30.0
#: Reads at a time of one owner, and the hanging ones beside them: of one owner, and in all.
_AT_A_TIME, _HANGING, _HANGING_IN_ALL = 4, 4, 16
T = TypeVar("T")


@dataclass
class _Lane:
    """The reads for one owner."""

    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_A_TIME))
    #: reads that hang and have left their slot to others
    hanging: int = 0
    #: reads that hang and keep their slot, for too many have left theirs
    holding: int = 0
    users: int = 0


class FileReads:
    """Runs the reads. `owner` is the user whose process named the file; None for files that the configuration names."""

    def __init__(self, executor: Executor, patience: float = PATIENCE) -> None:
        self._executor = executor
        self._patience = patience
        self._lanes: dict[int | None, _Lane] = {}

    async def run(
        self, owner: int | None, read: Callable[[], T], slow: Callable[[str], None], ended: Callable[[], None] = lambda: None
    ) -> T:
        """The result of `read`, however long it takes; `slow` gets the reason when it takes long. `ended` runs after the read,
        also if this call was cancelled before. Raises OSError if no thread can be started.
        """
        lane = self._lanes.setdefault(owner, _Lane())
        lane.users += 1
        try:
            await self._slot(lane, slow)
        except asyncio.CancelledError:
            self._left(owner, lane)
            ended()
            raise
        try:
            call = asyncio.get_running_loop().run_in_executor(self._executor, read)
        except OSError:
            lane.slots.release()
            self._left(owner, lane)
            ended()
            raise
        hangs = holds = False

        def finished(done: asyncio.Future[T]) -> None:
            if hangs:
                lane.hanging -= 1
            else:
                lane.slots.release()
            lane.holding -= holds
            self._left(owner, lane)
            if not done.cancelled():
                # The waiter may be gone: that the result has no taker is not an error.
                done.exception()
            ended()

        call.add_done_callback(finished)
        done, _ = await asyncio.wait({call}, timeout=self._patience)
        if not done:
            if lane.hanging < _HANGING and sum(each.hanging for each in self._lanes.values()) < _HANGING_IN_ALL:
                hangs = True
                lane.hanging += 1
                lane.slots.release()
            else:
                holds = True
                lane.holding += 1
            slow(f"no answer for {self._patience:g} s: the disk or the network file system that it is on hangs; the others go on")
        return await asyncio.shield(call)

    async def aside(self, call: Callable[[], None]) -> None:
        """Run something that is no read of a file, and counts for nobody."""
        await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def _slot(self, lane: _Lane, slow: Callable[[str], None]) -> None:
        if not lane.slots.locked():
            await lane.slots.acquire()
            return
        waiting = asyncio.ensure_future(lane.slots.acquire())
        late = asyncio.get_running_loop().time() + _LATE
        try:
            while not (await asyncio.wait({waiting}, timeout=self._patience))[0]:
                if hanging := lane.hanging + lane.holding:
                    slow(f"not read: {hanging} other files of the same user hang already, and it waits for one of them")
                elif asyncio.get_running_loop().time() >= late:
                    others = lane.users - 1
                    slow(f"not read for {_LATE:g} s: the machine is busy, and {others} other files of the same user are read")
                else:
                    continue
                break
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                lane.slots.release()
            waiting.cancel()
            raise

    def _left(self, owner: int | None, lane: _Lane) -> None:
        lane.users -= 1
        if lane.users == 0:
            self._lanes.pop(owner, None)
