"""Finds every llama-server on this machine, gives it a name that survives restarts, and reports what its flags request.

Cheap at rest: one listing of /proc per poll. Only new processes are inspected, repeatedly while they are young (a
program is forked before it is executed), and old ones in turn (an entry script may take minutes before it becomes
the server).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from sentinel.files.reader import Reader
from sentinel.files.rights import Rights
from sentinel.model.cuts import Cuts
from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_WATCHED_PROGRAMS
from sentinel.model.reading import Reading, ServerFound, ServerGone
from sentinel.model.shares import Shares
from sentinel.sources.fs import ProcessMoment, Roots, link, read_text, recall
from sentinel.sources.look import ProcessReads
from sentinel.sources.processes.candidates import Candidates
from sentinel.sources.processes.descriptions import Descriptions
from sentinel.sources.processes.ends import Ends
from sentinel.sources.processes.identify import ProcessKind, classify, may_be_server
from sentinel.sources.processes.naming import NameClaim
from sentinel.sources.processes.procfs import process_ids, read_stat, user_name
from sentinel.sources.processes.server_process import ServerProcess

#: Below this many servers in all no user's share is counted.
_UNCOUNTED = 32
_BEYOND_SHARE = "processes that pass for llama-servers, beyond the share of one user"
#: A start that is over is reported once it is known where its log is, or after this long: on a busy machine what takes
#: milliseconds took more than the 0.4 s for which the watch waits, and its log was never opened. Seconds.
_LOG_FOUND_WITHIN = 4.0


class Servers:
    """Polled once a second: reports servers that appear and vanish. `servers` are those running now."""

    name = "process"
    interval = 1.0
    blocking = True

    def __init__(self, roots: Roots | None = None, configured: Mapping[int, str] | None = None, cuts: Cuts | None = None) -> None:
        self.roots = Roots() if roots is None else roots
        self._cuts = Cuts() if cuts is None else cuts
        self._shares = Shares()
        self._descriptions = Descriptions(self.name, self.roots, configured or {}, self._cuts)
        self.servers: tuple[ServerProcess, ...] = ()
        self._candidates = Candidates(self.roots)
        #: servers that came and went since the last poll but one: their logs hold why
        self.brief: tuple[ServerProcess, ...] = ()
        #: `poll` and the thread that sees starts as they happen (start_watch.py) exclude each other
        self._lock = threading.Lock()
        self._caught: list[ServerProcess] = []
        self._ends = Ends(self.name)
        #: files of servers with names of their own: a renamed one is known as it starts again. Replaced, never changed.
        self._programs: frozenset[str] = frozenset()

    def poll(self, at: float) -> Sequence[Reading]:
        """One scan. Costs under 1 ms at rest with 200 processes."""
        with self._lock:
            return self._poll(at)

    def catch(self, pids: Iterable[int] | None) -> bool:
        """Look at these processes now, or at all that are new; whether one is a server. Reported by the next poll. Any thread."""
        found = False
        for pid in self._candidates.unseen(self._pids()) if pids is None else pids:
            moment = ProcessMoment(f"{self.roots.proc}/{pid}")
            if self._is_wanted(moment):
                moment.keep()
                found = self._take(pid, moment) or found
        return found

    def take(self, pid: int, kept: ProcessReads) -> bool:
        """The same of a process that another program has looked at; it may be gone."""
        moment = ProcessMoment(f"{self.roots.proc}/{pid}", kept)
        return self._is_wanted(moment) and self._take(pid, moment)

    def wanted(self) -> tuple[frozenset[str], frozenset[int]]:
        """Programs that are servers whatever they are called, and processes whose ends are waited for. Any thread."""
        return self._programs, frozenset(server.pid for server in self.servers) | self._ends.awaited()

    def _is_wanted(self, moment: ProcessMoment) -> bool:
        return may_be_server(moment.comm, moment.program) or moment.program in self._programs

    def _take(self, pid: int, moment: ProcessMoment) -> bool:
        with recall(moment):
            return self._catch(pid, moment)

    def _catch(self, pid: int, moment: ProcessMoment) -> bool:
        if classify(self.roots, pid, moment.comm, was_server=moment.program in self._programs) is not ProcessKind.SERVER:
            return False
        reader = self._reader(pid)
        # Before anything of it is read: thousands may be started and ended between two scans.
        if not self._admits(reader.user) or (launch := self._descriptions.launch(pid, reader)) is None:
            return False
        with self._lock:
            others = [server for server in (*self.servers, *self._caught) if self._runs_still(server)]
            if any(other.pid == pid for other in others):
                return False
            found = self._descriptions.describe_moment(launch, others, moment)
            self._caught.append(found)
            self._ends.begun(found)
            return True

    def _reader(self, pid: int) -> Reader:
        """Opens what the process names as it could at this moment; it may be gone when its log is opened."""
        living = Reader.of(self.roots.proc, pid)
        if living.user >= 0 and living.started:
            return living
        process = self.roots.proc / str(pid)
        try:
            same = link(process / "ns/user") == link(self.roots.proc / "self/ns/user")
            return Reader(process, Rights.kept(read_text(process / "status"), same_users=same))
        except OSError:
            return living

    def ended(self, pid: int, code: int, parent: int | None = None) -> bool:
        """How a process ended, as wait(2) has it; whether it was a server, and this `parent`'s if one is given. Any thread."""
        with self._lock:
            return self._ends.heard((*self.servers, *self._caught), pid, code, parent)

    def report(self, described: Callable[[Callable[[list[NameClaim], int], str]], ServerProcess], code: int) -> None:
        """A server that another program saw begin and end; `described` gets what chooses its name. Any thread."""

        def choose(names: list[NameClaim], pid: int) -> str:
            living = [one for one in (*self.servers, *self._caught) if self._runs_still(one)]
            return self._descriptions.choose_name(names, pid, living)

        with self._lock:
            found = described(choose)
            if not self._admits(found.user):
                return
            self._caught.append(found)
            self._ends.reported(found, code)

    def _poll(self, at: float) -> list[Reading]:
        pids = self._pids()
        readings: list[Reading] = [*self._ends.late(at)]
        alive: list[ServerProcess] = []
        for server in self.servers:
            if server.pid in pids and self._runs_still(server):
                alive.append(server)
            else:
                readings += self._ended(server, at)
        readings += self._take_caught(at, pids, alive)
        readings += self._descriptions.complete(at, alive)
        readings += [self._let_go(at, server) for server in self._descriptions.misnamed(at, self._candidates.round, alive)]
        arrived = self._candidates.arrived(pids, [server.pid for server in alive], at)
        for _, pid in sorted((self._ticks(pid), pid) for pid in arrived):
            if not self._has_room(pid, at, alive, readings):
                self._candidates.refuse(pid)
                continue
            found = self._descriptions.describe(pid, alive, at)
            if found is not None:
                alive.append(found)
                readings.append(ServerFound(at, self.name, found.entity, found.pid, found.start_time, found.values))
        if len(alive) != len(self.servers) or any(new is not old for new, old in zip(alive, self.servers, strict=True)):
            self.servers = tuple(alive)
            self._learn(alive)
        return readings

    def _learn(self, alive: Sequence[ServerProcess]) -> None:
        """The programs of servers whose name says nothing."""
        # An interpreter with a server inside has a front end's name.
        files = {str(one.values.get("server.binary", "")) for one in alive if not one.values.get("server.front_end")}
        new = {file for file in files - self._programs if file.startswith("/") and not may_be_server("", file)}
        if new and len(self._programs) < MOST_WATCHED_PROGRAMS:
            self._programs |= new

    def _take_caught(self, at: float, pids: set[int], alive: list[ServerProcess]) -> list[Reading]:
        """Servers that were seen as they were started; those that are gone already are `brief`."""
        caught, self._caught = self._caught, []
        readings: list[Reading] = []
        brief: list[ServerProcess] = []
        for place, server in enumerate(caught):
            lives = server.pid in pids and self._runs_still(server)
            known = server if lives else self._of_ended(server, at, (*alive, *caught[place + 1 :]))
            if known is None:
                self._caught.append(server)
                continue
            held = [one.user for one in (*alive, *brief)]
            if len(held) >= _UNCOUNTED and not self._shares.admits(server.user, held):
                self._descriptions.forget(server)
                continue
            if any(one.entity == server.entity for one in alive):
                # It waited for its files, and the next start of that name did not: that one's log is its own.
                self._descriptions.forget(server)
                continue
            readings.append(ServerFound(at, self.name, known.entity, known.pid, known.start_time, known.values))
            if lives:
                alive.append(known)
            else:
                brief.append(known)
                readings += self._ended(known, at)
        self.brief = tuple(brief)
        self._ends.keep((*alive, *self._caught))
        return readings

    def _of_ended(self, server: ServerProcess, at: float, others: Sequence[ServerProcess]) -> ServerProcess | None:
        """A start that is over; None: it is reported later, with its log."""
        known = self._descriptions.of_ended(server)
        if known is not None or at - server.start_time > _LOG_FOUND_WITHIN or any(one.entity == server.entity for one in others):
            return known or server
        return None

    def _ended(self, server: ServerProcess, at: float) -> list[Reading]:
        """The end of a server, and how it ended where the kernel reported it."""
        return [self._let_go(at, server), *self._ends.of(server, at)]

    def _admits(self, user: int) -> bool:
        """Whether one more server of this user is looked at before the next scan."""
        held = [server.user for server in (*self.servers, *self._caught)]
        if len(held) < _UNCOUNTED or self._shares.admits(user, held):
            return True
        self._cuts.add(user_name(user), _BEYOND_SHARE)
        return False

    def _has_room(self, pid: int, at: float, alive: list[ServerProcess], readings: list[Reading]) -> bool:
        """Whether one more server of that user is watched; a server of a user who has many may make room for it."""
        if len(alive) < _UNCOUNTED:
            return True
        user, held = Reader.of(self.roots.proc, pid).user, [server.user for server in alive]
        if not self._shares.admits(user, held):
            self._cuts.add(user_name(user), _BEYOND_SHARE)
            return False
        if (place := self._shares.displaced(user, held)) is not None:
            readings.append(self._let_go(at, alive.pop(place)))
        return True

    def _let_go(self, at: float, server: ServerProcess) -> ServerGone:
        self._candidates.forget(server.pid)
        self._descriptions.forget(server)
        return ServerGone(at, self.name, server.entity, server.pid)

    def _pids(self) -> set[int]:
        return process_ids(self.roots)

    def _ticks(self, pid: int) -> int:
        stat = read_stat(self.roots, pid)
        return 0 if isinstance(stat, Unknown) else stat.start_ticks

    def _runs_still(self, server: ServerProcess) -> bool:
        """The same process, by start time because process ids are reused, and not a zombie, which serves nothing."""
        stat = read_stat(self.roots, server.pid)
        return not isinstance(stat, Unknown) and stat.start_ticks == server.ticks and stat.state not in "ZX"
