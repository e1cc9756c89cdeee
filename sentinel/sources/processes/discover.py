"""Finds every llama-server on this machine, gives it a name that survives restarts, and reports what its flags request.

Cheap at rest: one listing of /proc per poll. Only new processes are inspected, repeatedly while they are young (a
program is forked before it is executed), and old ones in turn (an entry script may take minutes before it becomes
the server).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import psutil

from sentinel.gguf.header import GgufError, GgufHeader, read_model
from sentinel.llama.command_line import Requested, decode
from sentinel.llama.runtimes import Runtime, of_starter, translated
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Reading, ServerFound, ServerGone
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_bytes, read_text, reason, unread
from sentinel.sources.processes.ancestry import above as ancestors
from sentinel.sources.processes.called import called
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.containers import container_of
from sentinel.sources.processes.fingerprint import configuration
from sentinel.sources.processes.identify import Kind, classify, is_server_name, runtime_of
from sentinel.sources.processes.listening import only_port
from sentinel.sources.processes.log_location import LogSource, absolute, find_log, inside
from sentinel.sources.processes.procfs import credentials, identity_signals, read_stat

_YOUNG_SECONDS = 5.0
#: An old process is inspected again after this many polls: its kernel name changes when it becomes another program.
_ROUNDS = 10
#: An interpreter that has run this long without a server is inspected less often: reading what it has mapped costs 0.3 ms.
_SETTLED_SECONDS, _SETTLED_ROUNDS = 120.0, 60


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


@dataclass(slots=True)
class _Seen:
    since: float
    comm: str
    kind: Kind = Kind.OTHER


class Servers:
    """Polled once a second: reports servers that appear and vanish. `servers` are those running now."""

    name = "process"
    interval = 1.0
    blocking = True

    def __init__(self, roots: Roots | None = None) -> None:
        self.roots = Roots() if roots is None else roots
        self.servers: tuple[ServerProcess, ...] = ()
        self._seen: dict[int, _Seen] = {}
        self._round = 0
        # psutil reads btime again at each call, and it moves with the clock: keep one start time per process
        self._boot_time = psutil.boot_time()
        self._tick = float(os.sysconf("SC_CLK_TCK"))

    def poll(self, at: float) -> Sequence[Reading]:
        """One scan. Costs under 1 ms at rest with 200 processes."""
        pids = set(psutil.pids())
        first = not self._seen
        for pid in self._seen.keys() - pids:
            del self._seen[pid]
        readings: list[Reading] = []
        alive: list[ServerProcess] = []
        for server in self.servers:
            if server.pid in pids and self._runs_still(server):
                alive.append(server)
            else:
                self._seen.pop(server.pid, None)
                readings.append(ServerGone(at, self.name, server.entity, server.pid))
        known = {server.pid for server in alive}
        arrived = [pid for pid in self._due(pids - known, at, first) if self._is_server(pid, at)]
        for _, pid in sorted((self._ticks(pid), pid) for pid in arrived):
            found = self._describe(pid, alive)
            if found is not None:
                alive.append(found)
                readings.append(ServerFound(at, self.name, found.entity, found.pid, found.start_time, found.values))
        self.servers = tuple(alive)
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
        seen.comm, seen.kind = comm, classify(self.roots, pid, comm)
        return seen.kind is Kind.SERVER

    def _ticks(self, pid: int) -> int:
        stat = read_stat(self.roots, pid)
        return 0 if isinstance(stat, Unknown) else stat.start_ticks

    def _runs_still(self, server: ServerProcess) -> bool:
        """The same process, by start time because process ids are reused, and not a zombie, which serves nothing."""
        stat = read_stat(self.roots, server.pid)
        return not isinstance(stat, Unknown) and stat.start_ticks == server.ticks and stat.state not in "ZX"

    def _describe(self, pid: int, others: Sequence[ServerProcess]) -> ServerProcess | None:
        process = self.roots.proc / str(pid)
        stat = read_stat(self.roots, pid)
        if isinstance(stat, Unknown) or stat.state in "ZX":
            return None
        try:
            words = [os.fsdecode(word) for word in read_bytes(process / "cmdline").rstrip(b"\0").split(b"\0")]
            member = parse_cgroup(read_text(process / "cgroup"))
        except OSError:
            # it has ended in between: the next poll reports it
            return None
        env, env_unreadable = self._environment(pid)
        above = ancestors(self.roots, stat.parent)
        about = identity_signals(self.roots, pid)
        binary = "" if isinstance(about["server.binary"], Unknown) else str(about["server.binary"])
        row = runtime_of(self.roots, pid, os.path.basename(binary))  # noqa: PTH119
        requested = _requested(words, env, row)
        settings_unknown = env_unreadable
        if row is not None and row.options is not None and not env_unreadable:
            settings_unknown = f"{row.title} takes most of its settings from elsewhere than a command line of llama-server"
        container = container_of(self.roots, pid, member)
        router = next((other for other in others if other.pid == stat.parent and other.requested.is_router), None)
        log = find_log(
            self.roots,
            pid,
            requested,
            env,
            member,
            in_router=router is not None,
            above=above,
            container=container,
            user=self._user(pid),
        )
        starter = row if row is not None and row.name else of_starter(binary, [name for one in above for name in one.names])
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
            "server.argv_readable": not env_unreadable,
            **about,
            **requested.signals(settings_unknown),
            **log.signals(),
        }
        if row is not None and row.options is not None:
            values["server.is_router"] = False
        if router is not None:
            values["server.router"] = router.entity.name
        if "port" not in requested.settings and (port := only_port(self.roots, pid)) is not None:
            # the default changes with the build
            values["server.port"] = port
        values["server.called"] = called(self.roots, pid, requested, values["server.port"])
        model, about_model = self._model(pid, requested, settings_unknown)
        values |= about_model
        values["server.configuration"] = (
            Unknown(settings_unknown) if settings_unknown else self._configuration(pid, words, env, requested.text("model"))
        )
        entity = Entity("server", _name(values, member, pid, others))
        return ServerProcess(pid, stat.start_ticks, start, entity, requested, member, log, model, stat.parent, values)

    def _name_of(self, pid: int) -> str | Unknown:
        path = f"{self.roots.proc}/{pid}/comm"
        try:
            return clean(read_text(path, 64).strip())
        except OSError as error:
            return unread(path, error)

    def _user(self, pid: int) -> int:
        try:
            return credentials(read_text(f"{self.roots.proc}/{pid}/status"))[0]
        except OSError:
            return -1

    def _environment(self, pid: int) -> tuple[dict[str, str], str]:
        path = self.roots.proc / str(pid) / "environ"
        try:
            pairs = read_bytes(path).split(b"\0")
        except OSError as error:
            return {}, reason(path, error)
        decoded = (os.fsdecode(pair).partition("=") for pair in pairs)
        return {name: value for name, equals, value in decoded if equals}, ""

    def _configuration(self, pid: int, words: Sequence[str], env: Mapping[str, str], asked: str) -> str | Unknown:
        model = inside(self.roots, pid, absolute(self.roots, pid, asked)) if asked else ""
        return configuration(self.roots, pid, words, env, model)

    def _model(self, pid: int, requested: Requested, env_unreadable: str) -> tuple[GgufHeader | None, dict[str, Value | Unknown]]:
        asked = requested.text("model")
        if not asked:
            if env_unreadable or requested.is_router:
                return None, {}
            return None, {"server.model_path": ""}
        whole = absolute(self.roots, pid, asked)
        values: dict[str, Value | Unknown] = {"server.model_path": clean(whole)}
        try:
            header = read_model(inside(self.roots, pid, whole))
        except GgufError as error:
            return None, values | GgufHeader.unknown(str(error))
        return header, values | header.signals()


def _requested(words: Sequence[str], env: Mapping[str, str], row: Runtime | None) -> Requested:
    """What was asked for. Another program's own options are read as far as they mean the same; it is no router."""
    if row is not None and row.options is not None:
        return replace(decode(translated(words, row.options), {}), model_by_preset=True)
    subcommand = row is not None and bool(row.subcommand)
    return decode([*words[:1], *words[2:]] if subcommand else words, env)


def _name(values: Mapping[str, Value | Unknown], member: Membership, pid: int, others: Sequence[ServerProcess]) -> str:
    """The unit, else the container, else ``host:port``; with the process id behind it when another server has the name."""
    host, port = values["server.host"], values["server.port"]
    address = f"{host}:{port}"
    if isinstance(host, Unknown) or isinstance(port, Unknown):
        address = f"pid-{pid}" if isinstance(port, Unknown) else f"port-{port}"
    if isinstance(host, str) and host.endswith(".sock"):
        address = host
    taken = {other.entity.name for other in others}
    # A container may have any name, a unit's too.
    container = str(values["server.container_name"]) or str(values["server.container"])[:12]
    for name in (clean(member.unit), "" if container.endswith(".service") else container, address):
        if name and name not in taken:
            return name
    return f"{address}:{pid}"
