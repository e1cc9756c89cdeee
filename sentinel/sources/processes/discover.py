"""Finds every llama-server on this machine, gives it a name that survives restarts, and reports what its flags request.

Cheap at rest: one listing of /proc per poll. Only new processes are inspected, repeatedly while they are young (a
program is forked before it is executed), and old ones in turn (an entry script may take minutes before it becomes
the server).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentinel.files.reader import Reader
from sentinel.files.rights import Rights
from sentinel.gguf.header import GgufError, GgufHeader, read_model
from sentinel.llama.command_line import Requested, decode
from sentinel.llama.runtimes import Runtime, of_starter, translated
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.input_limits import MOST_ARGV_BYTES, MOST_ENVIRONMENT_BYTES, MOST_NAME, MOST_WORDS, Cuts, Shares, text, words
from sentinel.model.reading import Event, Reading, Samples, ServerFound, ServerGone
from sentinel.model.text import clean
from sentinel.sources.fs import Moment, Roots, link, read_bytes, read_text, reason, recall, unread
from sentinel.sources.processes.ancestry import Ancestor
from sentinel.sources.processes.ancestry import above as ancestors
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.config_files import ConfigFiles, config_files
from sentinel.sources.processes.containers import Container, container_of
from sentinel.sources.processes.display_name import display_name
from sentinel.sources.processes.examination import Examination, Examinations
from sentinel.sources.processes.fingerprint import configuration
from sentinel.sources.processes.identify import Kind, classify, is_server_name, runtime_of
from sentinel.sources.processes.listening import listener, only_port, ports
from sentinel.sources.processes.log_location import LogSource, absolute, find_log, inside
from sentinel.sources.processes.naming import Claim, Names, claims
from sentinel.sources.processes.proc_events import told_as
from sentinel.sources.processes.procfs import Stat, boot_time, identity_signals, process_ids, read_stat, user_name

_YOUNG_SECONDS = 5.0
#: How long a scan waits for the examination of a new process: a header of the largest vocabulary takes 0.3. Seconds.
_PATIENCE = 0.4
_BEING_READ = "its files are still being read: the disk or the network file system that they are on hangs or is slow"
#: Below this many servers in all no user's share is counted.
_UNCOUNTED = 32
#: A young server is asked in every second scan where it listens.
_ASKED_YOUNG = 2
#: An old process is inspected again after this many polls: its kernel name changes when it becomes another program.
_ROUNDS = 10
#: An interpreter that has run this long without a server is inspected less often: reading what it has mapped costs 0.3 ms.
_SETTLED_SECONDS, _SETTLED_ROUNDS = 120.0, 60
#: llama-server listens before it loads its model; one that does not by now is on a unix socket. Seconds.
_LISTENS_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running llama-server. `start_time` is in seconds since the epoch, `ticks` the kernel's own figure (proc(5), 22)."""

    pid: int
    ticks: int
    start_time: float
    entity: Entity
    requested: Requested
    member: Membership
    log: LogSource
    model: GgufHeader | None
    parent: int
    #: identity, requested, model and log signals as in ServerFound
    values: Mapping[str, Value | Unknown] = field(default_factory=dict)
    #: opens what it names, as it could itself when it was found
    reader: Reader | None = None
    #: its files have been examined: its log and its model are known as far as they can be
    examined: bool = True


@dataclass(frozen=True, slots=True)
class _Core:
    """What /proc alone says of a process."""

    pid: int
    stat: Stat
    words: list[str]
    env: Mapping[str, str]
    env_unreadable: str
    settings_unknown: str
    member: Membership
    above: tuple[Ancestor, ...]
    about: Mapping[str, Value | Unknown]
    binary: str
    row: Runtime | None
    requested: Requested
    #: configuration files of llama.cpp that it has read
    config: ConfigFiles
    container: Container | None
    reader: Reader


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files that it names say."""

    log: LogSource
    model: GgufHeader | None
    values: Mapping[str, Value | Unknown]


@dataclass(slots=True)
class _Pending:
    """A server whose files are not examined yet; `work` runs or waits for its turn."""

    core: _Core
    in_router: bool
    work: Examination[_Files] | None


@dataclass(slots=True)
class _Seen:
    since: float
    comm: str
    kind: Kind = Kind.OTHER
    #: there is no room for one more server of its user: looked at again rarely
    refused: bool = False


class Servers:
    """Polled once a second: reports servers that appear and vanish. `servers` are those running now."""

    name = "process"
    interval = 1.0
    blocking = True

    def __init__(self, roots: Roots | None = None, configured: Mapping[int, str] | None = None, cuts: Cuts | None = None) -> None:
        self.roots = Roots() if roots is None else roots
        #: port -> the name that the configuration gives to the server there
        self._configured = configured or {}
        self._cuts = Cuts() if cuts is None else cuts
        self._shares = Shares()
        self._names = Names()
        #: servers that were seen to listen on the port that they are named by
        self._proven: set[tuple[int, int]] = set()
        self.servers: tuple[ServerProcess, ...] = ()
        self._seen: dict[int, _Seen] = {}
        self._round = 0
        # Apart: whoever has models on a disk that hangs is still found.
        self._cores, self._examinations = Examinations(), Examinations()
        self._pending: dict[tuple[int, int], _Pending] = {}
        #: servers without --port that did not listen yet when they were found
        self._portless: dict[tuple[int, int], _Core] = {}
        # It moves with the clock: keep one start time per process.
        self._boot_time = boot_time(self.roots)
        self._tick = float(os.sysconf("SC_CLK_TCK"))
        #: servers that came and went since the last poll but one: their logs hold why
        self.brief: tuple[ServerProcess, ...] = ()
        #: `poll` and the thread that sees starts as they happen (start_watch.py) exclude each other
        self._lock = threading.Lock()
        self._caught: list[ServerProcess] = []
        self._ends: dict[int, int] = {}
        #: process ids of the last servers that were caught, and of their parents
        self._met: deque[tuple[int, int]] = deque(maxlen=64)

    def poll(self, at: float) -> Sequence[Reading]:
        """One scan. Costs under 1 ms at rest with 200 processes."""
        with self._lock:
            return self._poll(at)

    def catch(self, pids: Iterable[int] | None) -> bool:
        """Look at these processes now, or at all that are new; whether one is a server. Reported by the next poll. Any thread."""
        found = False
        for pid in self._pids() - self._seen.keys() if pids is None else pids:
            # Before any lock: one whose library is missing is gone after a millisecond.
            moment = Moment(f"{self.roots.proc}/{pid}")
            if is_server_name(moment.comm) or is_server_name(moment.program):
                moment.keep()
                with recall(moment):
                    found = self._catch(pid, moment) or found
        return found

    def _catch(self, pid: int, moment: Moment) -> bool:
        if classify(self.roots, pid, moment.comm) is not Kind.SERVER or (core := self._core(pid, self._reader(pid))) is None:
            return False
        with self._lock:
            others = [server for server in (*self.servers, *self._caught) if self._runs_still(server)]
            if any(other.pid == pid for other in others):
                return False
            in_router = self._router_of(core, others) is not None
            work = self._examine(core, in_router, moment)
            examined = work is not None and work.wait(_PATIENCE)
            files = work.result if work is not None and examined else self._unexamined(core)
            if not examined:
                self._pending[pid, core.stat.start_ticks] = _Pending(core, in_router, work)
            self._caught.append(self._server(core, files, others, time.time(), examined=examined))
            self._met.append((pid, core.stat.parent))
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
            for server in (*self.servers, *self._caught):
                if server.pid == pid and parent in (None, server.parent):
                    self._ends.setdefault(pid, code)
                    return True
            # Both the kernel and the wrapper may report one end.
            return parent is not None and (pid, parent) in self._met

    def tell(self, described: Callable[[Callable[[list[Claim], int], str]], ServerProcess], code: int) -> None:
        """A server that another program saw begin and end; `described` gets what chooses its name. Any thread."""

        def choose(names: list[Claim], pid: int) -> str:
            living = [one for one in (*self.servers, *self._caught) if self._runs_still(one)]
            taken = {one.entity.name: _user(one) for one in living}
            return self._names.choose(names, pid, taken, None, time.time(), known=names[-1].user >= 0)

        with self._lock:
            found = described(choose)
            self._caught.append(found)
            self._ends[found.pid] = code

    def _poll(self, at: float) -> list[Reading]:
        pids = self._pids()
        first = not self._seen
        for pid in self._seen.keys() - pids:
            del self._seen[pid]
        readings: list[Reading] = []
        alive: list[ServerProcess] = []
        for server in self.servers:
            if server.pid in pids and self._runs_still(server):
                alive.append(server)
            else:
                readings += self._ended(server, at)
        readings += self._take_caught(at, pids, alive)
        readings += self._examined(at, alive)
        readings += self._heard_of_ports(at, alive)
        readings += self._misnamed(at, alive)
        known = {server.pid for server in alive}
        arrived = [pid for pid in self._due(pids - known, at, first) if self._is_server(pid, at)]
        for _, pid in sorted((self._ticks(pid), pid) for pid in arrived):
            if not self._has_room(pid, at, alive, readings):
                self._seen[pid].refused = True
                continue
            found = self._describe(pid, alive, at)
            if found is not None:
                alive.append(found)
                readings.append(ServerFound(at, self.name, found.entity, found.pid, found.start_time, found.values))
        self.servers = tuple(alive)
        return readings

    def _take_caught(self, at: float, pids: set[int], alive: list[ServerProcess]) -> list[Reading]:
        """Servers that were seen as they were started; those that are gone already are `brief`."""
        caught, self._caught = self._caught, []
        readings: list[Reading] = []
        brief: list[ServerProcess] = []
        for server in caught:
            held = [_user(one) for one in (*alive, *brief)]
            if len(held) >= _UNCOUNTED and not self._shares.admits(_user(server), held):
                self._pending.pop((server.pid, server.ticks), None)
                continue
            readings.append(ServerFound(at, self.name, server.entity, server.pid, server.start_time, server.values))
            if server.pid in pids and self._runs_still(server):
                alive.append(server)
            else:
                brief.append(server)
                readings += self._ended(server, at)
        self.brief = tuple(brief)
        self._ends = {pid: code for pid, code in self._ends.items() if any(server.pid == pid for server in alive)}
        return readings

    def _ended(self, server: ServerProcess, at: float) -> list[Reading]:
        """The end of a server, and how it ended where the kernel reported it."""
        found: list[Reading] = [self._let_go(at, server)]
        if (code := self._ends.get(server.pid)) is not None:
            fields = {"unit": server.member.unit, **told_as(code)}
            found.append(Event(at, "main_process_exited", server.entity, fields, self.name))
        return found

    def _has_room(self, pid: int, at: float, alive: list[ServerProcess], readings: list[Reading]) -> bool:
        """Whether one more server of that user is watched; a server of a user who has many may make room for it."""
        if len(alive) < _UNCOUNTED:
            return True
        user, held = Reader.of(self.roots.proc, pid).user, [_user(server) for server in alive]
        if not self._shares.admits(user, held):
            self._cuts.add(user_name(user), "processes that pass for llama-servers, beyond the share of one user")
            return False
        if (place := self._shares.displaced(user, held)) is not None:
            readings.append(self._let_go(at, alive.pop(place)))
        return True

    def _let_go(self, at: float, server: ServerProcess) -> ServerGone:
        self._seen.pop(server.pid, None)
        self._pending.pop((server.pid, server.ticks), None)
        self._portless.pop((server.pid, server.ticks), None)
        self._proven.discard((server.pid, server.ticks))
        return ServerGone(at, self.name, server.entity, server.pid)

    def _misnamed(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """Let go, to be found again, of a server that has another name because somebody said its address first, and of that one.

        A few are asked in each scan where they listen, until the kernel has shown it.
        """
        readings: list[Reading] = []
        for server in list(alive):
            if (server.pid, server.ticks) in self._proven or not self._is_asked(server, at):
                continue
            address, _, own = server.entity.name.partition("@")
            port, user = server.values["server.port"], _user(server)
            if not isinstance(port, int) or port not in (ports(self.roots, server.pid) or ()):
                continue
            self._proven.add((server.pid, server.ticks))
            if not own:
                self._names.proved(address, user, at)
                continue
            holder = next((other for other in alive if other.entity.name == address), None)
            if holder is None or _user(holder) == user or (holder.pid, holder.ticks) in self._proven:
                continue
            for one in (server, holder):
                alive.remove(one)
                readings.append(self._let_go(at, one))
        return readings

    def _is_asked(self, server: ServerProcess, at: float) -> bool:
        """Whether this scan looks where it listens. llama-server does before it loads; one that never does is asked rarely."""
        every = _ASKED_YOUNG if at - server.start_time < _YOUNG_SECONDS else _SETTLED_ROUNDS
        return (server.pid + self._round) % every == 0 and _by_address(server)

    def _pids(self) -> set[int]:
        return process_ids(self.roots)

    def _examined(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """Servers whose files have been examined since they were found; `alive` gets what was learned."""
        readings: list[Reading] = []
        for place, server in enumerate(alive):
            pending = self._pending.get((server.pid, server.ticks))
            if pending is None:
                continue
            if pending.work is None:
                pending.work = self._examine(pending.core, pending.in_router)
            elif pending.work.wait():
                del self._pending[server.pid, server.ticks]
                files = pending.work.result
                alive[place] = replace(
                    server, log=files.log, model=files.model, values={**server.values, **files.values}, examined=True
                )
                readings.append(Samples(at, self.name, server.entity, files.values))
        return readings

    def _heard_of_ports(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """Where servers listen that were given no port: b11434 announces that the default becomes another."""
        readings: list[Reading] = []
        for place, server in enumerate(alive):
            core = self._portless.get((server.pid, server.ticks))
            if core is None:
                continue
            port = only_port(self.roots, server.pid)
            if port is None:
                if at - server.start_time > _LISTENS_WITHIN:
                    del self._portless[server.pid, server.ticks]
                continue
            del self._portless[server.pid, server.ticks]
            values: dict[str, Value | Unknown] = {
                "server.port": port,
                "server.called": display_name(self.roots, core.reader, core.requested, port),
            }
            alive[place] = replace(server, values={**server.values, **values})
            readings.append(Samples(at, self.name, server.entity, values))
        return readings

    def _due(self, pids: set[int], at: float, first: bool) -> list[int]:
        """Processes to inspect in this poll."""
        self._round = (self._round + 1) % _SETTLED_ROUNDS
        due = []
        for pid in pids:
            seen = self._seen.get(pid)
            if seen is None:
                # processes older than sentinel are no longer young
                self._seen[pid] = _Seen(at - _YOUNG_SECONDS if first else at, "")
                due.append(pid)
            elif seen.refused:
                if (pid - self._round) % _SETTLED_ROUNDS == 0:
                    due.append(pid)
            elif seen.kind is Kind.MAYBE or at - seen.since < _YOUNG_SECONDS or self._in_turn(pid, seen, at):
                due.append(pid)
        return due

    def _in_turn(self, pid: int, seen: _Seen, at: float) -> bool:
        settled = seen.kind is Kind.LATER and at - seen.since > _SETTLED_SECONDS
        rounds = _SETTLED_ROUNDS if settled else _ROUNDS
        return (pid - self._round) % rounds == 0

    def _is_server(self, pid: int, at: float) -> bool:
        seen = self._seen[pid]
        try:
            comm = read_text(f"{self.roots.proc}/{pid}/comm", 64)
        except OSError:
            return False
        young = at - seen.since < _YOUNG_SECONDS
        if comm == seen.comm and seen.kind is Kind.OTHER and not young and not is_server_name(comm):
            return False
        if comm == seen.comm and seen.kind is Kind.LATER and not self._in_turn(pid, seen, at):
            return False
        seen.comm, seen.kind = comm, classify(self.roots, pid, comm)
        return seen.kind is Kind.SERVER

    def _ticks(self, pid: int) -> int:
        stat = read_stat(self.roots, pid)
        return 0 if isinstance(stat, Unknown) else stat.start_ticks

    def _runs_still(self, server: ServerProcess) -> bool:
        """The same process, by start time because process ids are reused, and not a zombie, which serves nothing."""
        stat = read_stat(self.roots, server.pid)
        return not isinstance(stat, Unknown) and stat.start_ticks == server.ticks and stat.state not in "ZX"

    def _describe(self, pid: int, others: Sequence[ServerProcess], at: float) -> ServerProcess | None:
        reader = Reader.of(self.roots.proc, pid)
        reading = self._cores.begin(reader.user, lambda: self._core(pid, reader))
        if reading is None or not reading.wait(_PATIENCE) or (core := reading.result) is None:
            # It has ended, or reading its command line hangs.
            return None
        in_router = self._router_of(core, others) is not None
        work = self._examine(core, in_router)
        if work is not None and work.wait(_PATIENCE):
            return self._server(core, work.result, others, at, examined=True)
        self._pending[pid, core.stat.start_ticks] = _Pending(core, in_router, work)
        return self._server(core, self._unexamined(core), others, at, examined=False)

    @staticmethod
    def _router_of(core: _Core, others: Sequence[ServerProcess]) -> ServerProcess | None:
        return next((other for other in others if other.pid == core.stat.parent and other.requested.is_router), None)

    def _examine(self, core: _Core, in_router: bool, moment: Moment | None = None) -> Examination[_Files] | None:
        def work() -> _Files:
            with recall(moment):
                return self._files(core, in_router)

        return self._examinations.begin(core.reader.user, work)

    def _core(self, pid: int, reader: Reader) -> _Core | None:
        process = self.roots.proc / str(pid)
        stat = read_stat(self.roots, pid)
        if isinstance(stat, Unknown) or stat.state in "ZX":
            return None
        try:
            words = self._words(pid)
            member = parse_cgroup(read_text(process / "cgroup"))
        except OSError:
            # it has ended in between: the next poll reports it
            return None
        env, env_unreadable = self._environment(pid)
        about = identity_signals(self.roots, pid)
        binary = "" if isinstance(about["server.binary"], Unknown) else str(about["server.binary"])
        row = runtime_of(self.roots, pid, os.path.basename(binary))  # noqa: PTH119
        settings_unknown = env_unreadable
        if row is not None and row.options is not None and not env_unreadable:
            settings_unknown = f"{row.title} takes most of its settings from elsewhere than a command line of llama-server"
        above = ancestors(self.roots, stat.parent)
        container = container_of(self.roots, pid, member)
        config = config_files(self.roots, pid, env, reader) if row is None or row.options is None else {}
        requested = _requested(words, env, row, config)
        return _Core(
            pid,
            stat,
            words,
            env,
            env_unreadable,
            settings_unknown,
            member,
            above,
            about,
            binary,
            row,
            requested,
            config,
            container,
            reader,
        )

    def _files(self, core: _Core, in_router: bool) -> _Files:
        pid, requested = core.pid, core.requested
        log = find_log(
            self.roots, pid, requested, core.env, core.member,
            in_router=in_router, above=core.above, container=core.container, user=core.reader.user,
        )  # fmt: skip
        model, values = self._model(core)
        values |= log.signals()
        values["server.called"] = display_name(self.roots, core.reader, requested, self._port(core))
        values["server.configuration"] = (
            Unknown(core.settings_unknown) if core.settings_unknown else self._configuration(core, requested.text("model"))
        )
        return _Files(log, model, values)

    @staticmethod
    def _unexamined(core: _Core) -> _Files:
        unread = Unknown(_BEING_READ)
        log = LogSource("none", "its log", why=_BEING_READ)
        values: dict[str, Value | Unknown] = {"server.called": unread, "server.configuration": unread, **log.signals()}
        if core.requested.text("model"):
            values |= GgufHeader.unknown(_BEING_READ)
        return _Files(log, None, values)

    def _port(self, core: _Core) -> Value | Unknown:
        if "port" not in core.requested.settings and (port := only_port(self.roots, core.pid)) is not None:
            # the default changes with the build
            return port
        if "port" not in core.requested.settings:
            self._portless[core.pid, core.stat.start_ticks] = core
        return core.requested.signals(core.settings_unknown)["server.port"]

    def _server(self, core: _Core, files: _Files, others: Sequence[ServerProcess], at: float, *, examined: bool) -> ServerProcess:
        pid, stat, member, requested, container = core.pid, core.stat, core.member, core.requested, core.container
        starter = core.row
        if starter is None or not starter.name:
            starter = of_starter(core.binary, [name for one in core.above for name in one.names])
        start = round(self._boot_time + stat.start_ticks / self._tick, 2)
        values: dict[str, Value | Unknown] = {
            "server.pid": pid,
            "server.start_time": start,
            "server.unit": clean(member.unit),
            "server.user_unit": member.is_user_unit,
            "server.container": "" if container is None else container.id,
            "server.container_name": "" if container is None else container.name,
            "server.container_engine": "" if container is None else container.engine,
            "server.compose_service": "" if container is None else container.service,
            "server.front_end": "" if starter is None else starter.name,
            "server.started_by": self._name_of(stat.parent),
            "server.cgroup": member.path,
            "server.argv_readable": not core.env_unreadable,
            "server.config_files": ", ".join(map(clean, core.config)),
            **core.about,
            **requested.signals(core.settings_unknown),
            **files.values,
            "server.port": self._port(core),
        }
        if core.row is not None and core.row.options is not None:
            values["server.is_router"] = False
        router = self._router_of(core, others)
        if router is not None:
            values["server.router"] = router.entity.name
        user, port = core.reader.user, values["server.port"]
        there = listener(self.roots, pid, port) if isinstance(port, int) else None
        names = claims(values, member, pid, user)
        if isinstance(port, int) and (configured := self._configured.get(port)):
            names.insert(0, Claim(configured, user, is_address=True))
        taken = {other.entity.name: _user(other) for other in others}
        entity = Entity("server", self._names.choose(names, pid, taken, there, at, known=user >= 0))
        return ServerProcess(
            pid, stat.start_ticks, start, entity, requested, member, files.log, files.model, stat.parent, values,
            core.reader, examined,
        )  # fmt: skip

    def _words(self, pid: int) -> list[str]:
        raw = read_bytes(f"{self.roots.proc}/{pid}/cmdline", MOST_ARGV_BYTES)
        found = [os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0", MOST_WORDS + 1)]
        kept = words(found)
        if len(raw) >= MOST_ARGV_BYTES or kept != found:
            user = user_name(Reader.of(self.roots.proc, pid).user)
            self._cuts.add(user, "command lines with more or longer words than are read")
        return kept

    def _name_of(self, pid: int) -> str | Unknown:
        path = f"{self.roots.proc}/{pid}/comm"
        try:
            return clean(read_text(path, 64).strip())
        except OSError as error:
            return unread(path, error)

    def _environment(self, pid: int) -> tuple[dict[str, str], str]:
        path = self.roots.proc / str(pid) / "environ"
        try:
            pairs = read_bytes(path, MOST_ENVIRONMENT_BYTES).split(b"\0")
        except OSError as error:
            return {}, reason(path, error)
        decoded = (os.fsdecode(pair).partition("=") for pair in pairs[:MOST_WORDS])
        return {text(name, MOST_NAME): text(value) for name, equals, value in decoded if equals}, ""

    def _configuration(self, core: _Core, asked: str) -> str | Unknown:
        model = inside(self.roots, core.pid, absolute(self.roots, core.pid, asked)) if asked else ""
        # What the files set counts as the environment does.
        env = {**core.env, **{f"LLAMA_ARG_IN_FILE_{path}": " ".join(words) for path, words in core.config.items()}}
        return configuration(self.roots, core.pid, core.words, env, model, core.reader.status)

    def _model(self, core: _Core) -> tuple[GgufHeader | None, dict[str, Value | Unknown]]:
        asked = core.requested.text("model")
        if not asked:
            if core.settings_unknown or core.requested.is_router:
                return None, {}
            return None, {"server.model_path": ""}
        whole = absolute(self.roots, core.pid, asked)
        values: dict[str, Value | Unknown] = {"server.model_path": clean(whole)}
        try:
            header = read_model(inside(self.roots, core.pid, whole), core.reader.open)
        except GgufError as error:
            return None, values | GgufHeader.unknown(str(error))
        return header, values | header.signals()


def _requested(words: Sequence[str], env: Mapping[str, str], row: Runtime | None, config: ConfigFiles) -> Requested:
    """What was asked for. Another program's own options are read as far as they mean the same; it is no router."""
    if row is not None and row.options is not None:
        return replace(decode(translated(words, row.options), {}), model_by_preset=True)
    subcommand = row is not None and bool(row.subcommand)
    return decode([*words[:1], *words[2:]] if subcommand else words, env, config)


def _user(server: ServerProcess) -> int:
    return -1 if server.reader is None else server.reader.user


def _by_address(server: ServerProcess) -> bool:
    """It is named by its address, not by its unit or container."""
    return server.entity.name.startswith(f"{server.values['server.host']}:{server.values['server.port']}")
