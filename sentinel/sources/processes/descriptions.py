"""Makes a described server of a process: how it was started, what its files say, where it listens, its name.

What hangs (a command line, a disk) is waited for briefly: the server is reported at once, what its files say once they are read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentinel.files.reader import Reader
from sentinel.model.cuts import Cuts
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import ProcessMoment, Roots, recall
from sentinel.sources.processes.candidates import SETTLED_ROUNDS, YOUNG_SECONDS
from sentinel.sources.processes.display_name import display_name
from sentinel.sources.processes.examination import Examination, Examinations
from sentinel.sources.processes.launch import Launch, read_launch, signals_of
from sentinel.sources.processes.listening import held_by, listener, only_port, ports, shares_network
from sentinel.sources.processes.named_files import NamedFiles, examine, unexamined
from sentinel.sources.processes.naming import NameClaim, NameOwners, claims
from sentinel.sources.processes.procfs import boot_time
from sentinel.sources.processes.server_process import ServerProcess

#: How long a scan waits for the examination of a new process: a header of the largest vocabulary takes 0.3. Seconds.
_PATIENCE = 0.4
#: A young server is asked in every second scan where it listens.
_ASKED_YOUNG = 2
#: llama-server listens before it loads its model; one that does not by now is on a unix socket. Seconds.
_LISTENS_WITHIN = 120.0


@dataclass(slots=True)
class _Pending:
    """A server whose files are not examined yet; `work` runs or waits for its turn."""

    launch: Launch
    in_router: bool
    work: Examination[NamedFiles] | None
    moment: ProcessMoment | None


class Descriptions:
    """Describes processes, and completes what was not known of them at first."""

    def __init__(self, source: str, roots: Roots, configured: Mapping[int, str], cuts: Cuts) -> None:
        self._source = source
        self._roots = roots
        #: port -> the name that the configuration gives to the server there
        self._configured = configured
        self._cuts = cuts
        self._names = NameOwners()
        #: servers that were seen to listen on the port that they are named by
        self._proven: set[tuple[int, int]] = set()
        # Apart: whoever has models on a disk that hangs is still found.
        self._launches, self._examinations = Examinations(), Examinations()
        self._pending: dict[tuple[int, int], _Pending] = {}
        #: servers without --port that did not listen yet when they were found
        self._portless: dict[tuple[int, int], Launch] = {}
        # It moves with the clock: keep one start time per process.
        self._boot_time = boot_time(roots)
        self._tick = float(os.sysconf("SC_CLK_TCK"))

    def describe(self, pid: int, others: Sequence[ServerProcess], at: float) -> ServerProcess | None:
        """A server beside `others`; None where it has ended or reading its command line hangs."""
        reader = Reader.of(self._roots.proc, pid)
        reading = self._launches.begin(reader.user, lambda: read_launch(self._roots, pid, reader, self._cuts))
        if reading is None or not reading.wait(_PATIENCE) or (launch := reading.result) is None:
            return None
        return self._described(launch, others, at, None)

    def launch(self, pid: int, reader: Reader) -> Launch | None:
        """How a process was started that may be gone in a moment; None where it is, or its user has taken too much time."""
        return self._launches.at_once(reader.user, lambda: read_launch(self._roots, pid, reader, self._cuts))

    def describe_moment(self, launch: Launch, others: Sequence[ServerProcess], moment: ProcessMoment) -> ServerProcess:
        """The same for one that is starting, by what was read of it at that moment."""
        # Before its files: it ends within 20 ms where its port is taken, and loses its last lines at times.
        held = self._port_held_by(launch)
        found = self._described(launch, others, time.time(), moment)
        return found if held is None else replace(found, values={**found.values, "server.port_held_by": held})

    def _port_held_by(self, launch: Launch) -> str | None:
        """Who listens already on the port that it was given; None where that is not known, or it has none of its own."""
        port, host = launch.requested.number("port", 0), launch.requested.text("host", "127.0.0.1")
        if not isinstance(port, int) or not port or host.endswith(".sock") or not shares_network(self._roots, launch.pid):
            return None
        return held_by(self._roots, host, port, launch.pid)

    def choose_name(self, names: list[NameClaim], pid: int, others: Sequence[ServerProcess]) -> str:
        """A name for a server that is known by a report alone."""
        return self._names.choose(names, pid, _taken(others), None, time.time(), known=names[-1].user >= 0)

    def forget(self, server: ServerProcess) -> None:
        """It is no longer watched."""
        self._pending.pop(server.key, None)
        self._portless.pop(server.key, None)
        self._proven.discard(server.key)

    def complete(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """What has become known since the last scan, of files and ports; `alive` gets it as well."""
        return self._examined(at, alive) + self._heard_of_ports(at, alive)

    def misnamed(self, at: float, round_: int, alive: list[ServerProcess]) -> list[ServerProcess]:
        """Servers to let go, to be found again: one that has another name because somebody said its address first, and that one.

        A few are asked in each scan where they listen, until the kernel has shown it.
        """
        found: list[ServerProcess] = []
        for server in list(alive):
            if server.key in self._proven or not _is_asked(server, at, round_):
                continue
            address, _, own = server.entity.name.partition("@")
            port, user = server.values["server.port"], server.user
            if not isinstance(port, int) or port not in (ports(self._roots, server.pid) or ()):
                continue
            self._proven.add(server.key)
            if not own:
                self._names.proved(address, user, at)
                continue
            holder = next((other for other in alive if other.entity.name == address), None)
            if holder is None or holder.user == user or holder.key in self._proven:
                continue
            for one in (server, holder):
                alive.remove(one)
                self.forget(one)
                found.append(one)
        return found

    def _examined(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """Servers whose files have been examined since they were found; `alive` gets what was learned."""
        readings: list[Reading] = []
        for place, server in enumerate(alive):
            pending = self._pending.get(server.key)
            if pending is None:
                continue
            if pending.work is None:
                pending.work = self._examine(pending.launch, pending.in_router, None)
            elif pending.work.wait():
                del self._pending[server.key]
                alive[place] = _with_files(server, pending.work.result)
                readings.append(Samples(at, self._source, server.entity, pending.work.result.values))
        return readings

    def of_ended(self, server: ServerProcess) -> ServerProcess | None:
        """A server that has ended, with what its files say; None while they are being read."""
        pending = self._pending.get(server.key)
        if pending is None:
            return server
        if pending.work is None:
            pending.work = self._examine(pending.launch, pending.in_router, pending.moment)
        if pending.work is None or not pending.work.wait():
            return None
        del self._pending[server.key]
        return _with_files(server, pending.work.result)

    def _heard_of_ports(self, at: float, alive: list[ServerProcess]) -> list[Reading]:
        """Where servers listen that were given no port: b11434 announces that the default becomes another."""
        readings: list[Reading] = []
        for place, server in enumerate(alive):
            launch = self._portless.get(server.key)
            if launch is None:
                continue
            port = only_port(self._roots, server.pid)
            if port is None:
                if at - server.start_time > _LISTENS_WITHIN:
                    del self._portless[server.key]
                continue
            del self._portless[server.key]
            values: dict[str, Value | Unknown] = {
                "server.port": port,
                "server.called": display_name(self._roots, launch.reader, launch.requested, port),
            }
            alive[place] = replace(server, values={**server.values, **values})
            readings.append(Samples(at, self._source, server.entity, values))
        return readings

    def _described(
        self, launch: Launch, others: Sequence[ServerProcess], at: float, moment: ProcessMoment | None
    ) -> ServerProcess:
        in_router = _router_of(launch, others) is not None
        work = self._examine(launch, in_router, moment)
        if work is not None and work.wait(_PATIENCE):
            return self._server(launch, work.result, others, at, examined=True)
        self._pending[launch.key] = _Pending(launch, in_router, work, moment)
        return self._server(launch, unexamined(launch), others, at, examined=False)

    def _examine(self, launch: Launch, in_router: bool, moment: ProcessMoment | None) -> Examination[NamedFiles] | None:
        def work() -> NamedFiles:
            with recall(moment):
                return examine(self._roots, launch, self._port, in_router=in_router)

        return self._examinations.begin(launch.reader.user, work)

    def _port(self, launch: Launch) -> Value | Unknown:
        if "port" not in launch.requested.settings and (port := only_port(self._roots, launch.pid)) is not None:
            # the default changes with the build
            return port
        if "port" not in launch.requested.settings:
            self._portless[launch.key] = launch
        return launch.requested.signals(launch.settings_unknown)["server.port"]

    def _server(
        self, launch: Launch, files: NamedFiles, others: Sequence[ServerProcess], at: float, *, examined: bool
    ) -> ServerProcess:
        pid, stat, member = launch.pid, launch.stat, launch.member
        start = round(self._boot_time + stat.start_ticks / self._tick, 2)
        values: dict[str, Value | Unknown] = {
            "server.start_time": start,
            **signals_of(self._roots, launch),
            **files.values,
            "server.port": self._port(launch),
        }
        if launch.is_other_program:
            values["server.is_router"] = False
        router = _router_of(launch, others)
        if router is not None:
            values["server.router"] = router.entity.name
        user, port = launch.reader.user, values["server.port"]
        there = listener(self._roots, pid, port) if isinstance(port, int) else None
        names = claims(values, member, pid, user)
        if isinstance(port, int) and (configured := self._configured.get(port)):
            names.insert(0, NameClaim(configured, user, is_address=True))
        entity = Entity("server", self._names.choose(names, pid, _taken(others), there, at, known=user >= 0))
        return ServerProcess(
            pid, stat.start_ticks, start, entity, launch.requested, member, files.log, files.model, stat.parent, values,
            launch.reader, examined,
        )  # fmt: skip


def _with_files(server: ServerProcess, files: NamedFiles) -> ServerProcess:
    return replace(server, log=files.log, model=files.model, values={**server.values, **files.values}, examined=True)


def _router_of(launch: Launch, others: Sequence[ServerProcess]) -> ServerProcess | None:
    return next((other for other in others if other.pid == launch.stat.parent and other.requested.is_router), None)


def _taken(others: Sequence[ServerProcess]) -> dict[str, int]:
    return {other.entity.name: other.user for other in others}


def _is_asked(server: ServerProcess, at: float, round_: int) -> bool:
    """Whether this scan looks where it listens. llama-server does before it loads; one that never does is asked rarely."""
    every = _ASKED_YOUNG if at - server.start_time < YOUNG_SECONDS else SETTLED_ROUNDS
    return (server.pid + round_) % every == 0 and server.is_named_by_address
