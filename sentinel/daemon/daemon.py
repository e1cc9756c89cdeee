"""The daemon: builds every object, runs them, and shuts them down in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

import structlog

from sentinel.api.ending_handlers import Ending
from sentinel.api.event_stream import Broadcaster, Past
from sentinel.api.handlers import Queries
from sentinel.api.openapi import Description
from sentinel.api.restart_handlers import Restarting, restarters
from sentinel.api.routes import Query
from sentinel.api.series_handlers import Plotting
from sentinel.api.server import ApiServer
from sentinel.api.silence_handlers import Silencing
from sentinel.api.socket import SocketInUse
from sentinel.api.start_handlers import ReportedStart, Reporting
from sentinel.daemon import systemd, wiring
from sentinel.daemon.active_rules import SETTLED, ActiveRules, tidy
from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.housekeeping import Housekeeping
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.kernel_watch import KernelWatch
from sentinel.daemon.log_followers import Logs
from sentinel.daemon.readiness import Readiness
from sentinel.daemon.reload import Reload
from sentinel.daemon.schedule import Schedule
from sentinel.daemon.socket_keeper import Listening
from sentinel.daemon.starts import Starts
from sentinel.daemon.state_lock import StateLock
from sentinel.daemon.supervisor import Supervisor
from sentinel.daemon.threads import Workers
from sentinel.daemon.view import View
from sentinel.engine.inspect.plotted import plotted
from sentinel.files.machine import host_name
from sentinel.history import History
from sentinel.history.series import Series
from sentinel.model.cuts import Cuts
from sentinel.model.json_form import transition_to_dict
from sentinel.model.reading import Tick
from sentinel.recording.archive import Archive
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.files import Loaded, RuleFiles
from sentinel.sinks import Outbox
from sentinel.sources.base import SourceFault
from sentinel.sources.gpu.hotplug import Udev
from sentinel.sources.logs.oom_daemons import OomDaemons
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes.discover import Servers

#: What `run` returns when the clock was set or the machine was suspended: the state is on disk, build a new daemon and go on.
AGAIN = -1
_TICK = 1.0
log = structlog.get_logger("sentinel")


class Daemon:
    """One run of sentinel in the foreground."""

    def __init__(self, config: Config, files: RuleFiles, loaded: Loaded) -> None:
        assert loaded.ruleset is not None
        self.config = config
        self._rule_files = files
        self.clock = Clock()
        self.inbox = Inbox()
        #: what was cut or refused of what strangers gave
        self.cuts = Cuts()
        #: raises StateInUse, before anything of the folder is read
        self._lock = StateLock(config.state_dir)
        self.history = History(config.state_dir / "history.sqlite")
        self.broadcaster = Broadcaster(Past(self.history.epoch, self.history.last_id, self._published))
        self._executor = Workers()
        self.supervisor = Supervisor(self.inbox, self.clock, self._executor)
        self.wakes = Wakes()
        self.logs = Logs(config, self.inbox, self.supervisor, self.clock, self.wakes, FileReads(self._executor), self.cuts)
        self.series = Series(config.state_dir / "series.sqlite", self._executor.submit)
        self.outbox = Outbox(wiring.sinks(config, self.supervisor), self.history)
        self.recorder = FlightRecorder(Archive(config.state_dir / "recordings")) if config.recorder else None
        self.consumer = Consumer(
            loaded.ruleset,
            self.inbox,
            self.history,
            self.outbox,
            self.broadcaster,
            self.logs,
            self.clock,
            self._alive,
            self.recorder,
            self._find_servers,
            self.cuts,
        )
        self.rules = ActiveRules(loaded, self.consumer.use, self.supervisor, self.history)
        self._housekeeping = Housekeeping(self.history, self.outbox, self.supervisor, config.journal_socket)
        self._view = View(
            config.state_dir, self.clock.now(), self.history, self.series, self.outbox, self.recorder, self.inbox,
            self.clock, self.consumer, self.supervisor, self.rules,
        )  # fmt: skip
        self._stop = asyncio.Event()
        self._schedule = Schedule(self._crash)
        self._listening: Listening | None = None
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kernel: KernelWatch | None = None
        self._starts: Starts | None = None
        self._readiness = Readiness(systemd.watchdog_interval())

    def _published(self, number: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        return [(one, transition_to_dict(transition, host_name())) for one, transition in self.history.following(number, limit)]

    def _routes(self) -> dict[tuple[str, str], Query]:
        silencing = Silencing(lambda: self.consumer.engine, self.clock.now, self.consumer.silenced)
        ending = Ending(lambda: self.consumer.engine, self.clock.now, self.consumer.decided)
        restarting = Restarting(lambda: self.consumer.engine, self.clock.now, self.consumer.decided)
        plotting = Plotting(self.series, self.clock.now)
        parts = (Queries(self._view), silencing, ending, restarting, Reporting(self._reported), plotting, Description())
        return {route: query for part in parts for route, query in part.routes().items()}

    async def _reported(self, reported: ReportedStart, wrapper: int, user: int) -> None:
        if self._starts is not None:
            await self._starts.take(reported, wrapper, user)

    async def run(self) -> int:
        """Run until a signal. Returns 0 after a clean shutdown, 2 if another daemon has the socket, AGAIN after a clock lapse."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        try:
            self.wakes.start()
        except SourceFault as fault:
            # Logs are then polled every second instead.
            self.supervisor.note("inotify", "failed", str(fault), fault.remedy)
        self.consumer.restore()
        self.series.restore()
        if self.series.message:
            log.warning(self.series.message)
        self._readiness.begin()
        if self.recorder is not None:
            self.recorder.kept.adopt()
        self.logs.begin()
        api = self._view.api = ApiServer(self._routes(), self.broadcaster, on_bug=self._bug, may_restart=restarters())
        listening = self._listening = Listening(self.config, api, self.supervisor)
        try:
            await listening.begin()
        except SocketInUse as used:
            log.error(f"not started: {used}")
            self.wakes.stop()
            return 2
        tasks = self._begin(self._schedule)
        reload = self._view.reloads = Reload(
            self._rule_files, self.rules.loaded.signature, self.rules.take, self.wakes, self._executor
        )
        loop.add_signal_handler(signal.SIGHUP, reload.ask)
        tasks.append(asyncio.create_task(reload.run(), name="reload"))
        self.rules.report(self.rules.loaded)
        tasks.append(asyncio.create_task(self._until_lapse(), name="clock"))
        consumer = asyncio.create_task(self.consumer.run(), name="engine")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        log.info(
            "watching", rules=len(self.consumer.engine.ruleset.rules), socket=listening.where, state=str(self.config.state_dir)
        )
        try:
            ends: list[asyncio.Future[Any]] = [stop, consumer, self._crashed, *tasks]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {stop}:
                # A bug: crash, systemd restarts the daemon and the state is on disk.
                ended.result()
        finally:
            lapse = self.clock.lapse()
            if not lapse or self._stop.is_set():
                systemd.notify("STOPPING=1")
            self._schedule.stop()
            if self._starts is not None:
                self._starts.close()
            for task in [*tasks, stop, consumer]:
                task.cancel()
            self._crashed.cancel()
            await asyncio.gather(*tasks, consumer, stop, return_exceptions=True)
            await self.logs.close()
            await api.close()
            listening.close()
            self.wakes.stop()
            self.series.close()
            self._executor.shutdown()
            self.consumer.close()
            self.history.close()
            self._lock.release()
        if lapse and not self._stop.is_set():
            if abs(self.clock.drift()) < 1.0:
                # A clock that was set is reported when the state is shifted to the new one.
                log.info(f"{lapse}: restarting all sources")
            return AGAIN
        return 0

    async def _until_lapse(self) -> None:
        """Return when the clock was set or the machine was suspended. Not a scheduled call: the scheduler goes by the wall clock,
        and once that is set back by a day, runs nothing for a day.
        """
        # Neither raises an event, so this polls.
        while not self.clock.lapse():  # noqa: ASYNC110
            await asyncio.sleep(_TICK)

    def _begin(self, schedule: Schedule) -> list[asyncio.Task[None]]:
        """Start every source."""
        tasks: list[asyncio.Task[None]] = []
        for source, poll in wiring.polls(self.config, self.supervisor, self.logs, schedule.soon, self.cuts):
            schedule.every(source.interval, poll, source.name)
            tasks.append(asyncio.create_task(_endless(poll), name=f"first {source.name}"))
            if isinstance(source, Servers):
                self._starts = Starts(source, self.supervisor, self._find_servers, self._executor)
        kernel = self._kernel = KernelWatch(self.config.dev, self.inbox, self.supervisor, self.logs, self.clock)
        tasks.append(asyncio.create_task(kernel.run(), name="kernel"))
        for stream in (Udev(wiring.roots_of(self.config)), OomDaemons()):
            tasks.append(asyncio.create_task(self.supervisor.stream(stream), name=stream.name))
        schedule.every(_TICK, self._tick, "tick")
        schedule.start()
        return tasks

    def _find_servers(self) -> None:
        """Look for the process at once when a log reports a start: one that fails may exit within a poll's interval, and its
        command line, from which fixes compute their numbers, would stay unknown.
        """
        self._schedule.soon(Servers.name)

    async def _tick(self) -> None:
        self._readiness.looked(self.supervisor.states.values())
        self.inbox.offer(Tick(self.clock.now()))
        self._housekeeping.look(self.clock.now())
        for sentence in self.cuts.fresh():
            self.supervisor.inform(sentence)
        if self._listening is not None:
            await self._listening.watch()
        if self._kernel is not None:
            self._kernel.report(self.consumer.engine.state)
        if self._starts is not None:
            self._starts.learn()

    def _alive(self) -> None:
        """The engine has processed a tick: only this makes the daemon ready and feeds the watchdog."""
        now = self.clock.now()
        self.series.take(now, plotted(self.consumer.engine, now, self.series.taken))
        if self._readiness.took_tick(now, self._view.headline()):
            asyncio.get_running_loop().call_later(SETTLED, tidy)

    def _crash(self, error: BaseException) -> None:
        """A bug in a scheduled call: crash, systemd restarts the daemon and the state is on disk."""
        if not self._crashed.done():
            self._crashed.set_exception(error)

    def _bug(self, error: BaseException) -> None:
        log.error(f"a query failed; this is a bug in sentinel: {error!r}")


async def _endless(poll: Callable[[], Any]) -> None:
    """Poll once now, then leave it to the schedule; returns only when cancelled."""
    await poll()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
