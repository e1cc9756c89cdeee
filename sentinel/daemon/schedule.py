"""Triggers polls and ticks, without any logic. The only file that imports apscheduler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from sentinel.daemon.lean_imports import without_plugins

with without_plugins():
    from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
    from apscheduler.executors.asyncio import AsyncIOExecutor
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.interval import IntervalTrigger

#: A log full of starts must not cause a listing of all processes for each of them.
_HURRIED_APART = timedelta(seconds=0.25)
_NEVER = datetime.min.replace(tzinfo=UTC)


class Schedule:
    """Periodic calls on the running event loop. Runs of one call never overlap, and missed ones are skipped.

    `on_bug` gets what a call raised: the scheduler would only log it and go on, with a dead source that counts as up.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._scheduler = AsyncIOScheduler(
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            # Only intervals are used; detecting the system's time zone would read files at every start.
            timezone="UTC",
        )

        #: when each call was last run early
        self._hurried: dict[str, datetime] = {}

        def failed(event: JobExecutionEvent) -> None:
            on_bug(event.exception)

        self._scheduler.add_listener(failed, EVENT_JOB_ERROR)

    def every(self, seconds: float, call: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a call every so many seconds. The first run is after one interval; a caller that wants one now makes it itself."""
        self._scheduler.add_job(call, IntervalTrigger(seconds=seconds, timezone=UTC), id=name, name=name)

    def soon(self, name: str) -> None:
        """Run a call now, at most four times a second; then at its usual interval."""
        job = self._scheduler.get_job(name)
        now = datetime.now(UTC)
        # The wall clock may have been set back meanwhile.
        since = max(now - self._hurried.get(name, _NEVER), timedelta())
        due = now if since >= _HURRIED_APART else now + _HURRIED_APART - since
        if job is not None and due < job.next_run_time:
            self._hurried[name] = due
            job.modify(next_run_time=due)

    def start(self) -> None:
        """Start; must be called on the event loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop without waiting for running calls."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
