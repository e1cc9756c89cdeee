"""The daemon: builds every object, runs them, and takes them down in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from sentinel.api.event_stream import Broadcaster, Past
from sentinel.api.handlers import Queries
from sentinel.api.openapi import Description
from sentinel.api.routes import Query
from sentinel.api.server import ApiServer
from sentinel.api.silence_handlers import Silencing
from sentinel.api.socket import SocketInUse
from sentinel.daemon import systemd
from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.daemon.malloc import give_back
from sentinel.daemon.override_drift import Upgrades
from sentinel.daemon.polled_sources import SOURCES
from sentinel.daemon.readiness import Readiness, headline
from sentinel.daemon.reload import Reload
from sentinel.daemon.schedule import Schedule
from sentinel.daemon.socket_keeper import Listening
from sentinel.daemon.supervisor import SourceState, Supervisor
from sentinel.daemon.threads import Workers
from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.model.entity import HOST, Unknown, Value
from sentinel.model.json_form import transition_to_dict
from sentinel.model.reading import LogLines, Reading, Samples, Tick
from sentinel.preflight.on_start import Preflights
from sentinel.recording.archive import Recordings
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.files import Loaded, RuleFiles
from sentinel.rulefiles.override import sentence
from sentinel.sinks import ConsoleSink, JournaldSink, Outbox, Sink
from sentinel.sources.base import Polled, SourceFault
from sentinel.sources.fs import Roots
from sentinel.sources.gpu.hotplug import Udev
from sentinel.sources.gpu.nvml import Nvml
from sentinel.sources.logs.kernel import KernelJournal, KernelPosition, KmsgSource, kernel_source
from sentinel.sources.logs.oom_daemons import OomDaemons
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.gpu_sample import ServerGpus
from sentinel.sources.processes.sample import ServerSampler
from sentinel.sources.server.health import LlamaHttp
from sentinel.sources.server.slots import LlamaSlots

#: What `run` returns when the clock was set or the machine was asleep: the state is on disk, build another one and go on.
AGAIN = -1
_TICK = 1.0
_PRUNE_EVERY = 3600.0
#: A storm of transitions is cut to size within the hour too.
_PRUNE_ROWS = 10_000
_RETRY_STATE = 5.0
#: After every source has looked once, what it found has been judged and the first checkpoint was made. Seconds.
_SETTLED = 7.0
#: Seconds before the start of sentinel from which the kernel's old messages still count.
_OLD_KERNEL_NEWS = 600.0
log = structlog.get_logger("sentinel")


class Daemon:
    """One run of sentinel in the foreground."""

    def __init__(self, config: Config, files: RuleFiles, loaded: Loaded) -> None:
        assert loaded.ruleset is not None
        self.config = config
        self._rule_files = files
        self.loaded = loaded
        self.clock = Clock()
        self.inbox = Inbox()
        self.history = History(config.state_dir / "history.sqlite")
        self.broadcaster = Broadcaster(Past(self.history.epoch, self.history.last_id, self._published))
        self._executor = Workers()
        self.supervisor = Supervisor(self.inbox, self.clock, self._executor)
        self.wakes = Wakes()
        self.logs = Logs(config, self.inbox, self.supervisor, self.clock, self.wakes)
        self.sinks = self._sinks()
        self.outbox = Outbox(self.sinks, self.history)
        self.recorder = FlightRecorder(Recordings(config.state_dir / "recordings")) if config.recorder else None
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
        )
        self.started = self.clock.now()
        #: the history's fault was told
        self._state_failed = bool(self.history.fault)
        self._pruned = self.history.last_id
        self._upgrades = Upgrades(self.history)
        #: each override, with what an upgrade changed under it
        self.overrides: list[dict[str, Any]] = []
        self._stop = asyncio.Event()
        self._api: ApiServer | None = None
        self._listening: Listening | None = None
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kernel: KmsgSource | KernelJournal | None = None
        #: messages of the kernel that were lost, as told
        self._kernel_lost = 0
        self._readiness = Readiness(systemd.watchdog_interval())

    def _published(self, number: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        return [(one, transition_to_dict(transition)) for one, transition in self.history.following(number, limit)]

    def _routes(self) -> dict[tuple[str, str], Query]:
        silencing = Silencing(lambda: self.engine, self.clock.now, self.consumer.silenced)
        return {**Queries(self).routes(), **silencing.routes(), **Description().routes()}

    def _sinks(self) -> list[Sink]:
        """journald where it runs, else the terminal, which says so."""
        path = self.config.journal_socket
        if self.config.sink == "journald" or (self.config.sink == "auto" and path.exists()):
            sinks: list[Sink] = [JournaldSink(path)]
            if not path.exists():
                why = f'journald is not running here ({path} is not there): alerts wait until it is; or set sink = "console"'
                self.supervisor.note("journald", "failed", why)
            # Somebody who starts the daemon by hand looks at the terminal, not at the journal.
            if sys.stderr.isatty():
                sinks.append(ConsoleSink())
            return sinks
        because = "" if self.config.sink == "console" else f"journald is not running here ({path} is not there)"
        return [ConsoleSink(because=because)]

    async def run(self) -> int:
        """Run until a signal; 0 at an orderly end, 2 when the socket belongs to another daemon, AGAIN when time has lapsed."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        if self.history.message:
            log.warning(self.history.message)
        if self.history.fault:
            log.warning(f"state is not kept on disk: {self.history.fault}")
        try:
            self.wakes.start()
        except SourceFault as fault:
            # Logs are then read once a second instead of at once.
            self.supervisor.note("inotify", "failed", str(fault))
        self.consumer.restore()
        self._readiness.begin()
        if self.recorder is not None:
            self.recorder.kept.adopt()
        self.logs.begin()
        api = self._api = ApiServer(self._routes(), self.broadcaster, on_bug=self._bug)
        listening = self._listening = Listening(self.config, api, self.supervisor)
        try:
            await listening.begin()
        except SocketInUse as used:
            log.error(f"not started: {used}")
            self.wakes.stop()
            return 2
        schedule = Schedule(self._crash)
        tasks = self._begin(schedule)
        reload = self._reload = Reload(self._rule_files, self.loaded.signature, self._take_rules, self.wakes, self._executor)
        loop.add_signal_handler(signal.SIGHUP, reload.ask)
        tasks.append(asyncio.create_task(reload.run(), name="reload"))
        self._tell_rules(self.loaded)
        tasks.append(asyncio.create_task(self._until_lapse(), name="clock"))
        consumer = asyncio.create_task(self.consumer.run(), name="engine")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        log.info("watching", rules=len(self.engine.ruleset.rules), socket=listening.where, state=str(self.config.state_dir))
        try:
            ends: list[asyncio.Future[Any]] = [stop, consumer, self._crashed, *tasks]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {stop}:
                # A bug: let it crash, systemd restarts it and the state is on disk.
                ended.result()
        finally:
            lapse = self.clock.lapse()
            if not lapse or self._stop.is_set():
                systemd.notify("STOPPING=1")
            schedule.stop()
            for task in [*tasks, stop, consumer]:
                task.cancel()
            self._crashed.cancel()
            await asyncio.gather(*tasks, consumer, stop, return_exceptions=True)
            await self.logs.close()
            await api.close()
            listening.close()
            self.wakes.stop()
            self._executor.shutdown()
            self.consumer.close()
            self.history.close()
        if lapse and not self._stop.is_set():
            if abs(self.clock.drift()) < 1.0:
                # That the clock was set is told when the state is carried over to the new calendar.
                log.info(f"{lapse}: sentinel looks at everything anew")
            return AGAIN
        return 0

    async def _until_lapse(self) -> None:
        """Ends when the clock was set or the machine was asleep. Not on the schedule, which goes by the wall clock: when that is
        set back by a day, nothing of it runs for a day.
        """
        # Nothing tells of either, so it has to be looked for.
        while not self.clock.lapse():  # noqa: ASYNC110
            await asyncio.sleep(_TICK)

    def _begin(self, schedule: Schedule) -> list[asyncio.Task[None]]:
        """Start every source."""
        roots = Roots(proc=self.config.proc, sys=self.config.sys, dev=self.config.dev)
        intervals = self.config.intervals
        tasks: list[asyncio.Task[None]] = []
        polls: list[tuple[Polled, Callable[[], Awaitable[None]]]] = []
        if self.config.discover:
            servers = Servers(roots)
            nvml = Nvml(lambda: servers.servers, roots)
            nvml.interval = intervals.gpu
            on_gpus = ServerGpus(lambda: servers.servers, roots, nvml.held_by)
            sampler = ServerSampler(lambda: servers.servers, roots, on_gpus.bytes_of)
            sampler.interval = on_gpus.interval = intervals.process

            async def update() -> None:
                self.logs.update(servers.servers)

            polls += [(servers, self.supervisor.poller(servers, update))]
            watching: tuple[Polled, ...] = (sampler, on_gpus, nvml, Preflights(lambda: servers.servers, roots))
            polls += [(source, self.supervisor.poller(source)) for source in watching]
            if self.config.ask_servers:
                http = LlamaHttp(lambda: servers.servers, lambda server: not self.logs.reads(server))
                polls.append((http, self.supervisor.poller(http)))
            if self.config.watch_slots:
                slots = LlamaSlots(lambda: servers.servers)
                polls.append((slots, self.supervisor.poller(slots)))
        for build in SOURCES:
            source = build(roots, intervals)
            polls.append((source, self.supervisor.poller(source)))
        for polled, poll in polls:
            schedule.every(polled.interval, poll, polled.name)
            tasks.append(asyncio.create_task(_endless(poll), name=f"first {polled.name}"))
        kernel = self._kernel = kernel_source(self._kernel_start(), backlog=True, path=self.config.dev / "kmsg")
        cards = Udev(roots)
        following = self.supervisor.stream(
            kernel, position=kernel.position, note=self._note_kernel, wanted=self._is_recent, proven=lambda: kernel.proven
        )
        tasks.append(asyncio.create_task(following, name="kernel"))
        tasks.append(asyncio.create_task(self.supervisor.stream(cards), name="udev"))
        tasks.append(asyncio.create_task(self.supervisor.stream(OomDaemons()), name="oom daemons"))
        schedule.every(_TICK, self._tick, "tick")
        schedule.start()
        return tasks

    def _tell_state(self) -> None:
        """A disk that takes nothing is tried again every few seconds, and told when that begins and when it is over."""
        # Not at each tick: a try on a database that another process locks takes two seconds.
        if self.history.fault and self.clock.now() % _RETRY_STATE < _TICK:
            self.history.retry()
        if bool(self.history.fault) is self._state_failed:
            return
        self._state_failed = not self._state_failed
        if self._state_failed:
            log.warning(f"state is not kept on disk: {self.history.fault}")
        else:
            log.info("state is kept on disk again, nothing was lost")

    def _tell_sinks(self) -> None:
        """A sink that takes nothing is told once, and so is the end of that."""
        down = self.outbox.down()
        for sink in self.sinks:
            if sink.name in down:
                if self.supervisor.state(sink.name).health != "failed":
                    self.supervisor.note(sink.name, "failed", down[sink.name])
            elif sink.name in self.supervisor.states and (sink.name != "journald" or self.config.journal_socket.exists()):
                self.supervisor.note(sink.name, "up")

    async def _tick(self) -> None:
        self._readiness.looked(self.supervisor.states.values())
        self.inbox.offer(Tick(self.clock.now()))
        self._tell_state()
        self._tell_sinks()
        if self._listening is not None:
            await self._listening.watch()
        self._tell_kernel()
        now = self.clock.now()
        if now % _PRUNE_EVERY < _TICK or self.history.last_id - self._pruned > _PRUNE_ROWS:
            self._pruned = self.history.last_id
            self.history.prune(now)
            give_back()

    def _alive(self) -> None:
        """The engine has taken a tick: only its own progress makes the daemon ready and feeds the watchdog."""
        now = self.clock.now()
        if self._readiness.took_tick(now, self.headline()):
            asyncio.get_running_loop().call_later(_SETTLED, _tidy)

    @property
    def engine(self) -> Engine:
        """What is believed and what is open."""
        return self.consumer.engine

    @property
    def clients(self) -> int:
        """Connections to the socket."""
        return self._api.clients if self._api is not None else 0

    @property
    def state_dir(self) -> Path:
        """Where history and recordings are kept."""
        return self.config.state_dir

    @property
    def lag(self) -> float:
        """Seconds between the last reading and its judgement."""
        return self.consumer.lag

    @property
    def notified(self) -> Mapping[tuple[str, str], int]:
        """Transitions so far, by rule and state."""
        return self.consumer.told

    def now(self) -> float:
        """Seconds since the epoch, on this run's clock."""
        return self.clock.now()

    def sources(self) -> list[SourceState]:
        """How every source is doing, by name."""
        return sorted(self.supervisor.states.values(), key=lambda state: state.name)

    def headline(self) -> str:
        """One line for `systemctl status`."""
        troubles = [f"alerts wait for {name}" for name in self.outbox.down()]
        troubles += ["state is not kept on disk"] if self.history.fault else []
        failed = [state.name for state in self.supervisor.states.values() if state.health == "failed"]
        return headline(self.engine, self.clock.now(), failed, troubles)

    def _tell_kernel(self) -> None:
        """Whether the kernel log is read is a fact that rules need; what was overwritten unread is told."""
        if self._kernel is None:
            return
        if isinstance(self._kernel, KmsgSource) and (lost := self._kernel.lost - self._kernel_lost) > 0:
            self._kernel_lost += lost
            log.warning(
                f"{lost} messages of the kernel were overwritten before they could be read: an OOM kill or a GPU reset among "
                "them was not seen; `journalctl -k` may have them"
            )
        state = self.supervisor.state(self._kernel.name)
        if state.health == "starting":
            return
        known = self.engine.beliefs.facts.last(HOST, "host.kernel_log_readable")
        up = state.health == "up"
        if known is None or known.value is not up:
            values: dict[str, Value | Unknown] = {"host.kernel_log_readable": up, "host.kernel_log_why": state.why}
            self.inbox.offer(Samples(self.clock.now(), self._kernel.name, HOST, values))

    def _kernel_start(self) -> KernelPosition | None:
        saved = self.logs.cursors.get("kernel")
        try:
            return KernelPosition(**json.loads(saved)) if saved else None
        except (ValueError, TypeError):
            return None

    def _note_kernel(self, position: KernelPosition) -> None:
        self.logs.cursors["kernel"] = json.dumps(asdict(position))

    def _is_recent(self, reading: Reading) -> bool:
        """What the kernel said long before sentinel first looked is history: a kill of last night is no news."""
        return not (isinstance(reading, LogLines) and reading.backlog and reading.at < self.started - _OLD_KERNEL_NEWS)

    # --- rules ---

    def _take_rules(self, loaded: Loaded) -> None:
        """Use what was loaded; a set with mistakes leaves the old one in force."""
        if loaded.ruleset is not None:
            self.loaded = loaded
            self.consumer.use(loaded.ruleset)
            log.info("rules loaded", rules=len(loaded.ruleset.rules))
        self._tell_rules(loaded)
        # Not at once: whoever asked for the reload still compares the new rules with the old.
        asyncio.get_running_loop().call_later(_SETTLED, _tidy)

    def _tell_rules(self, loaded: Loaded) -> None:
        """What is wrong with the rule files, in the status and in the log."""
        errors = [str(problem) for problem in loaded.errors]
        if errors:
            stay = f"judged without {', '.join(loaded.left_out)}" if loaded.left_out else "the old rules stay in force"
            more = f" (and {len(errors) - 1} more: `sentinel rules lint`)" if len(errors) > 1 else ""
            # It says this in the log too, when it is news.
            self.supervisor.note("rules", "failed", f"{stay}: {errors[0]}{more}")
            for error in errors[1:]:
                log.warning(error)
        else:
            self.supervisor.note("rules", "up")
        if loaded.ruleset is not None:
            self.overrides = self._upgrades.look(loaded.ruleset.overrides)
            for one in self.overrides:
                if one["changed"]:
                    log.warning(sentence(one))

    def _crash(self, error: BaseException) -> None:
        """A bug in a scheduled call: let it crash, systemd restarts it and the state is on disk."""
        if not self._crashed.done():
            self._crashed.set_exception(error)

    async def reload(self) -> Loaded:
        """Load the rules anew at once; with mistakes the old ones are in force as before."""
        return await self._reload.now()

    def _bug(self, error: BaseException) -> None:
        log.error(f"a query failed; this is a bug of sentinel: {error!r}")


def _tidy() -> None:
    """What checking the rules left in circles is 2 MB that nothing else collects for hours (measured)."""
    gc.collect()
    give_back()


async def _endless(poll: Callable[[], Any]) -> None:
    """Poll once at once, then leave it to the schedule; ends only when cancelled."""
    await poll()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
