"""A unit's log in the journal: what its server printed, and what systemd says about the unit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from sentinel.model.labels import Entity
from sentinel.model.reading import Event, Reading
from sentinel.sources.base import Put
from sentinel.sources.journalctl import Batcher, Journal, JournalRecord

#: systemd's messages that are told by id, for their text is translated (sd-messages.h).
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "fe6faa94e7774663a0da52717891d8ef": "unit_oom_killed",
        "d989611b15e44c9dbf31e3c81256e4ed": "oomd_killed",
        "d9b373ed55a64feb8242e02dbe79a49c": "unit_failed",
    }
)


class JournalUnit:
    """Streaming source: a unit's log. Set `uid` for a unit of that user's own systemd.

    Without a cursor the last 1000 records come first, as backlog; with one, everything since is news.
    """

    def __init__(
        self,
        unit: str,
        entity: Entity,
        *,
        uid: int | None = None,
        cursor: str | None = None,
        name: str | None = None,
        program: str = "journalctl",
    ) -> None:
        self.unit = unit
        self.entity = entity
        self.name = name or f"journal:{unit}"
        self._user = uid is not None
        if uid is None:
            matches = [f"--unit={unit}"]
        else:
            # As --user-unit does for the caller's own uid (journalctl(1)): the uid is what another user cannot forge.
            # --quiet: it need not say that it does not see the messages of other users.
            matches = ["--quiet", f"_SYSTEMD_USER_UNIT={unit}", f"_UID={uid}", "+", f"USER_UNIT={unit}", f"_UID={uid}"]
        self._journal = Journal(matches, first=["-n", "1000"], cursor=cursor, program=program)

    @property
    def cursor(self) -> str | None:
        """The last record that was put completely; None before the first."""
        return self._journal.cursor

    @property
    def malformed(self) -> int:
        """Lines of journalctl that were no records."""
        return self._journal.malformed

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
            systemd = self._from_systemd(record)
            backlog = record.at < fresh_until
            found.append(batcher.add("systemd" if systemd else "llama-server", record.text, record.at, backlog=backlog))
            event = EVENTS.get(record.fields.get("MESSAGE_ID", "")) if self._from_manager(record) else None
            if event is not None:
                found.append(batcher.take())
                result = record.fields.get("UNIT_RESULT", "")
                found.append(Event(record.at, event, self.entity, {"unit": self.unit, "result": result}, self.name))
        found.append(batcher.take())
        return [reading for reading in found if reading is not None]

    def _from_systemd(self, record: JournalRecord) -> bool:
        """About the unit, from somebody else: its manager, or systemd-coredump."""
        return record.fields.get("_SYSTEMD_USER_UNIT" if self._user else "_SYSTEMD_UNIT") != self.unit

    def _from_manager(self, record: JournalRecord) -> bool:
        """From systemd itself. A server can log any MESSAGE_ID and UNIT, but fields that begin with _ are journald's own."""
        return record.fields.get("_SYSTEMD_USER_UNIT") == "init.scope" if self._user else record.pid == 1
