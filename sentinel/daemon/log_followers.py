"""Finds each server's log and follows it: files and journal units, from where an earlier run left off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config, ServerConfig
from sentinel.daemon.descriptors import most_logs
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.follower import OF_LLAMA_SERVER, Follower
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_keys import configured_key, unit_key, unit_user
from sentinel.daemon.log_reading import LogReading
from sentinel.daemon.log_reports import LogReports
from sentinel.daemon.supervisor import Supervisor
from sentinel.files.reader import Reader
from sentinel.model.cuts import Cuts
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LOG_STREAMS, MOST_STREAMS_OF_OWNER
from sentinel.model.reading import LogLines, Reading
from sentinel.model.shares import leaves_room, owner
from sentinel.sources.logs.docker_local import DockerLocal
from sentinel.sources.logs.file import LogFile
from sentinel.sources.logs.journal import JournalEntries, JournalUnit
from sentinel.sources.logs.llama_swap import LlamaSwapLog
from sentinel.sources.logs.log_place import Position
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.processes.unit_files import ServerUnits

#: A log is followed this long after its writer exited: a restart opens the same file again. Seconds.
_LINGER = 600.0
#: The same while more logs are open than there may be.
_LINGER_IN_NEED = 5.0
#: A unit is started right after its file was written: its first start may be over when that is seen. Seconds.
_JUST_NOW = 10.0


class Logs:
    """Opens and closes followers as servers come and go. `positions` and `cursors` cover what the engine has processed."""

    def __init__(
        self, config: Config, inbox: Inbox, supervisor: Supervisor, clock: Clock, wakes: Wakes, reads: FileReads,
        cuts: Cuts | None = None,
    ) -> None:  # fmt: skip
        self.cursors: dict[str, str] = {}
        self.restored: dict[str, Position] = {}
        #: units that start a llama-server: how a start ended that nobody saw stands in their journals
        self.units = ServerUnits(())
        self._config = config
        self._supervisor = supervisor
        self._clock = clock
        self._followers: dict[str, Follower] = {}
        #: journals of units in which a server runs; and of these, those whose servers have logs elsewhere, with the same lines in
        #: them (--log-file prints to the terminal as well)
        self._running: set[str] = set()
        self._elsewhere: set[str] = set()
        self._reports = LogReports(inbox, supervisor, clock)
        self._reading = LogReading(inbox, supervisor, clock, wakes, reads, self._reports, self._followers, cuts or Cuts())

    @property
    def positions(self) -> dict[str, dict[str, Any]]:
        """How far each file has been read, and the engine has processed it."""
        return self._reading.positions

    @property
    def in_midst(self) -> set[str]:
        """Files whose last read the engine has only partly processed."""
        return self._reading.in_midst

    def begin(self) -> None:
        """Follow the configured logs."""
        for server in self._config.servers:
            self._follow_configured(server, Entity("server", server.name))

    def restore(self, positions: dict[str, dict[str, Any]], cursors: dict[str, str]) -> None:
        """Resume at an earlier run's positions."""
        self.restored = {key: Position(**value) for key, value in positions.items()}
        self._reading.positions = dict(positions)
        self.cursors = dict(cursors)

    def reads(self, server: ServerProcess) -> bool:
        """Whether the log of a server is being read."""
        mine = [f for f in self._followers.values() if f.entity == server.entity]
        if all(f.unwanted_since is not None or f.shared for f in mine):
            return False
        return all(self._supervisor.state(f.key).health != "failed" and self._reports.is_heard(f) is not False for f in mine)

    def update(self, servers: Sequence[ServerProcess]) -> None:
        """Follow the logs of the running servers."""
        wanted: set[str] = {configured_key(s) for s in self._config.servers}
        configured = {s.name: s for s in self._config.servers if s.port}
        routers = {s.pid: s for s in servers if s.requested.is_router and s.log.kind != "none"}
        writers: dict[str, list[ServerProcess]] = {}
        for server in servers:
            port = server.values.get("server.port")
            given = configured.get(server.entity.name)
            if given is not None and given.port == port:
                key = configured_key(given)
                if given.log is not None and (health := self._supervisor.state(key).health) != "starting":
                    where = f"{given.log} (configured)"
                    self._reports.report(server.entity, health == "up", where)
            else:
                key = self._follow_found(server)
                router = routers.get(server.parent)
                if not key and router is not None and _prints_children(self._config.proc, router):
                    where = f"in the log of its router {router.entity.name}, with [{port}] in front"
                    self._reports.report(server.entity, True, where)
            wanted.add(key)
            writers.setdefault(key, []).append(server)
            if key in self._followers and (key.startswith(("journal:", "http:")) or self._followers[key].copied):
                self._reports.if_heard(self._followers[key], server)
        units = {server.key: unit_key(server.member.unit, unit_user(server)) for server in servers}
        self._running = set(units.values())
        self._elsewhere = {units[one.key] for key, theirs in writers.items() if key for one in theirs} - writers.keys()
        wanted |= self._follow_units()
        for key, theirs in writers.items():
            if key in self._followers:
                self._reports.whose(self._followers[key], theirs)
        self._reading.servers_seen()
        now = self._clock.now()
        # Descriptors of dead servers go first where there are few.
        linger = _LINGER if self._reading.open_files() <= most_logs() else _LINGER_IN_NEED
        for key, follower in list(self._followers.items()):
            if key in wanted:
                follower.unwanted_since = None
            elif follower.unwanted_since is None:
                follower.unwanted_since = now
                if follower.file is not None:
                    self._reading.begin_last_words(follower, follower.file)
            elif now - follower.unwanted_since > linger or key.startswith(f"file:{self._config.proc}"):
                follower.task.cancel()
                self._supervisor.forget(key)
                del self._followers[key]

    def _follow_configured(self, server: ServerConfig, entity: Entity) -> None:
        if server.log is not None:
            self._follow_file(configured_key(server), server.log, entity, None)
        else:
            uid = os.getuid() if server.user_unit else None
            key = configured_key(server)
            source = JournalUnit(server.unit, entity, uid=uid, cursor=self.cursors.get(key), name=key)
            self._follow_stream(key, source)

    def _follow_found(self, server: ServerProcess) -> str:
        source = server.log
        if source.kind == "file":
            key = f"file:{source.path}"
            # A container's engine writes the logs of all containers.
            by_engine = source.writer < 0
            reader = None if by_engine else Reader.of(self._config.proc, source.writer or server.pid)
            whose = source.writer_user if source.writer > 0 else server.user
            if reader is not None and (reader.user < 0 or reader.user != whose) and server.reader is not None:
                # It has ended, or goes on as a program of another user's (set-user-ID), while its log was looked for: what the
                # server might open is known from the moment at which it was seen.
                reader = server.reader
            self._follow_file(key, Path(source.path), server.entity, server.start_time, reader, source)
            return key
        if source.kind == "http":
            key = f"http:{source.port}:{server.values.get('server.port')}"
            port = server.values.get("server.port")
            if key not in self._followers and isinstance(port, int) and self._has_room(server):
                swap = LlamaSwapLog(source.port, port, server.entity, name=key, elapsed_base=server.start_time)
                self._follow_stream(key, swap, copied=True, whose=server.user)
            return key if key in self._followers else ""
        if source.kind == "journal":
            match = dict(source.match)
            unit = match.get("_SYSTEMD_USER_UNIT") or match.get("_SYSTEMD_UNIT", "")
            uid = unit_user(server)
            key = unit_key(unit, uid) if unit else f"journal:{' '.join(f'{field}={value}' for field, value in source.match)}"
            if key not in self._followers:
                if not self._has_room(server):
                    return ""
                cursor = self.cursors.get(key)
                self._follow_stream(
                    key,
                    JournalUnit(unit, server.entity, uid=uid, cursor=cursor, name=key)
                    if unit
                    else JournalEntries(source.match, server.entity, cursor=cursor, name=key),
                    copied=source.copied,
                    whose=server.user,
                )
            return key
        return ""

    def _has_room(self, server: ServerProcess) -> bool:
        """Whether one more stream is opened for a server of that user; if not, it is reported."""
        taken = [f.owner for f in self._followers.values() if f.file is None and f.owner is not None]
        if leaves_room(server.user, taken, MOST_STREAMS_OF_OWNER, MOST_LOG_STREAMS):
            return True
        mine = sum(owner(one) == owner(server.user) for one in taken)
        whose = f"{mine} other journals of the same user" if mine else f"{len(taken)} other journals"
        self._reports.report(server.entity, False, f"the journal: {whose} are read, and no more; use --log-file for this server")
        return False

    def _follow_file(
        self,
        key: str,
        path: Path,
        entity: Entity,
        base: float | None,
        reader: Reader | None = None,
        source: LogSource | None = None,
    ) -> None:
        known = self._followers.get(key)
        if known is not None:
            if known.file is not None and base != known.base:
                known.file.elapsed_base = known.base = base
                if known.entity == entity and reader is not None:
                    known.file.reader = reader
            return
        start = self.restored.pop(key, None)
        name = key.removeprefix("file:")
        file: LogFile | DockerLocal
        if source is not None and source.format == "docker-local":
            file = DockerLocal(path, entity, start=start, elapsed_base=base, name=name, reader=reader)
        else:
            file = LogFile(path, entity, start=start, elapsed_base=base, name=name, reader=reader)
        follower = Follower(entity, key, self._keep(key, entity, lambda: self._reading.read(follower, file)), self._clock.now())
        follower.file, follower.base = file, base
        follower.copied = source is not None and source.copied
        follower.owner = None if reader is None else reader.user
        self._followers[key] = follower

    def _follow_units(self) -> set[str]:
        """The journals of units that do not run: of those that do, it is read from before."""
        keys = {unit: unit_key(unit, self.units.user) for unit in self.units.names()}
        for unit, key in keys.items():
            if key not in self._running and key not in self._followers:
                entity = Entity("server", unit)
                since = self._clock.now() - _JUST_NOW
                cursor = self.cursors.get(key)
                source = JournalUnit(unit, entity, uid=self.units.user, cursor=cursor, name=key, since=since)
                self._follow_stream(key, source, of_unit=unit)
        return set(keys.values())

    def _keep(self, key: str, entity: Entity, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        def died(why: str) -> None:
            self._reports.report(entity, False, f"{key.partition(':')[2]}: {why}")

        return asyncio.create_task(self._supervisor.keep(key, work, died), name=key)

    def _follow_stream(
        self,
        key: str,
        source: JournalEntries | LlamaSwapLog,
        *,
        copied: bool = False,
        whose: int | None = None,
        of_unit: str = "",
    ) -> None:
        if key in self._followers:
            return

        def note(cursor: str | None) -> None:
            if cursor is not None:
                self.cursors[key] = cursor

        def hear(reading: Reading) -> bool:
            if of_unit and key not in self._running:
                # Of a start that nobody saw: what its journal does not say was not said.
                self._reports.report(source.entity, True, f"journal of {of_unit}")
            if not follower.heard:
                said = not copied or (isinstance(reading, LogLines) and OF_LLAMA_SERVER.search(reading.data) is not None)
                follower.heard = said
            unusable = follower.shared or (of_unit and key in self._elsewhere)
            return not (unusable and isinstance(reading, LogLines) and reading.kind == "llama-server")

        def following() -> Coroutine[Any, Any, None]:
            return self._supervisor.stream(source, position=lambda: source.cursor, note=note, wanted=hear)

        follower = Follower(source.entity, key, self._keep(key, source.entity, following), self._clock.now())
        follower.heard = source.cursor is not None
        follower.copied, follower.owner = copied, whose
        self._followers[key] = follower

    async def close(self) -> None:
        """Stop following."""
        await self._reading.close([follower.task for follower in self._followers.values()])
        self._followers.clear()


def _prints_children(proc: Path, router: ServerProcess) -> bool:
    """Whether this is its children's log: a router prints their lines on stdout, its own on stderr (tools/server, router)."""
    descriptors = proc / str(router.pid) / "fd"
    try:
        return (descriptors / "1").readlink() == (descriptors / "2").readlink()
    except OSError:
        return False
