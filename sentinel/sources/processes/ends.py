"""How the processes of servers ended, joined to the servers.

The scan and the events of the kernel are read on two threads. On a busy machine a scan misses a process of 2 ms before the event
of its end is read, and `sentinel exec` reports an end when it is scheduled: the word of it is taken before and after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sentinel.model.input_limits import MOST_AWAITED_ENDS
from sentinel.model.reading import Event
from sentinel.sources.processes.proc_events import fields_of_end
from sentinel.sources.processes.server_process import ServerProcess

#: How long the word of an end is waited for after the process was missed; its id is not used again by then. Seconds.
_LATE = 10.0


class Ends:
    """Not safe for threads: discovery's lock guards it. `source` is the name of the readings."""

    def __init__(self, source: str) -> None:
        self._source = source
        #: as wait(2) has it, of servers that have not been let go yet
        self._codes: dict[int, int] = {}
        #: servers that were let go before it was known how they ended, and when
        self._unheard: dict[int, tuple[ServerProcess, float]] = {}
        self._late: list[tuple[ServerProcess, int]] = []
        #: process ids of the last servers that were caught, and of their parents
        self._met: deque[tuple[int, int]] = deque(maxlen=MOST_AWAITED_ENDS)

    def begun(self, server: ServerProcess) -> None:
        """It was caught as it started."""
        self._met.append((server.pid, server.parent))
        self._unheard.pop(server.pid, None)

    def heard(self, servers: Iterable[ServerProcess], pid: int, code: int, parent: int | None) -> bool:
        """A process ended; whether it is one of the `servers` or was, and this `parent`'s if one is given."""
        if any(server.pid == pid and parent in (None, server.parent) for server in servers):
            self._codes.setdefault(pid, code)
            return True
        missed = self._unheard.get(pid)
        if missed is not None and parent in (None, missed[0].parent):
            del self._unheard[pid]
            self._late.append((missed[0], code))
            return True
        # Both the kernel and the wrapper may report one end.
        return parent is not None and (pid, parent) in self._met

    def awaited(self) -> frozenset[int]:
        """Processes that were let go before it was known how they ended. Any thread."""
        return frozenset(tuple(self._unheard))

    def reported(self, server: ServerProcess, code: int) -> None:
        """The end of a server that nobody but its wrapper saw."""
        self._codes[server.pid] = code

    def of(self, server: ServerProcess, at: float) -> list[Event]:
        """How a server ended that is let go now; nothing yet where that is still to come."""
        code = self._codes.pop(server.pid, None)
        if code is not None:
            return [self._event(server, code, at)]
        while len(self._unheard) >= MOST_AWAITED_ENDS:
            del self._unheard[next(iter(self._unheard))]
        self._unheard[server.pid] = server, at
        return []

    def late(self, at: float) -> list[Event]:
        """The ends of servers that were let go before."""
        late, self._late = self._late, []
        self._unheard = {pid: missed for pid, missed in self._unheard.items() if 0 <= at - missed[1] < _LATE}
        return [self._event(server, code, at) for server, code in late]

    def keep(self, servers: Iterable[ServerProcess]) -> None:
        """Only these are there."""
        pids = {server.pid for server in servers}
        self._codes = {pid: code for pid, code in self._codes.items() if pid in pids}

    def _event(self, server: ServerProcess, code: int, at: float) -> Event:
        return Event(at, "main_process_exited", server.entity, {"unit": server.member.unit, **fields_of_end(code)}, self._source)
