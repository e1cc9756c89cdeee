"""Triggers polls and ticks; decides nothing. The only file that imports apscheduler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

#: A log that prints starts without an end must not have the machine's processes listed for each of them.
_HURRIED_APART = timedelta(seconds=0.25)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Schedule:
    """Periodic calls on the running event loop. One that still runs is not started again, and missed ones are not made up.

    `on_bug` gets what a call raised: the scheduler itself would log it and go on, with a source that is dead and called well.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._scheduler = AsyncIOScheduler(
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            # The scheduler works on intervals only; asking the system for its zone would read files at every start.
            timezone="UTC",
        )

        #: when each call was hurried last
        self._hurried: dict[str, datetime] = {}

        def failed(event: JobExecutionEvent) -> None:
            on_bug(event.exception)

        self._scheduler.add_listener(failed, EVENT_JOB_ERROR)

    def every(self, seconds: float, call: Callable[[], Awaitable[None]], name: str) -> None:
        """Call every so many seconds, the first time at once where the caller does so itself."""
        self._scheduler.add_job(call, "interval", seconds=seconds, id=name, name=name)

    def soon(self, name: str) -> None:
        """Call at once rather than when its time comes, at most four times a second; from then on at its usual pace."""
        job = self._scheduler.get_job(name)
        now = datetime.now(UTC)
        # The calendar may have been set back meanwhile.
        since = max(now - self._hurried.get(name, _NEVER), timedelta())
        due = now if since >= _HURRIED_APART else now + _HURRIED_APART - since
        if job is not None and due < job.next_run_time:
            self._hurried[name] = due
            job.modify(next_run_time=due)

    def start(self) -> None:
        """Begin; must be called on the event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """End without waiting for calls under way."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
