"""Finds each server's log and follows it: files and journal units, from where an earlier run left off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config, ServerConfig
from sentinel.daemon.descriptors import most_logs, shortage
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.supervisor import Supervisor
from sentinel.files.reader import Reader
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import LogLines, Reading, Samples
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.docker_local import DockerLocal
from sentinel.sources.logs.file import LogFile, Position
from sentinel.sources.logs.journal import JournalEntries, JournalUnit
from sentinel.sources.logs.llama_swap import LlamaSwapLog
from sentinel.sources.logs.tail import printable
from sentinel.sources.logs.watch import Wakes
from sentinel.sources.processes.discover import ServerProcess
from sentinel.sources.processes.log_location import CURE, LogSource

#: inotify events may be lost; size and inode are polled at this interval as well. Seconds.
_RECHECK = 1.0
#: A server that is started is found within this time where the kernel reports starts; its first line takes 50 ms. Seconds.
_FOUND_WITHIN = 0.3
#: Other writers of a log that are named.
_MOST_NAMED = 3
#: A log is followed this long after its writer exited: a restart opens the same file again. Seconds.
_LINGER = 600.0
#: The same while more logs are open than there may be.
_LINGER_IN_NEED = 5.0
#: A server without a journal entry after this long does not log to the journal: journalctl prints what exists within a second,
#: and a server logs within seconds of its start. Seconds.
_UNHEARD = 20.0
#: What llama.cpp begins its messages with: of the lines of a program that copies them, these are the server's.
_OF_LLAMA_SERVER = re.compile(
    rb"(?m)(?:^|[\]) :|])(?:srv  |slot  ?|cmn  |llama_|load_tensors: |print_info: |ggml_|main: |common_|llm_load_|system_info: "
    rb"|build: \d)"
)
#: The pause after a turn in which a log gave bytes but no line: what has no line end is read at 20 MB/s at most. Seconds.
_NO_LINE_PAUSE = 0.05


class _Follower:
    """One log being followed."""

    def __init__(self, entity: Entity, key: str, task: asyncio.Task[None], since: float) -> None:
        self.entity = entity
        self.key = key
        self.task = task
        self.since = since
        self.file: LogFile | DockerLocal | None = None
        #: whether the journal had entries; with a saved cursor, an earlier run has read some
        self.heard = False
        #: another program is taken to copy the lines there
        self.copied = False
        #: start time of the process whose timestamps are in the file
        self.base: float | None = None
        self.unwanted_since: float | None = None
        #: several servers write it, and no line says whose it is: nothing of it is passed on
        self.shared = False
        #: the file is read by one call at a time
        self.reading = asyncio.Lock()
        #: user whose process named the file; None for the configuration
        self.owner: int | None = None
        #: a read is in progress, which may outlive the task
        self.busy = False
        #: nothing more is read: the file is closed when no read is in progress
        self.ended = False


class Logs:
    """Opens and closes followers as servers come and go. `positions` and `cursors` cover what the engine has processed."""

    def __init__(
        self, config: Config, inbox: Inbox, supervisor: Supervisor, clock: Clock, wakes: Wakes, reads: FileReads
    ) -> None:
        self.positions: dict[str, dict[str, Any]] = {}
        self.cursors: dict[str, str] = {}
        #: logs whose last read the engine has only partly processed
        self.in_midst: set[str] = set()
        self.restored: dict[str, Position] = {}
        self._config = config
        self._inbox = inbox
        self._supervisor = supervisor
        self._clock = clock
        self._wakes = wakes
        self._reads = reads
        self._followers: dict[str, _Follower] = {}
        #: set when the servers have been looked at next
        self._seen = asyncio.Event()
        self._spawned: set[asyncio.Task[None]] = set()
        #: watches are set and removed one after the other
        self._watching = asyncio.Lock()
        self._closing = False

    def begin(self) -> None:
        """Follow the configured logs."""
        for server in self._config.servers:
            self._follow_configured(server, Entity("server", server.name))

    def restore(self, positions: dict[str, dict[str, Any]], cursors: dict[str, str]) -> None:
        """Resume at an earlier run's positions."""
        self.restored = {key: Position(**value) for key, value in positions.items()}
        self.positions = dict(positions)
        self.cursors = dict(cursors)

    def reads(self, server: ServerProcess) -> bool:
        """Whether the log of a server is being read."""
        mine = [f for f in self._followers.values() if f.entity == server.entity]
        if all(f.unwanted_since is not None or f.shared for f in mine):
            return False
        return all(self._supervisor.state(f.key).health != "failed" and self._heard(f) is not False for f in mine)

    def _heard(self, follower: _Follower) -> bool | None:
        """Whether a log has lines of its server. None: too early to know."""
        if (follower.file is not None and not follower.copied) or follower.heard:
            return True
        return None if self._clock.now() - follower.since < _UNHEARD else False

    def update(self, servers: Sequence[ServerProcess]) -> None:
        """Follow the logs of the running servers."""
        wanted: set[str] = {self._configured_key(s) for s in self._config.servers}
        configured = {s.name: s for s in self._config.servers if s.port}
        routers = {s.pid: s for s in servers if s.requested.is_router and s.log.kind != "none"}
        writers: dict[str, list[ServerProcess]] = {}
        for server in servers:
            port = server.values.get("server.port")
            given = configured.get(server.entity.name)
            if given is not None and given.port == port:
                key = self._configured_key(given)
                if given.log is not None and (health := self._supervisor.state(key).health) != "starting":
                    where = f"{given.log} (configured)"
                    self._tell(server.entity, {"server.log_readable": health == "up", "server.log_where": where})
            else:
                key = self._follow_found(server)
                router = routers.get(server.parent)
                if not key and router is not None and self._prints_children(router):
                    where = f"in the log of its router {router.entity.name}, with [{port}] in front"
                    self._tell(server.entity, {"server.log_readable": True, "server.log_where": where})
            wanted.add(key)
            writers.setdefault(key, []).append(server)
            if key in self._followers and (key.startswith(("journal:", "http:")) or self._followers[key].copied):
                self._tell_if_heard(key, server)
        for key, theirs in writers.items():
            if key in self._followers:
                self._tell_whose(self._followers[key], theirs)
        self._seen.set()
        self._seen = asyncio.Event()
        now = self._clock.now()
        # Descriptors of dead servers go first where there are few.
        linger = _LINGER if self._open_files() <= most_logs() else _LINGER_IN_NEED
        for key, follower in list(self._followers.items()):
            if key in wanted:
                follower.unwanted_since = None
            elif follower.unwanted_since is None:
                follower.unwanted_since = now
                if follower.file is not None:
                    self._spawn(self._last_words(follower, follower.file))
            elif now - follower.unwanted_since > linger or key.startswith(f"file:{self._config.proc}"):
                follower.task.cancel()
                self._supervisor.forget(key)
                del self._followers[key]

    def _tell_whose(self, follower: _Follower, servers: Sequence[ServerProcess]) -> None:
        """A log of several servers (of one unit, of one container, of one redirection) is nobody's: what it says of one, it would
        say of another. Where they follow each other, it is the present one's."""
        if len({server.entity for server in servers}) == 1:
            # Several of one name followed each other within one scan: a loop of starts that die at once.
            server = servers[0]
            if follower.shared:
                follower.shared = False
                where = follower.key.partition(":")[2]
                self._tell(server.entity, {"server.log_readable": True, "server.log_where": where})
            if follower.entity != server.entity and follower.file is not None:
                follower.entity = follower.file.entity = server.entity
            return
        follower.shared = True
        for server in servers:
            others = ", ".join(sorted(one.entity.name for one in servers if one is not server)[:_MOST_NAMED])
            place = follower.key.partition(":")[2]
            why = f"{place}: {others} writes there as well, and no line says whose it is; {CURE}"
            self._tell(server.entity, {"server.log_readable": False, "server.log_where": why})

    def _tell_if_heard(self, key: str, server: ServerProcess) -> None:
        """A journal, and what another program is taken to copy or serve: only a line of the server proves that it is its log."""
        follower, state = self._followers[key], self._supervisor.state(key)
        kind, _, place = key.partition(":")
        own = kind == "journal" and not server.log.copied
        where = f"journal of {place}" if own else server.log.where
        if state.health == "failed":
            remedy = f": {state.remedy}" if state.remedy else ""
            self._tell(server.entity, {"server.log_readable": False, "server.log_where": f"{where}: {state.why}{remedy}"})
        elif (heard := self._heard(follower)) is not None:
            none = "the journal has no entry of it" if own else "it has no line of llama-server"
            why = "" if heard else f": {none}; {server.log.remedy or CURE}"
            self._tell(server.entity, {"server.log_readable": heard, "server.log_where": f"{where}{why}"})

    @staticmethod
    def _configured_key(server: ServerConfig) -> str:
        return f"file:{server.log}" if server.log else f"journal:{server.unit}"

    def _follow_configured(self, server: ServerConfig, entity: Entity) -> None:
        if server.log is not None:
            self._follow_file(self._configured_key(server), server.log, entity, None)
        else:
            uid = os.getuid() if server.user_unit else None
            key = self._configured_key(server)
            source = JournalUnit(server.unit, entity, uid=uid, cursor=self.cursors.get(key), name=key)
            self._follow_stream(key, source)

    def _follow_found(self, server: ServerProcess) -> str:
        source = server.log
        if source.kind == "file":
            key = f"file:{source.path}"
            # A container's engine writes the logs of all containers.
            by_engine = source.writer < 0
            reader = None if by_engine else Reader.of(self._config.proc, source.writer or server.pid)
            if reader is not None and reader.user < 0 and server.reader is not None:
                # It has ended; what it might open is known from the moment at which it was seen.
                reader = server.reader
            self._follow_file(key, Path(source.path), server.entity, server.start_time, reader, source)
            return key
        if source.kind == "http":
            key = f"http:{source.port}:{server.values.get('server.port')}"
            port = server.values.get("server.port")
            if key not in self._followers and isinstance(port, int):
                swap = LlamaSwapLog(source.port, port, server.entity, name=key, elapsed_base=server.start_time)
                self._follow_stream(key, swap, copied=True)
            return key if key in self._followers else ""
        if source.kind == "journal":
            match = dict(source.match)
            unit = match.get("_SYSTEMD_USER_UNIT") or match.get("_SYSTEMD_UNIT", "")
            key = f"journal:{unit or ' '.join(f'{field}={value}' for field, value in source.match)}"
            if key not in self._followers:
                uid = self._owner(server.pid) if "_SYSTEMD_USER_UNIT" in match else None
                cursor = self.cursors.get(key)
                self._follow_stream(
                    key,
                    JournalUnit(unit, server.entity, uid=uid, cursor=cursor, name=key)
                    if unit
                    else JournalEntries(source.match, server.entity, cursor=cursor, name=key),
                    copied=source.copied,
                )
            return key
        return ""

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
        follower = _Follower(entity, key, self._keep(key, entity, lambda: self._read(follower, file)), self._clock.now())
        follower.file, follower.base = file, base
        follower.copied = source is not None and source.copied
        follower.owner = None if reader is None else reader.user
        self._followers[key] = follower

    def _keep(self, key: str, entity: Entity, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        def died(why: str) -> None:
            self._tell(entity, {"server.log_readable": False, "server.log_where": f"{key.partition(':')[2]}: {why}"})

        return asyncio.create_task(self._supervisor.keep(key, work, died), name=key)

    async def _read(self, follower: _Follower, file: LogFile | DockerLocal) -> None:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        follower.ended = False

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._spawn(self._watch(file.path, wake))
        try:
            while True:
                lines = await self._read_once(follower, file)
                if file.more:
                    if not lines:
                        await asyncio.sleep(_NO_LINE_PAUSE)
                    continue
                try:
                    async with asyncio.timeout(_RECHECK):
                        await woken.wait()
                except TimeoutError:
                    continue
                woken.clear()
                if follower.unwanted_since is not None:
                    await self._until_seen()
        finally:
            if not self._closing:
                self._spawn(self._unwatch(file.path))
            follower.ended = True
            if not follower.busy:
                file.close()

    async def _watch(self, path: Path, wake: Callable[[], None]) -> None:
        """Have changes of the file reported. Not awaited: where its folder hangs, it is looked at once a second like all."""
        async with self._watching:
            try:
                await self._reads.aside(lambda: self._wakes.watch(path, wake))
            except SourceFault as fault:
                self._supervisor.note("inotify", "failed", str(fault), fault.remedy)
            except (OSError, ValueError) as error:
                why = f"cannot watch {printable(path)}: {error}; it is looked at once a second"
                self._supervisor.note("inotify", "failed", why)

    async def _unwatch(self, path: Path) -> None:
        async with self._watching:
            with suppress(OSError, ValueError):
                await self._reads.aside(lambda: self._wakes.unwatch(path))

    async def _until_seen(self) -> None:
        """Its last writer has ended: who writes now is looked for before the lines are read, or they would be the last one's."""
        await asyncio.sleep(_FOUND_WITHIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECHECK):
                await self._seen.wait()

    async def _last_words(self, follower: _Follower, file: LogFile | DockerLocal) -> None:
        """Read the last lines of a writer that has exited, with or without a line end."""
        base = file.elapsed_base
        await self._read_once(follower, file)
        async with follower.reading:
            await self._put_all(follower.key, file.flush(self._clock.now()), asdict(file.position()))
        if file.elapsed_base == base:
            # What follows is another process's, which may exit before it is found.
            file.elapsed_base = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def _read_once(self, follower: _Follower, file: LogFile | DockerLocal) -> bool:
        """One turn; whether it gave lines."""
        key, state = follower.key, self._supervisor.state(follower.key)
        async with follower.reading:
            now = self._clock.now()
            if now < state.retry_at and state.health == "failed":
                return False

            def failed(why: str, remedy: str = "") -> None:
                self._supervisor.note(key, "failed", why, remedy)
                self._tell(file.entity, {"server.log_readable": False, "server.log_where": why})

            def hangs(why: str) -> None:
                failed(f"{file.name}: {why}")

            def ended() -> None:
                follower.busy = False
                if follower.ended:
                    file.close()

            follower.busy = True
            try:
                found = await self._reads.run(follower.owner, lambda: file.poll(now), hangs, ended)
            except SourceFault as fault:
                failed(str(fault), fault.remedy)
                return False
            except OSError as error:
                if not (why := shortage(error)):
                    raise
                failed(f"{file.name}: {why}")
                return False
            if follower.copied and not follower.heard:
                follower.heard = any(_OF_LLAMA_SERVER.search(lines.data) for lines in found)
            if state.health != "up":
                self._supervisor.note(key, "up")
                if not follower.copied:
                    self._tell(file.entity, {"server.log_readable": True, "server.log_where": str(file.path)})
            position = asdict(file.position())
            if not file.more and self._open_files() > most_logs():
                file.close()
            await self._put_all(key, found, position)
            return bool(found)

    def _open_files(self) -> int:
        return sum(follower.file is not None and not follower.file.missing for follower in self._followers.values())

    async def _put_all(self, key: str, found: Sequence[LogLines], position: dict[str, Any]) -> None:
        """Put all parts. The position is valid once the engine has processed the last; until then no checkpoint may be made."""

        def part() -> None:
            self.in_midst.add(key)

        def last() -> None:
            self.in_midst.discard(key)
            self.positions[key] = position

        follower = self._followers.get(key)
        if follower is not None and follower.shared:
            self.positions[key] = position
            return
        for lines in found[:-1]:
            await self._inbox.put(lines, part)
        if found:
            await self._inbox.put(found[-1], last)

    def _follow_stream(self, key: str, source: JournalEntries | LlamaSwapLog, *, copied: bool = False) -> None:
        if key in self._followers:
            return

        def note(cursor: str | None) -> None:
            if cursor is not None:
                self.cursors[key] = cursor

        def hear(reading: Reading) -> bool:
            if not follower.heard:
                said = not copied or (isinstance(reading, LogLines) and _OF_LLAMA_SERVER.search(reading.data) is not None)
                follower.heard = said
            return not (follower.shared and isinstance(reading, LogLines) and reading.kind == "llama-server")

        def following() -> Coroutine[Any, Any, None]:
            return self._supervisor.stream(source, position=lambda: source.cursor, note=note, wanted=hear)

        follower = _Follower(source.entity, key, self._keep(key, source.entity, following), self._clock.now())
        follower.heard = source.cursor is not None
        follower.copied = copied
        self._followers[key] = follower

    def _prints_children(self, router: ServerProcess) -> bool:
        """Whether this is its children's log: a router prints their lines on stdout, its own on stderr (tools/server, router)."""
        descriptors = self._config.proc / str(router.pid) / "fd"
        try:
            return (descriptors / "1").readlink() == (descriptors / "2").readlink()
        except OSError:
            return False

    def _owner(self, pid: int) -> int:
        """The user whose systemd runs the process; our own if it has exited."""
        try:
            return (self._config.proc / str(pid)).stat().st_uid
        except OSError:
            return os.getuid()

    def _tell(self, entity: Entity, values: dict[str, Value | Unknown]) -> None:
        self._inbox.offer(Samples(self._clock.now(), "logs", entity, values))

    async def close(self) -> None:
        """Stop following."""
        self._closing = True
        tasks = [*(f.task for f in self._followers.values()), *self._spawned]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._followers.clear()
