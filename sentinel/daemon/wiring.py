"""Builds the daemon's sources and sinks from its configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

from sentinel.daemon.config import Config
from sentinel.daemon.log_followers import Logs
from sentinel.daemon.polled_sources import SOURCES
from sentinel.daemon.supervisor import Supervisor
from sentinel.files.xdg import config_home
from sentinel.model.cuts import Cuts
from sentinel.preflight.on_start import Preflights
from sentinel.sinks import ConsoleSink, JournaldSink, Sink
from sentinel.sources.base import Polled
from sentinel.sources.fs import Roots
from sentinel.sources.gpu.nvml import Nvml
from sentinel.sources.host import Host
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.gpu_sample import ServerGpus
from sentinel.sources.processes.sample import ServerSampler
from sentinel.sources.processes.unit_files import ServerUnits
from sentinel.sources.server.health import LlamaHttp
from sentinel.sources.server.slots import LlamaSlots

#: Seconds that a connection to a server lasts before it is somebody's request: /health is answered at once, unless the
#: machine is busy, /slots of many builds within a second or never.
_ALONE, _BESIDE_SLOTS = 0.5, 1.25
#: They read the kernel's own files, and a model's header once; drivers, programs and servers are waited for on other threads.
_TOGETHER = (Host, ServerSampler, Preflights)
#: A polled source with the call that polls it once.
Poll = tuple[Polled, Callable[[], Awaitable[None]]]


def roots_of(config: Config) -> Roots:
    """The roots of the kernel's file systems."""
    return Roots(proc=config.proc, sys=config.sys, dev=config.dev)


def polls(config: Config, supervisor: Supervisor, logs: Logs, soon: Callable[[str], None], cuts: Cuts) -> list[Poll]:
    """Every polled source: those of servers and those of the machine. `soon` runs one early."""
    roots = roots_of(config)
    found = _about_servers(config, roots, supervisor, logs, soon, cuts) if config.discover else []
    for build in SOURCES:
        source = build(roots, config.intervals)
        found.append((source, supervisor.poller(source, alone=not isinstance(source, _TOGETHER))))
    return found


def _about_servers(
    config: Config, roots: Roots, supervisor: Supervisor, logs: Logs, soon: Callable[[str], None], cuts: Cuts
) -> list[Poll]:
    servers = Servers(roots, {server.port: server.name for server in config.servers if server.port}, cuts)
    nvml = Nvml(lambda: servers.servers, roots)
    nvml.interval = config.intervals.gpu
    on_gpus = ServerGpus(lambda: servers.servers, roots, nvml.held_by)
    sampler = ServerSampler(lambda: servers.servers, roots, on_gpus.bytes_of)
    sampler.interval = on_gpus.interval = config.intervals.process

    watching: list[Polled] = [sampler, on_gpus, nvml, Preflights(lambda: servers.servers, roots)]
    at_once = tuple(source.name for source in watching)
    known: set[tuple[int, int]] = set()
    logs.units = ServerUnits.of_user(os.getuid(), config_home(os.environ))

    async def update() -> None:
        if servers.brief:
            # They are gone already: their logs are opened, and read to their end by the second update.
            logs.update((*servers.servers, *servers.brief))
        logs.update(servers.servers)
        there = {(server.pid, server.ticks) for server in servers.servers}
        if there - known:
            # A server that fails to start may have exited before the next poll.
            for name in at_once:
                soon(name)
        known.clear()
        known.update(there)

    found: list[Poll] = [(servers, supervisor.poller(servers, update, alone=False))]
    if config.ask_servers:
        watching.append(LlamaHttp(lambda: servers.servers, lambda server: not logs.reads(server), roots))
    if config.watch_slots:
        watching.append(LlamaSlots(lambda: servers.servers, roots))
    if config.quality.is_on:
        # Nobody else pays for it.
        from sentinel.quality.daily.source import QualityChecks

        patience = _BESIDE_SLOTS if config.watch_slots else _ALONE
        watching.append(
            QualityChecks(lambda: servers.servers, roots, config.quality, config.state_dir / "quality/daily", patience)
        )
    return found + [(source, supervisor.poller(source, alone=not isinstance(source, _TOGETHER))) for source in watching]


def sinks(config: Config, supervisor: Supervisor) -> list[Sink]:
    """journald where it runs, else the terminal, which prints why."""
    path = config.journal_socket
    if config.sink == "journald" or (config.sink == "auto" and path.exists()):
        found: list[Sink] = [JournaldSink(path)]
        if not path.exists():
            why = f'journald is not running here ({path} is not there): alerts wait until it is; or set sink = "console"'
            supervisor.note("journald", "failed", why)
        # A user who starts the daemon by hand looks at the terminal, not at the journal.
        if sys.stderr.isatty():
            found.append(ConsoleSink())
        return found
    because = "" if config.sink == "console" else f"journald is not running here ({path} is not there)"
    return [ConsoleSink(because=because)]
