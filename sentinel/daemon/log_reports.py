"""Reports for each server whether its log is read, where it is, and why not."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.daemon.clock import Clock
from sentinel.daemon.follower import Follower
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.supervisor import Supervisor
from sentinel.model.entity import Entity
from sentinel.model.reading import Samples
from sentinel.sources.processes.log_source import CURE
from sentinel.sources.processes.server_process import ServerProcess

#: A server without a journal entry after this long does not log to the journal: journalctl prints what exists within a second,
#: and a server logs within seconds of its start. Seconds.
_UNHEARD = 20.0
#: Other writers of a log that are named.
_MOST_NAMED = 3


class LogReports:
    """Makes the samples."""

    def __init__(self, inbox: Inbox, supervisor: Supervisor, clock: Clock) -> None:
        self._inbox = inbox
        self._supervisor = supervisor
        self._clock = clock

    def is_heard(self, follower: Follower) -> bool | None:
        """Whether a log has lines of its server. None: too early to know."""
        if (follower.file is not None and not follower.copied) or follower.heard:
            return True
        return None if self._clock.now() - follower.since < _UNHEARD else False

    def whose(self, follower: Follower, servers: Sequence[ServerProcess]) -> None:
        """A log of several servers (of one unit, of one container, of one redirection) is nobody's: what it says of one, it would
        say of another. Where they follow each other, it is the present one's."""
        if len({server.entity for server in servers}) == 1:
            # Several of one name followed each other within one scan: a loop of starts that die at once.
            server = servers[0]
            if follower.shared:
                follower.shared = False
                where = follower.key.partition(":")[2]
                self.report(server.entity, True, where)
            if follower.entity != server.entity and follower.file is not None:
                follower.entity = follower.file.entity = server.entity
            return
        follower.shared = True
        for server in servers:
            others = ", ".join(sorted(one.entity.name for one in servers if one is not server)[:_MOST_NAMED])
            place = follower.key.partition(":")[2]
            why = f"{place}: {others} writes there as well, and no line says whose it is; {CURE}"
            self.report(server.entity, False, why)

    def if_heard(self, follower: Follower, server: ServerProcess) -> None:
        """A journal, and what another program is taken to copy or serve: only a line of the server proves that it is its log."""
        state = self._supervisor.state(follower.key)
        kind, _, place = follower.key.partition(":")
        own = kind == "journal" and not server.log.copied
        where = f"journal of {place}" if own else server.log.where
        if state.health == "failed":
            remedy = f": {state.remedy}" if state.remedy else ""
            self.report(server.entity, False, f"{where}: {state.why}{remedy}")
        elif (heard := self.is_heard(follower)) is not None:
            none = "the journal has no entry of it" if own else "it has no line of llama-server"
            why = "" if heard else f": {none}; {server.log.remedy or CURE}"
            self.report(server.entity, heard, f"{where}{why}")

    def report(self, entity: Entity, read: bool, where: str) -> None:
        """Whether the log of a server is read; `where` it is, and if it is not read, why."""
        self._inbox.offer(Samples(self._clock.now(), "logs", entity, {"server.log_readable": read, "server.log_where": where}))
