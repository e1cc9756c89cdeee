"""Threads for calls that may block for ever: a read from a hung driver cannot be cancelled, and must not block anything else."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Call = Callable[[], None]


class Workers(Executor):
    """Runs each call on an idle thread, or on a new one when all are busy.

    There are as many threads as concurrent calls, one per source: a call that never returns blocks only its own thread.
    Unlike those of `ThreadPoolExecutor` the threads are daemon threads: the interpreter does not wait for them at exit.
    """

    def __init__(self) -> None:
        self._idle: list[queue.SimpleQueue[_Call | None]] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` off the event loop. Raises RuntimeError after `shutdown`, OSError if no thread can be started."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("the workers have been shut down")
            work = self._idle.pop() if self._idle else None
        if work is None:
            work = queue.SimpleQueue()
            try:
                threading.Thread(target=self._work, args=(work,), name="source", daemon=True).start()
            except RuntimeError as error:
                # TasksMax= of the unit, or the machine's own limit
                raise BlockingIOError(errno.EAGAIN, str(error)) from error
        work.put(call)
        return future

    def _work(self, work: queue.SimpleQueue[_Call | None]) -> None:
        while (call := work.get()) is not None:
            call()
            # An idle thread would keep a reference to its last result: a whole rule set, 6 MB (measured).
            del call
            with self._lock:
                if self._closed:
                    return
                self._idle.append(work)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop idle threads; never waits, whatever `wait` is: a thread in a hung read never ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for work in idle:
            work.put(None)
