"""Runs calls that are due at one moment on one thread, one after the other.

Handing a call over to a thread and its result back wakes two threads: 0.1 ms for each of several calls a second that take as long
themselves (measured). A call that hangs delays those behind it by a tenth of a second, then another thread goes on with them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")
#: What is called here takes a millisecond or two. Seconds.
_PATIENCE = 0.1

_Item = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Together:
    """Collects what is asked for in one turn of the event loop."""

    def __init__(self, executor: Executor, patience: float = _PATIENCE) -> None:
        self._executor = executor
        self._patience = patience
        self._batch: _Batch | None = None

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The call's result. Cancelled before its turn, it is not made."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._batch is None:
            self._batch = _Batch(self._executor, loop, self._patience)
            loop.call_soon(self._hand_over)
        self._batch.waiting.append((future, call))
        return future

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.hand_over()


class _Batch:
    """Calls with their futures. Both ends of `waiting` and `done` are used by several threads: each operation is atomic."""

    def __init__(self, executor: Executor, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self.waiting: deque[_Item] = deque()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._executor = executor
        self._loop = loop
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None

    def hand_over(self) -> None:
        """Have a thread go on with what waits."""
        try:
            self._executor.submit(self._work)
        # OSError: no thread can be started; RuntimeError: the daemon ends.
        except (OSError, RuntimeError) as error:
            while self.waiting:
                self._done.append((self.waiting.popleft()[0], None, error))
            self._deliver()
            return
        self._timer = self._loop.call_later(self._patience, self._look)

    def _work(self) -> None:
        while True:
            try:
                future, call = self.waiting.popleft()
            except IndexError:
                break
            if future.cancelled():
                continue
            try:
                self._done.append((future, call(), None))
            # Any exception: it is raised where the result is awaited.
            except BaseException as error:
                self._done.append((future, None, error))
            # An idle thread would keep what this one returned.
            del future, call
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # The loop is closed: the daemon ended while the call hung.
            return

    def _look(self) -> None:
        """Something hangs: what is done is delivered, what waits goes on elsewhere."""
        self._timer = None
        waiting = bool(self.waiting)
        self._deliver()
        if waiting:
            self.hand_over()

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._done:
            future, result, error = self._done.popleft()
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
