"""State, CPU, memory and memory limits of the running llama-servers. Their GPU usage: gpu_sample.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sentinel.model.entity import Unknown, Value
from sentinel.sources.fs import Roots, read_number, read_text, unread
from sentinel.sources.processes import cgroup
from sentinel.sources.processes.forecast import Outlook
from sentinel.sources.processes.per_server import Cadence, PerServer, ServerState
from sentinel.sources.processes.procfs import Stat, memory_signals
from sentinel.sources.processes.refaults import Refaults
from sentinel.sources.processes.server_process import ServerProcess

_CHEAP = Cadence(2.0, 5.0)
_GROUP = Cadence(5.0, 15.0)
#: remaining memory: while the load is known to continue, and otherwise
_ROOM_LOADING, _ROOM = Cadence(1.0, 2.0), Cadence(2.0, 15.0)


@dataclass(slots=True)
class _State(ServerState):
    """The last readings of one process; CPU is the difference of two."""

    cpu: tuple[float, int] | None = None
    share: float = 0.0
    outlook: Outlook = field(default_factory=Outlook)
    refaults: Refaults = field(default_factory=Refaults)


class ServerSampler(PerServer[_State]):
    """State, CPU, memory and limits: 0.1 % of a core for one idle server. smaps is never read."""

    name = "process_sample"

    def __init__(
        self,
        servers: Callable[[], Sequence[ServerProcess]],
        roots: Roots | None = None,
        gpu_bytes: Callable[[int], int] = lambda _pid: 0,
    ) -> None:
        super().__init__(servers, roots, _State)
        self._gpu_bytes = gpu_bytes
        self._tick = float(os.sysconf("SC_CLK_TCK"))

    def _cadences(self, state: _State) -> Sequence[tuple[str, Cadence]]:
        return ("cheap", _CHEAP), ("group", _GROUP), ("room", _ROOM_LOADING if state.outlook.unfinished else _ROOM)

    def _sample(self, server: ServerProcess, state: _State, stat: Stat, due: set[str], at: float) -> dict[str, Value | Unknown]:
        values = state.outlook.requirement(self._roots, server)
        room = state.outlook.room(self._roots, server) if "room" in due else None
        if "cheap" in due or room is not None:
            values |= self._cheap(server, state, stat, at)
        if room is not None:
            values |= state.outlook.held(room, values, at - server.start_time)
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
