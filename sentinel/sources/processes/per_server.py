"""Polling of the running llama-servers: each kind of file of each process at its own interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import Stat, read_stat
from sentinel.sources.processes.server_process import ServerProcess

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


@dataclass(slots=True)
class ServerState:
    """What is kept of one process: the time of its last reading of each kind."""

    ticks: int
    last: dict[str, float] = field(default_factory=dict)


S = TypeVar("S", bound=ServerState)


class PerServer(ABC, Generic[S]):
    """Polled; reads the processes in `servers`."""

    name: str
    interval = 1.0
    blocking = True

    def __init__(self, servers: Callable[[], Sequence[ServerProcess]], roots: Roots | None, state: Callable[[int], S]) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._new_state = state
        self._states: dict[int, S] = {}

    def poll(self, at: float) -> Sequence[Reading]:
        """Samples of the servers that are due."""
        servers = self._servers()
        for pid in self._states.keys() - {server.pid for server in servers}:
            del self._states[pid]
        readings = []
        for server in servers:
            state = self._states.get(server.pid)
            if state is None or state.ticks != server.ticks:
                state = self._states[server.pid] = self._new_state(server.ticks)
            age = at - server.start_time
            due = {name for name, cadence in self._cadences(state) if cadence.due(state.last.get(name), at, age)}
            if not due:
                continue
            stat = read_stat(self._roots, server.pid)
            if isinstance(stat, Unknown) or stat.start_ticks != server.ticks:
                # gone; discovery reports it
                continue
            state.last.update(dict.fromkeys(due, at))
            values = self._sample(server, state, stat, due, at)
            if values:
                readings.append(Samples(at, self.name, server.entity, values))
        return readings

    @abstractmethod
    def _cadences(self, state: S) -> Sequence[tuple[str, Cadence]]:
        """Kinds of readings, and how often each."""

    @abstractmethod
    def _sample(self, server: ServerProcess, state: S, stat: Stat, due: set[str], at: float) -> dict[str, Value | Unknown]:
        """Values of a process that exists, of the kinds that are due."""
