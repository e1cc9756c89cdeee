"""The history: on disk if possible, else in memory until it is.

Nothing here raises after construction. On a full disk or a read-only folder `fault` becomes a sentence, and what could not be
written is kept, in order and with its ids, until the disk is writable again. The newest checkpoint wins.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sentinel.history.database import KEEP_DAYS, KEEP_ROWS, BaselineRows, Database, Rows
from sentinel.history.sqlite_file import HistoryFault
from sentinel.model.alert import Transition
from sentinel.model.json_form import is_news

#: above every id: SQLite's largest integer
_BEYOND = 2**63 - 1

T = TypeVar("T")

#: Transitions kept while the disk fails: some 20 MB at most. The oldest are dropped first.
MOST_IN_MEMORY = 10_000


class History:
    """Transitions by id, each sink's mark, and named checkpoints. `path` None: in memory only, lost with the process."""

    def __init__(self, path: Path | None) -> None:
        self.fault = ""
        #: the remedy for the fault
        self.remedy = ""
        self.message = ""
        self._path = path
        self._database: Database | None = None
        self._unwritten: deque[tuple[int, Transition]] = deque(maxlen=MOST_IN_MEMORY)
        self._checkpoints: dict[str, bytes | None] = {}
        self._baselines: dict[tuple[str, int], tuple[float, str] | None] = {}
        self._marks: dict[str, int] = {}
        self._stale_marks: set[str] = set()
        self._last_id = 0
        self._open()

    def commit(
        self,
        transitions: Sequence[Transition],
        checkpoint: Mapping[str, bytes | None] | None = None,
        baselines: BaselineRows | None = None,
    ) -> list[int]:
        """Store transitions, checkpoint (None drops a key) and baselines atomically. Returns the id of each transition."""
        ids = list(range(self._last_id + 1, self._last_id + 1 + len(transitions)))
        self._last_id += len(transitions)
        self._unwritten.extend(zip(ids, transitions, strict=True))
        self._checkpoints.update(checkpoint or {})
        self._baselines.update(baselines or {})
        self._write()
        return ids

    def checkpoint(self, key: str) -> bytes | None:
        """The blob committed last under `key`, from this run or an earlier one."""
        if key in self._checkpoints:
            return self._checkpoints[key]
        return self._read(lambda database: database.checkpoint(key), None)

    def checkpoints(self, prefix: str) -> dict[str, bytes]:
        """Every blob whose key begins with `prefix`."""
        none: list[tuple[str, bytes]] = []
        found: dict[str, bytes | None] = dict(self._read(lambda database: database.checkpoints(prefix), none))
        found.update((key, value) for key, value in self._checkpoints.items() if key.startswith(prefix))
        return {key: value for key, value in found.items() if value is not None}

    def baselines(self) -> list[tuple[str, int, float, str]]:
        """Baselines of earlier runs: configuration, depth class, time, and the answers, oldest first."""
        none: list[tuple[str, int, float, str]] = []
        return self._read(lambda database: database.baselines(), none)

    def register(self, sink: str) -> None:
        """Start to owe transitions to `sink`; a new sink is owed none of the past."""
        if sink not in self._marks:
            self._marks[sink] = self._last_id
            self._stale_marks.add(sink)
            self._write()

    def undelivered(self, sink: str, after: int = 0, limit: int = 1_000) -> list[tuple[int, Transition]]:
        """Transitions that `sink` is still owed, oldest first, with ids above `after`."""
        floor = max(after, self._marks.get(sink, self._last_id))
        none: Rows = []
        written = self._read(lambda database: database.news(floor, limit), none)
        waiting = [row for row in self._unwritten if row[0] > floor and is_news(row[1])]
        return (written + waiting)[:limit]

    def mark_delivered(self, sink: str, transition_id: int) -> None:
        """Everything up to and including `transition_id` was delivered to `sink`."""
        self._marks[sink] = max(self._marks.get(sink, 0), transition_id)
        self._stale_marks.add(sink)
        # While the disk fails, the mark is written with the next commit: a try for each of thousands would be in vain.
        if not self.fault:
            self._write()

    @property
    def last_id(self) -> int:
        """The id that was assigned last, 0 if none was."""
        return self._last_id

    @property
    def epoch(self) -> str:
        """Identifies this history, so that ids of another one (set aside, or lost) are not mistaken for its own."""
        known = self.checkpoint("epoch")
        if known is None:
            known = os.urandom(4).hex().encode()
            self.commit((), {"epoch": known})
        return known.decode("ascii", "replace")

    def following(self, number: int, limit: int) -> list[tuple[int, Transition]]:
        """The transition with id `number`, if it is kept, and those after it, oldest first; `limit` at most."""
        none: Rows = []
        written = self._read(lambda database: database.following(number, limit), none)
        return (written + [row for row in self._unwritten if row[0] >= number])[:limit]

    def settle(self) -> None:
        """Sync the marks of deliveries to disk, so that a power cut does not lose them."""
        if self._database is not None and not self.fault:
            try:
                self._database.sync()
            except HistoryFault as fault:
                self.fault, self.remedy = str(fault), fault.remedy

    def transitions(self, since: float | None = None, limit: int = 1_000) -> list[Transition]:
        """The newest `limit` transitions at or after `since` (seconds since the epoch), oldest first."""
        return [transition for _, transition in self.page(since, limit)]

    def page(self, since: float | None = None, limit: int = 1_000, before: int = _BEYOND) -> Rows:
        """The same with ids, only those below `before`: the first id of a page leads to the previous page."""
        none: Rows = []
        written = self._read(lambda database: database.transitions(since, before, limit), none)
        waiting = [
            row
            for row in self._unwritten
            if row[0] < before and (since is None or (row[1].at is not None and row[1].at >= since))
        ]
        return (written + waiting)[-limit:] if limit > 0 else []

    def prune(self, now: float, days: float = KEEP_DAYS, rows: int = KEEP_ROWS) -> int:
        """Delete what is older than `days` or beyond the newest `rows`, delivered or not. Returns the number deleted."""
        return self._read(lambda database: database.prune(now, days, rows), 0)

    def retry(self) -> bool:
        """Retry to open the file or to write what is pending. Returns whether everything is on disk now."""
        self._write()
        return self._database is not None and not self.fault

    def close(self) -> None:
        """Write what is pending, if possible, and close the file."""
        self._write()
        if self._database is not None:
            self._database.close()
            self._database = None
            self._path = None

    def _open(self) -> None:
        if self._path is None or self._database is not None:
            return
        try:
            database = Database(self._path)
            marks, last_id = database.marks(), database.last_id()
        except HistoryFault as fault:
            self.fault, self.remedy = f"{fault}; until then the history is kept in memory", fault.remedy
            # Ids assigned now stay valid when the file can be opened later, so they must be above every id in it. Microseconds
            # since the epoch are: ids in the file count from 1, or from such a number of an earlier time.
            self._last_id = self._last_id or time.time_ns() // 1000
            return
        self._database, self.message = database, database.message
        self._marks = dict(marks) | self._marks
        self._last_id = max(self._last_id, last_id)

    def _write(self) -> None:
        self._open()
        if self._database is None:
            return
        marks = {sink: self._marks[sink] for sink in self._stale_marks}
        try:
            self._database.commit(tuple(self._unwritten), self._checkpoints, marks, self._baselines)
        except HistoryFault as fault:
            self.fault, self.remedy = str(fault), fault.remedy
            return
        self.fault = ""
        self._unwritten.clear()
        self._checkpoints.clear()
        self._baselines.clear()
        self._stale_marks.clear()

    def _read(self, query: Callable[[Database], T], otherwise: T) -> T:
        if self._database is None:
            return otherwise
        try:
            return query(self._database)
        except HistoryFault as fault:
            self.fault, self.remedy = str(fault), fault.remedy
            return otherwise
