"""OOM kills by systemd-oomd and earlyoom, from the journal: the kernel logs nothing for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from sentinel.model.entity import HOST
from sentinel.sources.base import NotHere, Put
from sentinel.sources.logs.journalctl import Batcher, Journal

UNITS = ("systemd-oomd.service", "earlyoom.service")
#: systemd keeps a link here for each running unit (src/core/unit.c, unit_export_invocation_id), readable by all
_RUNNING = Path("/run/systemd/units")


class OomDaemons:
    """Streaming source; runs journalctl only if one of the daemons is active. Begins with the next message."""

    name = "oom-daemons"

    def __init__(self, *, program: str = "journalctl", running: Path = _RUNNING) -> None:
        self._running = running
        # journald sets the unit itself: no other sender can forge it
        matches = [f"_SYSTEMD_UNIT={UNITS[0]}", "+", f"_SYSTEMD_UNIT={UNITS[1]}"]
        self._journal = Journal(matches, first=["-n", "0"], cursor=None, program=program)

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put LogLines of kind systemd about the host until cancelled. Raises NotHere and SourceFault."""
        if not any((self._running / f"invocation:{unit}").is_symlink() for unit in UNITS):
            raise NotHere("neither systemd-oomd nor earlyoom runs")
        batcher = Batcher(self.name, HOST)
        async with contextlib.aclosing(self._journal.follow()) as stream:
            async for records in stream:
                for record in records:
                    if (done := batcher.add("systemd", record.text, record.at, backlog=False)) is not None:
                        await put(done)
                if (last := batcher.take()) is not None:
                    await put(last)
                self._journal.cursor = records[-1].cursor
