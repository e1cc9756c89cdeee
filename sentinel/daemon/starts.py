"""Starts that are over before the next scan: wires the watch for them (sources/processes/start_watch.py) to discovery."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor

from sentinel.api.routes import ApiError
from sentinel.api.start_handlers import ReportedStart
from sentinel.daemon.supervisor import Supervisor
from sentinel.files.reader import Reader
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.program_files import installed
from sentinel.sources.processes.reported import ExecReport, described, is_child, sane
from sentinel.sources.processes.start_watch import StartWatch

#: name in the list of sources
SOURCE = "starts"


class Starts:
    """Wakes discovery as soon as a server was started or ended."""

    def __init__(self, servers: Servers, supervisor: Supervisor, find: Callable[[], None], executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        self._servers = servers
        self._executor = executor
        self._known: set[str] = set()
        self._is_up = False

        def wake() -> None:
            loop.call_soon_threadsafe(find)

        self._watch = StartWatch(servers, wake)
        self._supervisor = supervisor
        if self._watch.how != "events":
            what = (
                "known programs are watched for starts instead" if self._watch.how == "files" else "/proc is listed once a second"
            )
            supervisor.note(SOURCE, "absent", f"{self._watch.why}; {what}")
        self._find = find
        self._watch.start(installed(os.environ) if self._watch.how == "files" else ())

    def learn(self) -> None:
        """Watch the programs of the servers that run. Raises what ended the watch, a bug."""
        if self._watch.bug is not None:
            raise self._watch.bug
        if self._watch.how == "events" and not self._is_up:
            self._is_up = True
            self._supervisor.note(SOURCE, "up")
        paths = {str(self._servers.roots.proc / str(server.pid) / "exe"): server.pid for server in self._servers.servers}
        self._watch.learn(paths.keys() - self._known)
        self._known = set(paths)

    async def take(self, reported: ReportedStart, wrapper: int, user: int) -> None:
        """What `sentinel exec` reports: the process is looked at while it lives, else its wrapper's description is taken.

        Raises ApiError where the wrapper's process id is another user's by now: a log was read as that one could.
        """
        now = Reader.of(self._servers.roots.proc, wrapper).user
        if now not in (user, -1):
            raise ApiError(409, f"process {wrapper}, which connected as user id {user}, is a program of user id {now} now")
        await asyncio.get_running_loop().run_in_executor(self._executor, self._take, reported, wrapper)
        self._find()

    def _take(self, reported: ReportedStart, wrapper: int) -> None:
        roots = self._servers.roots
        report = ExecReport(
            wrapper,
            reported.pid,
            sane(reported.at),
            tuple(reported.argv),
            reported.environ,
            reported.cwd,
            reported.log,
            reported.code,
        )
        if report.code is None:
            if is_child(roots, report):
                self._servers.catch((report.pid,))
            return
        if not self._servers.ended(report.pid, report.code, wrapper):
            self._servers.report(lambda choose: described(roots, report, choose), report.code)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()
