"""State, CPU, memory and memory limits of the running llama-servers. Their GPU usage: gpu_sample.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots, read_number, read_text, unread
from sentinel.sources.processes import cgroup
from sentinel.sources.processes.discover import ServerProcess
from sentinel.sources.processes.forecast import Outlook
from sentinel.sources.processes.procfs import Stat, memory_signals, read_stat
from sentinel.sources.processes.refaults import Refaults

#: A server is young while it may still load its model: everything is then read often, because a load can take seconds.
_YOUNG_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cadence:
    """Seconds between two readings of the same kind, for a young server and for an old one."""

    young: float
    old: float

    def due(self, last: float | None, at: float, age: float) -> bool:
        # half a tick of slack: timers fire a little early as well as late
        return last is None or at - last >= (self.young if age < _YOUNG_SECONDS else self.old) - 0.25


_CHEAP = Cadence(2.0, 5.0)
_GROUP = Cadence(5.0, 15.0)
#: remaining memory: while the load is known to continue, and otherwise
_ROOM_LOADING, _ROOM = Cadence(1.0, 2.0), Cadence(2.0, 15.0)


@dataclass(slots=True)
class _State:
    """The last readings of one process, and their times; CPU is the difference of two readings."""

    ticks: int
    last: dict[str, float] = field(default_factory=dict)
    cpu: tuple[float, int] | None = None
    share: float = 0.0
    outlook: Outlook = field(default_factory=Outlook)
    refaults: Refaults = field(default_factory=Refaults)


class ServerSampler:
    """Polled; reads the processes in `servers`, each kind of file at its own interval. smaps is never read."""

    name = "process_sample"
    interval = 1.0
    blocking = True

    def __init__(
        self,
        servers: Callable[[], Sequence[ServerProcess]],
        roots: Roots | None = None,
        gpu_bytes: Callable[[int], int] = lambda _pid: 0,
    ) -> None:
        self._servers = servers
        self._gpu_bytes = gpu_bytes
        self._roots = Roots() if roots is None else roots
        self._states: dict[int, _State] = {}
        self._tick = float(os.sysconf("SC_CLK_TCK"))

    def poll(self, at: float) -> Sequence[Reading]:
        """Samples of the servers that are due. 0.1 % of a core for one idle server."""
        servers = self._servers()
        for pid in self._states.keys() - {server.pid for server in servers}:
            del self._states[pid]
        readings = []
        for server in servers:
            state = self._states.get(server.pid)
            if state is None or state.ticks != server.ticks:
                state = self._states[server.pid] = _State(server.ticks)
            values = self._sample(server, state, at)
            if values:
                readings.append(Samples(at, self.name, server.entity, values))
        return readings

    def _sample(self, server: ServerProcess, state: _State, at: float) -> dict[str, Value | Unknown]:
        age = at - server.start_time
        left = _ROOM_LOADING if state.outlook.unfinished else _ROOM
        cadences = (("cheap", _CHEAP), ("group", _GROUP), ("room", left))
        due = {name for name, cadence in cadences if cadence.due(state.last.get(name), at, age)}
        if not due:
            return {}
        stat = read_stat(self._roots, server.pid)
        if isinstance(stat, Unknown) or stat.start_ticks != server.ticks:
            # gone; discovery reports it
            return {}
        state.last.update(dict.fromkeys(due, at))
        values = state.outlook.requirement(self._roots, server)
        room = state.outlook.room(self._roots, server) if "room" in due else None
        if "cheap" in due or room is not None:
            values |= self._cheap(server, state, stat, at)
        if room is not None:
            values |= state.outlook.held(room, values, age)
            values |= state.refaults.look(self._roots, server.member, server.pid, at)
        if "group" in due:
            values |= cgroup.limits(self._roots, server.member)
        return values

    def _cheap(self, server: ServerProcess, state: _State, stat: Stat, at: float) -> dict[str, Value | Unknown]:
        path = f"{self._roots.proc}/{server.pid}/status"
        try:
            values = memory_signals(read_text(path, 1 << 16))
        except OSError as error:
            values = dict.fromkeys(memory_signals(""), unread(path, error))
        values["server.process_state"] = stat.state
        values["server.threads"] = stat.threads
        values["server.oom_score_adj"] = read_number(f"{self._roots.proc}/{server.pid}/oom_score_adj")
        if state.cpu is not None and at > state.cpu[0]:
            used = (stat.cpu_ticks - state.cpu[1]) / self._tick / (at - state.cpu[0])
            values["server.cpu_cores"] = round(max(used, 0.0), 3)
        state.cpu = (at, stat.cpu_ticks)
        values["server.load_share"] = self._load_share(server, state, values)
        return values

    def _load_share(self, server: ServerProcess, state: _State, values: dict[str, Value | Unknown]) -> float | Unknown:
        """The highest share of the model file seen in memory in this run of the process: a lower bound of the load progress.

        Mapped file pages and copies (host or GPU) are not added up: a mapped model that goes to a GPU is read through its
        pages first, and would count twice while it loads; and the pages may be evicted again afterwards.
        """
        if server.model is None:
            return Unknown("the size of the model is not known: its file cannot be read, or it was fetched by name")
        if server.model.incomplete:
            return Unknown(server.model.incomplete)
        file, anonymous = values["server.rss_file_bytes"], values["server.rss_anon_bytes"]
        if isinstance(file, Unknown) or isinstance(anonymous, Unknown):
            return Unknown("its resident memory is not known")
        loaded = max(int(file), int(anonymous) + self._gpu_bytes(server.pid))
        state.share = max(state.share, round(min(loaded / max(server.model.file_bytes, 1), 1.0), 4))
        return state.share
