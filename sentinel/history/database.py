"""The SQLite file: transitions, checkpoints and each sink's mark, written in one transaction.

WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut may lose the last transactions but
does not corrupt the file (sqlite.org/pragma.html#pragma_synchronous). Alerts must not be lost: after transitions, and after
deliveries, the WAL is synced to disk (`sync`). A checkpoint without transitions may be lost: its input is read again.

What is wrong with the file is `sqlite_file.py`'s matter.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from sentinel.history.sqlite_file import Plan, faults, open_or_replace, sync_wal
from sentinel.model.alert import Transition
from sentinel.model.json_form import is_news, transition_from_record, transition_to_record

#: Schema migrations; `user_version` counts those applied. Migrations are appended, never changed.
MIGRATIONS = (
    """
    CREATE TABLE transitions (
        id INTEGER PRIMARY KEY, at REAL, rule TEXT NOT NULL, entity TEXT NOT NULL, fingerprint TEXT NOT NULL,
        state TEXT NOT NULL, news INTEGER NOT NULL, json TEXT NOT NULL);
    CREATE INDEX transitions_at ON transitions (at);
    CREATE INDEX transitions_news ON transitions (id) WHERE news;
    CREATE TABLE checkpoints (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE marks (sink TEXT PRIMARY KEY, last_id INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE baselines (
        configuration TEXT NOT NULL, depth INTEGER NOT NULL, at REAL NOT NULL, samples TEXT NOT NULL,
        PRIMARY KEY (configuration, depth)) WITHOUT ROWID;
    """,
)

KEEP_DAYS = 90
#: About 200 MB at 2 kB a transition; a machine that reaches it in 90 days has an alert that flaps every minute.
KEEP_ROWS = 100_000

#: Size to which the WAL is truncated after a checkpoint; a large transaction makes it larger for a while. Bytes.
_WAL_KEPT = 4 << 20
_PLAN = Plan("history", MIGRATIONS, frozenset({"transitions", "checkpoints", "marks", "baselines"}), _WAL_KEPT)

Rows = list[tuple[int, Transition]]
#: Baselines by configuration and depth class: the time, and the answers each was learned from; None: deleted.
BaselineRows = Mapping[tuple[str, int], tuple[float, str] | None]


class Database:
    """One open file. `message` says what was set aside when it was opened, else it is empty."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises HistoryFault if the path is not writable."""
        self.path = path
        with self._faults("open"):
            self._db, self.message = open_or_replace(path, _PLAN)

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def commit(
        self,
        rows: Sequence[tuple[int, Transition]],
        checkpoint: Mapping[str, bytes | None],
        marks: Mapping[str, int],
        baselines: BaselineRows,
    ) -> None:
        """Write all of it or nothing. Raises HistoryFault."""
        with self._faults("write to"), self._db:
            self._db.executemany("INSERT OR REPLACE INTO transitions VALUES (?,?,?,?,?,?,?,?)", map(_row, rows))
            saved = [(key, value) for key, value in checkpoint.items() if value is not None]
            self._db.executemany("INSERT OR REPLACE INTO checkpoints VALUES (?,?)", saved)
            ended = [(key,) for key, value in checkpoint.items() if value is None]
            self._db.executemany("DELETE FROM checkpoints WHERE key = ?", ended)
            self._db.executemany("INSERT OR REPLACE INTO marks VALUES (?,?)", marks.items())
            kept = [(*key, *row) for key, row in baselines.items() if row is not None]
            self._db.executemany("INSERT OR REPLACE INTO baselines VALUES (?,?,?,?)", kept)
            gone = [key for key, row in baselines.items() if row is None]
            self._db.executemany("DELETE FROM baselines WHERE configuration = ? AND depth = ?", gone)
        if rows:
            self.sync()

    def sync(self) -> None:
        """Sync what was committed to disk, so that not even a power cut loses it. Raises HistoryFault."""
        with self._faults("write to"):
            sync_wal(self.path)

    def last_id(self) -> int:
        """The highest id ever given out and kept, 0 in a new file."""
        with self._faults("read"):
            (row,) = self._db.execute(
                "SELECT max(coalesce((SELECT max(id) FROM transitions), 0), coalesce((SELECT max(last_id) FROM marks), 0))"
            )
            return int(row[0])

    def marks(self) -> dict[str, int]:
        """Each known sink with the id up to which everything was delivered."""
        with self._faults("read"):
            return dict(self._db.execute("SELECT sink, last_id FROM marks"))

    def checkpoint(self, key: str) -> bytes | None:
        """The blob committed last under `key`."""
        with self._faults("read"):
            row = self._db.execute("SELECT value FROM checkpoints WHERE key = ?", (key,)).fetchone()
            return None if row is None else bytes(row[0])

    def checkpoints(self, prefix: str) -> list[tuple[str, bytes]]:
        """Every blob whose key begins with `prefix`, by key."""
        with self._faults("read"):
            found = self._db.execute(
                "SELECT key, value FROM checkpoints WHERE substr(key, 1, ?) = ? ORDER BY key", (len(prefix), prefix)
            )
            return [(str(key), bytes(value)) for key, value in found]

    def baselines(self) -> list[tuple[str, int, float, str]]:
        """Every baseline: configuration, depth class, time, and the answers it was learned from."""
        with self._faults("read"):
            return self._db.execute("SELECT configuration, depth, at, samples FROM baselines ORDER BY at").fetchall()

    def news(self, after: int, limit: int) -> Rows:
        """Transitions that notify, oldest first, with ids above `after`."""
        return self._rows("SELECT id, json FROM transitions WHERE news AND id > ? ORDER BY id LIMIT ?", (after, limit))

    def following(self, number: int, limit: int) -> Rows:
        """The transition with id `number`, if it is kept, and those after it, oldest first."""
        return self._rows("SELECT id, json FROM transitions WHERE id >= ? ORDER BY id LIMIT ?", (number, limit))

    def transitions(self, since: float | None, before: int, limit: int) -> Rows:
        """The newest `limit` transitions at or after `since` (seconds since the epoch) with ids below `before`, oldest first."""
        where = "id < ?" if since is None else "id < ? AND at >= ?"
        values = (before, limit) if since is None else (before, since, limit)
        # `where` is one of two constants.
        return self._rows(f"SELECT id, json FROM transitions WHERE {where} ORDER BY id DESC LIMIT ?", values)[::-1]  # noqa: S608

    def prune(self, now: float, days: float, rows: int) -> int:
        """Delete what is older than `days` or beyond the newest `rows`. Returns the number of deleted transitions."""
        with self._faults("write to"), self._db:
            gone = self._db.execute(
                "DELETE FROM transitions WHERE at < ? OR id <= (SELECT coalesce(max(id), 0) FROM transitions) - ?",
                (now - days * 86400, rows),
            )
            return gone.rowcount

    def _rows(self, query: str, values: tuple[float, ...]) -> Rows:
        with self._faults("read"):
            found = self._db.execute(query, values).fetchall()
        rows: Rows = []
        for number, text in found:
            # One row edited by hand must not hide the others, nor block deliveries.
            with contextlib.suppress(KeyError, TypeError, ValueError):
                rows.append((number, transition_from_record(json.loads(text))))
        return rows

    def _faults(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return faults(f"cannot {verb} the history {self.path}")


def _row(row: tuple[int, Transition]) -> tuple[object, ...]:
    number, transition = row
    # ASCII only: SQLite text must be UTF-8, and a name that was not is kept as an escaped lone surrogate.
    text = json.dumps(transition_to_record(transition), separators=(",", ":"))
    entity = str(transition.entity).encode("utf-8", "backslashreplace").decode()
    return (
        number, transition.at, transition.rule, entity, transition.fingerprint, transition.state, is_news(transition), text,
    )  # fmt: skip
