"""Triggers polls and ticks, without any logic. The only file that imports apscheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC

from sentinel.daemon.lean_imports import without_plugins

with without_plugins():
    from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
    from apscheduler.executors.asyncio import AsyncIOExecutor
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.interval import IntervalTrigger

#: A log full of starts must not cause a listing of all processes for each of them. Seconds.
_HURRIED_APART = 0.25
#: Seconds between rounds, less where a call is made more often.
_ROUND = 1.0


@dataclass(slots=True, eq=False)
class _Call:
    make: Callable[[], Awaitable[None]]
    seconds: float
    #: when it is due next, in the event loop's time
    due: float
    #: when it was last run early
    hurried: float = float("-inf")
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None


class Schedule:
    """Periodic calls on the running event loop. Runs of one call never overlap, and missed ones are skipped.

    The scheduler drives one round a second, in which all calls that are due are begun: a job of its own for each of them costs
    140 us a run (measured). `on_bug` gets what a call raised.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._scheduler = AsyncIOScheduler(
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            # Only intervals are used; detecting the system's time zone would read files at every start.
            timezone="UTC",
        )
        self._calls: dict[str, _Call] = {}
        self._on_bug = on_bug

        def failed(event: JobExecutionEvent) -> None:
            on_bug(event.exception)

        self._scheduler.add_listener(failed, EVENT_JOB_ERROR)

    def every(self, seconds: float, call: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a call every so many seconds. The first run is after one interval; a caller that wants one now makes it itself."""
        self._calls[name] = _Call(call, seconds, asyncio.get_running_loop().time() + seconds)

    def soon(self, name: str) -> None:
        """Run a call now, at most four times a second; then at its usual interval."""
        call = self._calls.get(name)
        if call is None or call.timer is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = max(now, call.hurried + _HURRIED_APART)
        if due < call.due:
            call.hurried = due
            call.timer = loop.call_at(due, self._hurry, call)

    def start(self) -> None:
        """Start; must be called on the event loop."""
        apart = min([_ROUND, *(call.seconds for call in self._calls.values())])
        self._scheduler.add_job(self._round, IntervalTrigger(seconds=apart, timezone=UTC), args=[apart], id="round")
        self._scheduler.start()

    def stop(self) -> None:
        """Stop without waiting for running calls."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for call in self._calls.values():
            if call.timer is not None:
                call.timer.cancel()
            if call.task is not None:
                call.task.cancel()

    async def _round(self, apart: float) -> None:
        now = asyncio.get_running_loop().time()
        for call in self._calls.values():
            # A round that comes a little early must not put a call off to the next.
            if call.due <= now + apart / 2:
                self._begin(call, now)

    def _hurry(self, call: _Call) -> None:
        call.timer = None
        now = call.due = asyncio.get_running_loop().time()
        self._begin(call, now)

    def _begin(self, call: _Call, now: float) -> None:
        call.due = max(call.due, now - call.seconds / 2) + call.seconds
        if call.task is None:
            call.task = asyncio.ensure_future(self._made(call))

    async def _made(self, call: _Call) -> None:
        try:
            await call.make()
        # Any exception: nothing awaits the task, and a dead source would count as up.
        except Exception as error:
            self._on_bug(error)
        finally:
            call.task = None
