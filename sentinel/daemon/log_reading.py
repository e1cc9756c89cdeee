"""Reads the log files that are followed: in turns, when inotify reports a change and once a second, to the inbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sentinel.daemon.clock import Clock
from sentinel.daemon.descriptors import most_logs, shortage
from sentinel.daemon.file_reads import FileReads
from sentinel.daemon.follower import OF_LLAMA_SERVER, Follower
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_reports import LogReports
from sentinel.daemon.supervisor import Supervisor
from sentinel.model.cuts import Cuts
from sentinel.model.input_limits import MOST_LINE_BYTES
from sentinel.model.reading import LogLines
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.docker_local import DockerLocal
from sentinel.sources.logs.file import LogFile
from sentinel.sources.logs.tail import printable
from sentinel.sources.logs.watch import Wakes

#: inotify events may be lost; size and inode are polled at this interval as well. Seconds.
_RECHECK = 1.0
#: A server that is started is found within this time where the kernel reports starts; its first line takes 50 ms. Seconds.
_FOUND_WITHIN = 0.3
#: The pause after a turn in which a log gave bytes but no line: what has no line end is read at 20 MB/s at most. Seconds.
_NO_LINE_PAUSE = 0.05


class LogReading:
    """Reads files. `positions` cover what the engine has processed."""

    def __init__(
        self, inbox: Inbox, supervisor: Supervisor, clock: Clock, wakes: Wakes, reads: FileReads, reports: LogReports,
        followers: Mapping[str, Follower], cuts: Cuts,
    ) -> None:  # fmt: skip
        self.positions: dict[str, dict[str, Any]] = {}
        #: logs whose last read the engine has only partly processed
        self.in_midst: set[str] = set()
        self._inbox = inbox
        self._supervisor = supervisor
        self._clock = clock
        self._wakes = wakes
        self._reads = reads
        self._reports = reports
        #: all that are followed: only so many files are open at a time
        self._followers = followers
        self._cuts = cuts
        #: set when the servers have been looked at next
        self._seen = asyncio.Event()
        self._spawned: set[asyncio.Task[None]] = set()
        #: watches are set and removed one after the other
        self._watching = asyncio.Lock()
        self._closing = False

    def servers_seen(self) -> None:
        """Who writes now has been looked for."""
        self._seen.set()
        self._seen = asyncio.Event()

    async def read(self, follower: Follower, file: LogFile | DockerLocal) -> None:
        """Until it is cancelled."""
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

    def begin_last_words(self, follower: Follower, file: LogFile | DockerLocal) -> None:
        """Its writer has exited."""
        self._spawn(self._last_words(follower, file))

    async def _last_words(self, follower: Follower, file: LogFile | DockerLocal) -> None:
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

    async def _read_once(self, follower: Follower, file: LogFile | DockerLocal) -> bool:
        """One turn; whether it gave lines."""
        key, state = follower.key, self._supervisor.state(follower.key)
        async with follower.reading:
            now = self._clock.now()
            if now < state.retry_at and state.health == "failed":
                return False

            def failed(why: str, remedy: str = "") -> None:
                self._supervisor.note(key, "failed", why, remedy)
                self._reports.report(file.entity, False, why)

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
            self._note_cuts(follower, file)
            if follower.copied and not follower.heard:
                follower.heard = any(OF_LLAMA_SERVER.search(lines.data) for lines in found)
            if state.health != "up":
                self._supervisor.note(key, "up")
                if not follower.copied:
                    self._reports.report(file.entity, True, str(file.path))
            # A line was printed before the read ended, not before it began: with three busy loops beside it a turn waits for a
            # processor for a second, and what a start said that began meanwhile would be older than the start.
            read = max(now, self._clock.now())
            found = [lines if lines.backlog else replace(lines, at=read) for lines in found]
            position = asdict(file.position())
            if not file.more and self.open_files() > most_logs():
                file.close()
            await self._put_all(key, found, position)
            return bool(found)

    def _note_cuts(self, follower: Follower, file: LogFile | DockerLocal) -> None:
        if not isinstance(file, LogFile):
            return
        if new := file.cut - follower.cut:
            follower.cut = file.cut
            self._cuts.add(file.entity, f"lines of its log beyond {MOST_LINE_BYTES} bytes each", new)
        if file.skipped_bytes:
            file.skipped_bytes = 0
            self._cuts.add(file.entity, "the beginning of a log that was there before and is larger than what is read of one")

    def open_files(self) -> int:
        """How many of the files are open."""
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

    async def close(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Stop reading; `tasks` read."""
        self._closing = True
        ending = [*tasks, *self._spawned]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
