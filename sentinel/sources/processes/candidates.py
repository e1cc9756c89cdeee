"""Which processes a scan inspects: new ones, young ones in each scan, old ones in turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sentinel.sources.fs import Roots, read_text
from sentinel.sources.processes.identify import ProcessKind, classify, is_server_name

#: A program is forked before it is executed: it is inspected in each scan while it is young. Seconds.
YOUNG_SECONDS = 5.0
#: An old process is inspected again after this many polls: its kernel name changes when it becomes another program.
_ROUNDS = 10
#: An interpreter that has run this long without a server is inspected less often: reading what it has mapped costs 0.3 ms.
_SETTLED_SECONDS, SETTLED_ROUNDS = 120.0, 60


@dataclass(slots=True)
class _Seen:
    since: float
    comm: str
    kind: ProcessKind = ProcessKind.OTHER
    #: there is no room for one more server of its user: looked at again rarely
    refused: bool = False


class Candidates:
    """Every process that was seen, and what it was taken for."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._seen: dict[int, _Seen] = {}
        #: counts scans
        self.round = 0

    def unseen(self, pids: set[int]) -> set[int]:
        """Those of them that no scan has seen."""
        return pids - self._seen.keys()

    def arrived(self, pids: set[int], servers: Iterable[int], at: float) -> list[int]:
        """Of all processes those that have become a server since the last scan."""
        first = not self._seen
        for pid in self._seen.keys() - pids:
            del self._seen[pid]
        return [pid for pid in self._due(pids.difference(servers), at, first) if self._is_server(pid, at)]

    def refuse(self, pid: int) -> None:
        """There is no room for it."""
        self._seen[pid].refused = True

    def forget(self, pid: int) -> None:
        """It counts as new from now on."""
        self._seen.pop(pid, None)

    def _due(self, pids: set[int], at: float, first: bool) -> list[int]:
        """Processes to inspect in this poll."""
        self.round = (self.round + 1) % SETTLED_ROUNDS
        due = []
        for pid in pids:
            seen = self._seen.get(pid)
            if seen is None:
                # processes older than sentinel are no longer young
                self._seen[pid] = _Seen(at - YOUNG_SECONDS if first else at, "")
                due.append(pid)
            elif seen.refused:
                if (pid - self.round) % SETTLED_ROUNDS == 0:
                    due.append(pid)
            elif seen.kind is ProcessKind.MAYBE or at - seen.since < YOUNG_SECONDS or self._in_turn(pid, seen, at):
                due.append(pid)
        return due

    def _in_turn(self, pid: int, seen: _Seen, at: float) -> bool:
        settled = seen.kind is ProcessKind.LATER and at - seen.since > _SETTLED_SECONDS
        rounds = SETTLED_ROUNDS if settled else _ROUNDS
        return (pid - self.round) % rounds == 0

    def _is_server(self, pid: int, at: float) -> bool:
        seen = self._seen[pid]
        try:
            comm = read_text(f"{self._roots.proc}/{pid}/comm", 64)
        except OSError:
            return False
        young = at - seen.since < YOUNG_SECONDS
        if comm == seen.comm and seen.kind is ProcessKind.OTHER and not young and not is_server_name(comm):
            return False
        if comm == seen.comm and seen.kind is ProcessKind.LATER and not self._in_turn(pid, seen, at):
            return False
        seen.comm, seen.kind = comm, classify(self._roots, pid, comm)
        return seen.kind is ProcessKind.SERVER
