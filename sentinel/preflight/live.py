"""A preflight of each server that the daemon finds, once, when it is first seen: by its files and /proc alone, nothing is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sentinel.model.reading import Reading, Samples
from sentinel.preflight.build import unasked
from sentinel.preflight.command import NoCommand, from_process
from sentinel.preflight.examine import examine
from sentinel.sources.discover import ServerProcess
from sentinel.sources.roots import Roots, clean

#: A server that ran long before is not judged: what was free when it started is not known any more. Seconds.
_YOUNG = 60.0


class Preflights:
    """Polled; one Samples reading for each server that was seen to start. Some tens of milliseconds, on its own thread."""

    name = "preflight"
    interval = 1.0
    blocking = True

    def __init__(self, servers: Callable[[], Sequence[ServerProcess]], roots: Roots | None = None) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._done: set[tuple[int, int]] = set()

    def poll(self, at: float) -> Sequence[Reading]:
        """Signals ``server.preflight`` and ``server.preflight_why`` of servers not judged yet."""
        servers = self._servers()
        self._done &= {(server.pid, server.ticks) for server in servers}
        fresh = [server for server in servers if (server.pid, server.ticks) not in self._done]
        self._done |= {(server.pid, server.ticks) for server in fresh}
        return [reading for server in fresh if at - server.start_time < _YOUNG for reading in self._judge(server, at)]

    def _judge(self, server: ServerProcess, at: float) -> list[Reading]:
        if server.requested.is_router:
            return []
        try:
            # it runs as whoever started it, and the daemon runs nobody's program
            command = replace(from_process(server.pid, self._roots), may_ask=False)
        except NoCommand:
            # ended in between: discovery says so
            return []
        report = examine(command, self._roots, unasked(command), header=server.model, suggest=False)
        reasons = [why.text for why in report.whys if why.effect != "note"]
        values = {"server.preflight": report.verdict, "server.preflight_why": clean(reasons[0] if reasons else "")}
        return [Samples(at, self.name, server.entity, values)]
