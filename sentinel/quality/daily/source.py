"""Polled source: checks the answers of each server once a day and after a start with another build, model or flags.

It never waits for a server: what asks is a child process, one at a time, which is looked at between polls. A server is asked
only after five minutes of rest, on the loopback, within its tokens of the day.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sentinel.files.opener import NotRegular, Opener
from sentinel.model.entity import Entity, Unknown
from sentinel.model.reading import Reading, Samples
from sentinel.model.text import duration
from sentinel.quality import api_key
from sentinel.quality.daily.child import Child, NoChild
from sentinel.quality.daily.identity import Changes, Identity, as_asked, changes, identify
from sentinel.quality.daily.idle_time import IdleTime
from sentinel.quality.daily.kept import Record, Shelf
from sentinel.quality.daily.order import Order
from sentinel.quality.daily.outcome import Counted, Outcome, taken
from sentinel.quality.daily.settings import DAY, SECONDS_A_DAY, Chosen, Daily
from sentinel.quality.daily.signals import signals
from sentinel.sources.base import SourceFault
from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import read_stat
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.server.health import loopback

#: Seconds between two samples where nothing has changed; the max age of the signals is ten times this.
_AGAIN = 60.0
#: After a failure, doubled each time, up to a day. Seconds.
_PAUSE = 900.0
#: After a check that was stopped: rest is waited for anyhow. One that sleeps will wake for somebody else.
_BRIEF, _PAUSES = 60.0, {"asleep": _PAUSE}
#: A shift with something changed that has been there for a week is how the server is now. Seconds.
_SETTLED = 7 * DAY
#: Servers that are looked at.
_MOST_SERVERS = 32


@dataclass(slots=True)
class _Watched:
    """One process: what it is, read once."""

    key: tuple[int, int]
    identity: Identity
    told: float = float("-inf")
    last: object = None


@dataclass(slots=True)
class _Asking:
    """The child at work, and whom it asks."""

    name: str
    child: Child
    #: none: it counts experts, of the files with this mark
    server: ServerProcess | None
    identity: Identity
    since: float = 0.0
    mark: str = ""


class QualityChecks:
    """`servers` are those running now; `folder` keeps what was learned. `patience`: see `Guard`."""

    name = "quality"
    interval = 5.0
    blocking = True

    def __init__(
        self,
        servers: Callable[[], Sequence[ServerProcess]],
        roots: Roots,
        settings: Daily,
        folder: Path,
        patience: float,
    ) -> None:
        self._servers, self._roots, self._settings, self._patience = servers, roots, settings, patience
        self._shelf = Shelf(folder)
        self._idle = IdleTime(float(os.sysconf("SC_CLK_TCK")))
        self._watched: dict[str, _Watched] = {}
        self._asking: _Asking | None = None

    def poll(self, at: float) -> Sequence[Reading]:
        """Take up what the child found, start the next, say what is known. Raises SourceFault where nothing can be kept."""
        fault = self._take(at)
        servers = self._eligible()
        self._idle.keep({server.pid for server in servers})
        self._shelf.keep({server.entity.name for server in servers} | ({self._asking.name} if self._asking else set()))
        self._watched = {server.entity.name: self._watch(server, at) for server in servers}
        readings: list[Reading] = []
        due: list[tuple[float, ServerProcess]] = []
        for server in servers:
            waits = self._waits(server, at)
            if waits is None:
                due.append((self._shelf.record(server.entity.name).checked_at, server))
            readings += self._told(server.entity, waits, at)
        if self._asking is None:
            for server in servers:
                fault = fault or self._count_experts(server)
        if self._asking is None and due:
            fault = fault or self._ask(min(due, key=lambda one: (one[0], one[1].entity.name))[1], at)
        if fault:
            raise SourceFault(fault, "look at the state folder and at the limits of the unit")
        return readings

    # --- which, and when ---

    def _eligible(self) -> list[ServerProcess]:
        """Those that serve text, by name; a router's model is its children's."""
        found = [
            server
            for server in self._servers()
            if server.examined
            and not server.requested.is_router
            and server.values.get("server.embeddings") is not True
            and self._is_checked(server)
        ]
        return sorted(found, key=lambda server: server.entity.name)[:_MOST_SERVERS]

    def _is_checked(self, server: ServerProcess) -> bool:
        chosen = self._chosen(server).check
        return self._settings.check if chosen is None else chosen

    def _chosen(self, server: ServerProcess) -> Chosen:
        names = {server.entity.name, str(server.values.get("server.called"))}
        port = server.values.get("server.port")
        for one in self._settings.servers:
            if (one.name and one.name in names) or (one.port and one.port == port):
                return one
        return Chosen()

    def _watch(self, server: ServerProcess, at: float) -> _Watched:
        name = server.entity.name
        stat = read_stat(self._roots, server.pid)
        if not isinstance(stat, Unknown) and stat.start_ticks == server.ticks:
            self._idle.look(server.pid, server.ticks, stat.cpu_ticks, at)
        known = self._watched.get(name)
        if known is not None and known.key == server.key:
            return known
        # What failed with the process before may work with this one.
        self._shelf.record(name).not_before = 0.0
        return _Watched(server.key, identify(server, self._roots))

    def _waits(self, server: ServerProcess, at: float) -> str | None:
        """Why it is not asked now; empty where nothing is due, None where it is its turn."""
        name = server.entity.name
        record, now = self._shelf.record(name), self._watched[name].identity
        if self._asking is not None and self._asking.name == name:
            return "it is being asked"
        if record.learned_at and not self._shelf.reference(name).exists():
            # Somebody removed it: what the server says now is what it will be held against.
            record.learned_at, record.checked_at, record.shifted_at, record.found = 0.0, 0.0, 0.0, Outcome()
        is_other = record.checked_as.differs(now)
        if record.checked_at and not is_other and at - record.checked_at < self._settings.every:
            return ""
        if at < record.not_before:
            return record.trouble or f"it is tried again in {duration(record.not_before - at)}"
        if (left := self._settings.idle - self._idle.seconds(server.pid, at)) > 0:
            return f"it is not idle yet: {duration(max(left, 1))} of rest to go"
        if record.spent(at) >= self._settings.tokens_a_day:
            return f"its {self._settings.tokens_a_day} tokens of this day are spent"
        if record.took(at) >= SECONDS_A_DAY:
            return f"its {duration(SECONDS_A_DAY)} of this day are spent: it answers slowly"
        return None

    # --- asking ---

    def _ask(self, server: ServerProcess, at: float) -> str:
        """Start the child; why it could not be, else empty."""
        name, entity = server.entity.name, self._watched[server.entity.name].identity
        record, chosen = self._shelf.record(name), self._chosen(server)
        where = loopback(server, self._roots)
        if where is None:
            self._failed(record, "it does not listen on this machine's loopback", "", at)
            return ""
        descriptors: list[int] = []
        try:
            key = _key(chosen.api_key_file, server) if chosen.api_key_file is not None else ""
            if chosen.reference is not None:
                descriptors.append(Opener().open(str(chosen.reference)))
        except (OSError, ValueError, NotRegular) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._failed(
                record, f"{getattr(error, 'filename', None) or 'a file of its configuration'} cannot be read: {why}", "", at
            )
            return ""
        process = f"{server.pid} {server.ticks}"
        past = self._shelf.reference(name)
        if record.shifted_at and at - record.shifted_at > _SETTLED and self._changed(name).kinds not in ("", "other"):
            # What was changed on purpose a week ago and left so is the past from now on.
            with suppress(OSError):
                past.unlink()
            record.shifted_at = 0.0
        order = Order(
            host=where[0], port=where[1], key=key, pid=server.pid, ticks=server.ticks, parent=os.getpid(),
            proc=str(self._roots.proc),
            budget=self._settings.tokens_a_day - record.spent(at), left=SECONDS_A_DAY - record.took(at),
            patience=self._patience, flags=entity.flags,
            past=str(past), partial=str(self._shelf.partial(name)), resume=record.partial_of == process,
            same_model=bool(entity.model) and entity.model == record.known_as.model,
            reference_fd=descriptors[0] if descriptors else -1,
        )  # fmt: skip
        try:
            self._shelf.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            child = Child(asdict(order), descriptors)
        except (NoChild, OSError) as error:
            self._failed(record, str(error), "", at)
            return str(error)
        finally:
            for one in descriptors:
                os.close(one)
        self._asking = _Asking(name, child, server, as_asked(entity, server.pid, self._roots), at)
        return ""

    def _take(self, at: float) -> str:
        """What the child found, where it has ended; why that cannot be kept, else empty."""
        asking = self._asking
        if asking is None or (said := asking.child.said()) is None:
            return ""
        self._asking = None
        record = self._shelf.record(asking.name)
        if asking.server is None:
            record.experts, record.experts_of = taken(Counted, said), asking.mark
            return self._shelf.save(asking.name)
        found = taken(Outcome, said)
        # By our own clock: a child that had to be killed says nothing of its seconds.
        record.spend(found.tokens, max(at - asking.since, 0.0), at)
        process = f"{asking.server.pid} {asking.server.ticks}"
        record.partial_of = process if found.partial else ""
        if found.end == "done":
            self._done(record, asking.identity, found, at)
        elif found.end == "trouble":
            self._failed(record, found.why, found.remedy, at)
        else:
            record.trouble, record.remedy = "", ""
            record.not_before = (at // DAY + 1) * DAY if found.end == "budget" else at + _PAUSES.get(found.end, _BRIEF)
        if not found.partial:
            self._shelf.drop_partial(asking.name)
        return self._shelf.save(asking.name)

    def _done(self, record: Record, identity: Identity, found: Outcome, at: float) -> None:
        if found.learned:
            record.learned_at = at
        if found.learned or found.past.verdict == "same":
            record.known_as, record.known_build, record.known_weights = identity, found.build, found.weights
        is_same_shift = record.shifted_at and not record.checked_as.differs(identity)
        record.shifted_at = 0.0 if found.past.verdict != "shifted" else record.shifted_at if is_same_shift else at
        record.checked_as, record.checked_at, record.found = identity, at, found
        record.failures, record.not_before, record.trouble, record.remedy = 0, 0.0, "", ""

    def _failed(self, record: Record, why: str, remedy: str, at: float) -> None:
        record.failures += 1
        record.trouble, record.remedy = why, remedy
        record.not_before = at + min(_PAUSE * 2.0 ** min(record.failures - 1, 10), DAY)

    def _count_experts(self, server: ServerProcess) -> str:
        """Start the comparison of its importance matrices where they are not those of last time."""
        files = self._chosen(server).experts
        record = self._shelf.record(server.entity.name)
        if files is None or self._asking is not None:
            return ""
        mark = " ".join(_mark(path) for path in files)
        if mark == record.experts_of:
            return ""
        try:
            child = Child({}, words=("experts", *map(str, files)))
        except NoChild as error:
            return str(error)
        self._asking = _Asking(server.entity.name, child, None, Identity(), mark=mark)
        return ""

    # --- what is said ---

    def _changed(self, name: str) -> Changes:
        record = self._shelf.record(name)
        found = record.found
        builds, weights = (record.known_build, found.build), (record.known_weights, found.weights)
        return changes(record.known_as, record.checked_as, builds, weights)

    def _told(self, entity: Entity, waits: str | None, at: float) -> list[Reading]:
        watched, record = self._watched[entity.name], self._shelf.record(entity.name)
        asked = self._asking is not None and self._asking.name == entity.name
        said = (record.checked_at, record.trouble, record.experts_of, waits is None, bool(waits), asked, record.learned_at)
        if at - watched.told < _AGAIN and said == watched.last:
            return []
        watched.told, watched.last = at, said
        reference = str(self._shelf.reference(entity.name)) if record.learned_at else ""
        values = signals(
            record, "it is next" if waits is None else waits, self._changed(entity.name), reference, at,
            is_other=record.checked_as.differs(watched.identity),
        )  # fmt: skip
        return [Samples(at, self.name, entity, values)]


def _key(path: Path, server: ServerProcess) -> str:
    """It goes to a process of the file's owner, of root, or of a system unit only: whoever takes the port of a server that ended
    must not be sent it. Raises as `api_key.read`.
    """
    key, owner = api_key.read(path)
    is_unit = bool(server.values.get("server.unit")) and server.values.get("server.user_unit") is not True
    if server.user not in (0, owner) and not is_unit:
        raise ValueError(
            f"it belongs to user {owner}, and the server to user {server.user}: the key is not sent to another's process"
        )
    return key


def _mark(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    return f"{path.name} {status.st_size} {status.st_mtime_ns}"
