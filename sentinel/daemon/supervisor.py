"""Runs the sources: isolates them from each other, backs off after a fault, and keeps the state of each."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import structlog

from sentinel.daemon.clock import Clock
from sentinel.daemon.descriptors import shortage
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.together import Together
from sentinel.model.reading import LogLines, Reading
from sentinel.sources.base import NotHere, Polled, SourceFault, Streaming

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_SETTLED = 1.0
#: A poll that takes longer than this hangs; the slowest source, rocm-smi, times out after 14. Seconds.
_PATIENCE = 20.0
#: What is absent now (a GPU, a driver) may appear later: the interval of retries. Seconds.
_ABSENT_PAUSE = 60.0

Health = Literal["starting", "up", "absent", "failed"]
T = TypeVar("T")
log = structlog.get_logger("sentinel")


@dataclass(slots=True)
class SourceState:
    """The state of a source. `why` is a sentence for the user where it is not up."""

    name: str
    health: Health = "starting"
    why: str = ""
    #: the remedy, where one is known; `why` ends with it
    remedy: str = ""
    since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


def _shortage_of(error: OSError) -> str:
    """The machine's lack is the source's fault; any other error that a source lets through is a bug of it, and raised."""
    if why := shortage(error):
        return why
    raise error


class Supervisor:
    """Runs polled and streaming sources; a failing source never stops the others."""

    def __init__(self, inbox: Inbox, clock: Clock, executor: Executor, patience: float = _PATIENCE) -> None:
        self.states: dict[str, SourceState] = {}
        self._inbox = inbox
        self._clock = clock
        self._executor = executor
        self._together = Together(executor)
        self._patience = patience

    def state(self, name: str) -> SourceState:
        """The state of a source, created if there is none."""
        if name not in self.states:
            self.states[name] = SourceState(name, since=self._clock.now())
        return self.states[name]

    def note(self, name: str, health: Health, why: str = "", remedy: str = "") -> None:
        """Set the state of a source; a change is logged."""
        state = self.state(name)
        now = self._clock.now()
        if health == "failed":
            state.failures += 1
            state.retry_at = now + min(_FIRST_PAUSE * 2.0 ** min(state.failures - 1, 10), _LONGEST_PAUSE)
        else:
            state.failures = 0
            state.retry_at = now + _ABSENT_PAUSE if health == "absent" else 0.0
        if (state.health, state.why) == (health, why):
            return
        if health == "failed":
            log.warning(f"source {name} failed: {why}")
        elif state.health == "failed":
            log.info(f"source {name} works again")
        state.health, state.why, state.remedy, state.since = health, why, remedy, now

    def now(self) -> float:
        """Time on the clock of `retry_at`."""
        return self._clock.now()

    def inform(self, text: str) -> None:
        """Log a fault that is already over."""
        log.warning(text)

    def forget(self, name: str) -> None:
        """Drop a source that is no longer needed."""
        self.states.pop(name, None)

    def poller(
        self, source: Polled, after: Callable[[], Awaitable[None]] | None = None, *, alone: bool = True
    ) -> Callable[[], Awaitable[None]]:
        """A call that polls the source once, unless it is backing off or still polled. `after` runs after a successful poll.

        What reads the kernel's own files need not be polled `alone`, on a thread of its own.
        """

        # The first poll is made outside of the schedule: while it hung, the source was polled a second time beside it.
        under_way = False

        async def poll() -> None:
            nonlocal under_way
            now = self._clock.now()
            if under_way or now < self.state(source.name).retry_at:
                return
            under_way = True
            try:
                await once(now)
            finally:
                under_way = False

        async def once(now: float) -> None:
            try:
                if source.blocking:
                    readings = await self._off_the_loop(source, now, alone=alone)
                else:
                    readings = source.poll(now)
            except NotHere as absent:
                self.note(source.name, "absent", str(absent))
                return
            except SourceFault as fault:
                self.note(source.name, "failed", str(fault), fault.remedy)
                return
            except OSError as error:
                self.note(source.name, "failed", _shortage_of(error))
                return
            self.note(source.name, "up")
            for reading in readings:
                self._inbox.offer(reading)
            if after is not None:
                await after()

        return poll

    async def _off_the_loop(self, source: Polled, now: float, *, alone: bool) -> Sequence[Reading]:
        """Poll on a thread. A poll that hangs is reported and waited for without a limit, so polls never overlap."""
        if alone:
            call = asyncio.get_running_loop().run_in_executor(self._executor, source.poll, now)
        else:
            call = self._together.run(partial(source.poll, now))
        try:
            done, _ = await asyncio.wait({call}, timeout=self._patience)
            if not done:
                why = f"no answer for {self._patience:g} s: the driver or file system that it reads may hang; the others go on"
                self.note(source.name, "failed", why)
            return await call
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def keep(self, name: str, work: Callable[[], Awaitable[None]], died: Callable[[str], None]) -> None:
        """Run a task that should never end, and restart it with a growing backoff. `died` gets the reason, a sentence.

        For tasks that run once per log: a bug of sentinel that one log triggers must not stop the others, as it would again
        after each restart of the daemon.
        """
        pause = _FIRST_PAUSE
        while True:
            begun = self._clock.now()
            try:
                await work()
                why = "reading it has ended by itself; it is started again"
            # Any exception: it is reported here, and nothing else awaits the task.
            except Exception as error:
                log.error("following a log failed; this is a bug in sentinel", exception=traceback.format_exc(limit=-4))
                why = f"sentinel failed over it ({type(error).__name__}: {error}); please report it, it is started again"
            self.note(name, "failed", why)
            died(why)
            pause = _FIRST_PAUSE if self._clock.now() - begun > _LONGEST_PAUSE else min(pause * 2.0, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def stream(
        self,
        source: Streaming,
        *,
        position: Callable[[], T] | None = None,
        note: Callable[[T], None] | None = None,
        wanted: Callable[[Reading], bool] | None = None,
        proven: Callable[[], bool] | None = None,
    ) -> None:
        """Run a streaming source for ever, restarting it with a backoff.

        `position()` is how far the source has read; `note` gets it once the engine has processed everything up to it. `wanted`
        filters the readings. A silent source counts as up after a second, or when `proven()` returns true if that is given.
        """
        state = self.state(source.name)
        covers: list[list[T]] = [[]]

        async def put(reading: Reading) -> None:
            if state.health != "up":
                self.note(source.name, "up")
            if wanted is not None and not wanted(reading):
                return
            if not isinstance(reading, LogLines) or position is None or note is None:
                await self._inbox.put(reading)
                return
            # A source advances its position after a put: that of the reading before this one is known only now.
            covers[0].append(position())
            mine: list[T] = []
            covers[0] = mine

            def taken() -> None:
                note(mine[0] if mine else position())

            await self._inbox.put(reading, taken)

        loop = asyncio.get_running_loop()
        well: asyncio.TimerHandle

        def settle() -> None:
            nonlocal well
            if proven is None or proven():
                self.note(source.name, "up")
            else:
                well = loop.call_later(_SETTLED, settle)

        while True:
            # A quiet source yields nothing: one that has run this long without a fault is up.
            well = loop.call_later(_SETTLED, settle)
            try:
                await source.run(put, self._clock.now)
            except NotHere as absent:
                self.note(source.name, "absent", str(absent))
            except SourceFault as fault:
                self.note(source.name, "failed", str(fault), fault.remedy)
            except OSError as error:
                self.note(source.name, "failed", _shortage_of(error))
            finally:
                well.cancel()
            await asyncio.sleep(max(_FIRST_PAUSE, state.retry_at - self._clock.now()))
