"""A unit's log in the journal: what its server printed, and systemd's messages about the unit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sentinel.model.entity import Entity
from sentinel.model.reading import Event, Reading
from sentinel.sources.base import Put
from sentinel.sources.logs.journalctl import Batcher, Journal, JournalRecord

#: systemd's messages, matched by id because their text is translated (sd-messages.h).
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "fe6faa94e7774663a0da52717891d8ef": "unit_oom_killed",
        "d989611b15e44c9dbf31e3c81256e4ed": "oomd_killed",
        "d9b373ed55a64feb8242e02dbe79a49c": "unit_failed",
    }
)


class JournalEntries:
    """Streaming source: the journal's entries that have every field of `match`, as a server's log.

    For a server without a unit: a process whose output goes to journald (``_PID``), a container whose runtime writes
    there (``CONTAINER_ID_FULL``, podman-run(1) and docker's journald driver).
    Without a cursor the last 1000 records come first, as backlog; with one, everything since is new.
    """

    def __init__(
        self,
        match: Sequence[tuple[str, str]],
        entity: Entity,
        *,
        cursor: str | None = None,
        name: str | None = None,
        program: str = "journalctl",
    ) -> None:
        terms = [f"{field}={value}" for field, value in match]
        self._begin(terms, entity, cursor, name or f"journal:{' '.join(terms)}", program)

    def _begin(
        self, arguments: Sequence[str], entity: Entity, cursor: str | None, name: str, program: str, since: float | None = None
    ) -> None:
        self.entity = entity
        self.name = name
        first = ["-n", "1000"] if since is None else ["-n", "all", f"--since=@{since:.0f}"]
        self._journal = Journal(arguments, first=first, cursor=cursor, program=program)

    @property
    def cursor(self) -> str | None:
        """Cursor of the last record that was put completely; None before the first."""
        return self._journal.cursor

    @property
    def malformed(self) -> int:
        """Lines of journalctl that were not records."""
        return self._journal.malformed

    async def holds_any(self) -> bool:
        """Whether there is an entry of this boot, without waiting for one. Raises SourceFault."""
        return await self._journal.holds_any(of_this_boot=True)

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put LogLines (kinds llama-server and systemd) and Events until cancelled. Raises SourceFault."""
        fresh_until = now() if self._journal.cursor is None else 0.0
        batcher = Batcher(self.name, self.entity)
        async with contextlib.aclosing(self._journal.follow()) as stream:
            async for records in stream:
                for reading in self._readings(records, batcher, fresh_until):
                    await put(reading)
                self._journal.cursor = records[-1].cursor

    def _readings(self, records: Sequence[JournalRecord], batcher: Batcher, fresh_until: float) -> list[Reading]:
        found: list[Reading | None] = []
        for record in records:
            found.append(batcher.add(self._kind(record), record.text, record.at, backlog=record.at < fresh_until))
            event = self._event(record)
            if event is not None:
                found += (batcher.take(), event)
        found.append(batcher.take())
        return [reading for reading in found if reading is not None]

    def _kind(self, _: JournalRecord) -> str:
        return "llama-server"

    def _event(self, _: JournalRecord) -> Event | None:
        return None


class JournalUnit(JournalEntries):
    """Streaming source: a unit's log. Set `uid` for a unit of that user's own systemd."""

    def __init__(
        self,
        unit: str,
        entity: Entity,
        *,
        uid: int | None = None,
        cursor: str | None = None,
        name: str | None = None,
        program: str = "journalctl",
        since: float | None = None,
    ) -> None:
        """`since`: nothing older is read, in place of the last 1000 records."""
        self.unit = unit
        self._user = uid is not None
        if uid is None:
            arguments = [f"--unit={unit}"]
        else:
            # As --user-unit does for the caller's own uid (journalctl(1)): another user cannot forge the uid.
            # --quiet: omits the hint that it does not see the messages of other users.
            arguments = ["--quiet", f"_SYSTEMD_USER_UNIT={unit}", f"_UID={uid}", "+", f"USER_UNIT={unit}", f"_UID={uid}"]
        self._begin(arguments, entity, cursor, name or f"journal:{unit}", program, since)

    def _kind(self, record: JournalRecord) -> str:
        """``systemd`` for messages about the unit from another sender: its manager, or systemd-coredump."""
        theirs = record.fields.get("_SYSTEMD_USER_UNIT" if self._user else "_SYSTEMD_UNIT") != self.unit
        return "systemd" if theirs else "llama-server"

    def _event(self, record: JournalRecord) -> Event | None:
        name = EVENTS.get(record.fields.get("MESSAGE_ID", ""))
        if name is None or not self._from_manager(record):
            return None
        fields = {"unit": self.unit, "result": record.fields.get("UNIT_RESULT", "")}
        return Event(record.at, name, self.entity, fields, self.name)

    def _from_manager(self, record: JournalRecord) -> bool:
        """From systemd itself. A server can log any MESSAGE_ID and UNIT, but journald sets the fields that begin with _."""
        return record.fields.get("_SYSTEMD_USER_UNIT") == "init.scope" if self._user else record.pid == 1
