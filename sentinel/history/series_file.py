"""The SQLite file of the series: `recent`, the last twenty minutes second by second, and `blocks`, the coarser points.

`recent` gets a row of all series every ten seconds, synced to disk, so that a kill or a power cut loses at most ten seconds. All
else is made from it: when a window of ten minutes is over, its points of 10 s and of a minute are written, and after a kill those
that are missing are made again. Points of 10 s lie in blocks of ten minutes, those of a minute in blocks of an hour.

The file never has more than MOST_BYTES: what is too much is taken from the user who has most, oldest first. Nothing is deleted by
its age, because a clock that is wrong for a minute would delete a month; of each entity so many blocks are kept.
"""

from __future__ import annotations

import contextlib
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from sentinel.engine.inspect.plotted import PLOTTED
from sentinel.history.series_points import NOTHING, pack, unpack
from sentinel.history.series_recent import WINDOW, ClosedWindow, get_point, is_empty, put_point
from sentinel.history.sqlite_file import Plan, faults, open_or_replace, sync_wal
from sentinel.model.entity import Entity, Scope
from sentinel.model.input_limits import MOST_NAME

#: Schema migrations of this file; appended, never changed.
MIGRATIONS = (
    """
    CREATE TABLE recent (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, seconds INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE entities (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL);
    CREATE TABLE blocks (
        entity INTEGER NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (entity, step, at));
    """,
)
#: Ten servers that are busy for a month take 20 MB (measured with noise in all values); with the WAL this is below 30 MB.
MOST_BYTES = 27 << 20
_WAL_KEPT = 1 << 20
#: Pages of 4 kB after which the WAL is written into the file.
_WAL_PAGES = 200
_CACHE_KILOBYTES = 128
#: Writes take milliseconds, and lock no reader out. Seconds.
_BUSY_SECONDS = 1.0
_PLAN = Plan("series", MIGRATIONS, frozenset({"recent", "entities", "blocks"}), _WAL_KEPT)
#: Seconds of `recent`: a window and the one that is being made.
_RECENT = 2 * WINDOW
#: Seconds of a block, and blocks of an entity, by the seconds of a point: a day and thirty days, and the one that is being made.
BLOCK = {10: WINDOW, 60: 3600}
_KEPT = {10: 86_400 // WINDOW + 1, 60: 30 * 24 + 1}
POINTS = 60
#: Codes of a block, at most: more is a damaged file.
MOST_CODES = 3 * POINTS * 32
#: What a row takes in addition to its data, about.
_ROW_BYTES = 60


@dataclass(frozen=True, slots=True)
class Batch:
    """Seconds of all series from `at`; codes of each entity, signal after signal."""

    at: int
    seconds: int
    entities: Sequence[tuple[Entity, str]]
    codes: Sequence[array[int]]


def id_of(entity: Entity) -> int:
    """The number of an entity in the file; made from its name, so that it is known without the file."""
    name = f"{entity.scope}:{entity.name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)


class SeriesReader:
    """The file as queries read it, while another connection writes. Its methods raise HistoryFault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._faults():
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def entities(self, step: int, begin: int, end: int) -> list[Entity]:
        """All that has points between two times: each load of an Ollama is a server of its own, known long after its end."""
        with self._faults():
            rows = self._db.execute(
                "SELECT scope, name FROM entities WHERE EXISTS "
                "(SELECT 1 FROM blocks WHERE entity = id AND step = ? AND at > ? AND at < ?) ORDER BY scope, name",
                (step, begin - BLOCK[step], end),
            ).fetchall()
            return [Entity(scope, name) for scope, name in rows if scope in PLOTTED]

    def blocks(self, entity: Entity, step: int, begin: int, end: int) -> Iterator[tuple[int, array[int]]]:
        """The blocks of an entity that lie between two times, oldest first."""
        with self._faults():
            rows = self._db.execute(
                "SELECT at, data FROM blocks WHERE entity = ? AND step = ? AND at > ? AND at < ? ORDER BY at",
                (id_of(entity), step, begin - BLOCK[step], end),
            )
            for at, data in rows:
                # One damaged row must not hide the others.
                with contextlib.suppress(ValueError, TypeError):
                    yield int(at), unpack(data, MOST_CODES)

    def _faults(self) -> contextlib.AbstractContextManager[None]:
        return faults(f"cannot read the series {self._path}")


class SeriesFile:
    """The file as it is written. Its methods raise HistoryFault; one thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._faults("open"):
            self._db, self.message = open_or_replace(path, _PLAN)
            self._db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")

    def close(self) -> None:
        """Close the file; what was written stays."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def write(self, batches: Sequence[Batch], windows: Sequence[ClosedWindow]) -> None:
        """All of it or nothing, synced to disk."""
        with self._faults("write to"):
            with self._db:
                for batch in batches:
                    self._put_batch(batch)
                for window in windows:
                    self._put_window(window)
                self._trim_recent()
            if windows:
                self._trim_blocks()
            sync_wal(self.path)

    def batches(self) -> list[Batch]:
        """The last twenty minutes in the order in which they were written."""
        with self._faults("read"):
            known = {number: (Entity(scope, name), owner) for number, owner, scope, name in self._entities()}
            rows = self._db.execute("SELECT at, seconds, data FROM recent ORDER BY id").fetchall()
        found = []
        for at, seconds, data in rows:
            with contextlib.suppress(ValueError, TypeError):
                found.append(_batch(at, seconds, data, known))
        return found

    def _size(self) -> int:
        """Bytes that are in use; the file itself never becomes smaller."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        return int((pages - free) * size)

    def _entities(self) -> list[tuple[int, str, Scope, str]]:
        rows = self._db.execute("SELECT id, owner, scope, name FROM entities").fetchall()
        return [row for row in rows if row[2] in PLOTTED]

    def _put_batch(self, batch: Batch) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO entities VALUES (?,?,?,?)",
            [(id_of(entity), *map(_storable, (owner, entity.scope, entity.name))) for entity, owner in batch.entities],
        )
        ids = array("q", [id_of(entity) for entity, _ in batch.entities])
        counts = array("H", [len(codes) for codes in batch.codes])
        whole = array("H")
        for codes in batch.codes:
            whole += codes
        data = len(ids).to_bytes(2, "little") + ids.tobytes() + counts.tobytes() + pack(whole)
        self._db.execute("INSERT INTO recent (at, seconds, data) VALUES (?,?,?)", (batch.at, batch.seconds, data))

    def _put_window(self, window: ClosedWindow) -> None:
        for entity in window.entities:
            for step, seconds in BLOCK.items():
                points = window.points(entity, step)
                if is_empty(points):
                    continue
                at = window.at - window.at % seconds
                self._put_points(
                    id_of(entity), step, at, points, (window.at - at) // step, WINDOW // step, restored=window.restored
                )

    def _put_points(self, number: int, step: int, at: int, points: array[int], first: int, count: int, *, restored: bool) -> None:
        """Put `count` points of each signal into a block, from its point `first` on; the others stay."""
        row = self._db.execute("SELECT data FROM blocks WHERE entity = ? AND step = ? AND at = ?", (number, step, at)).fetchone()
        signals = len(points) // (3 * count)
        block = array("H")
        if row is not None:
            with contextlib.suppress(ValueError, TypeError):
                block = unpack(row[0], MOST_CODES)
        if len(block) != 3 * POINTS * signals:
            block = array("H", bytes(6 * POINTS * signals))
        for signal in range(signals):
            for n in range(count):
                value = get_point(points, signal, count, n)
                if value != NOTHING and not (restored and get_point(block, signal, POINTS, first + n) != NOTHING):
                    put_point(block, signal, POINTS, first + n, value)
        self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?,?,?,?)", (number, step, at, pack(block)))
        self._db.execute(
            "DELETE FROM blocks WHERE entity = ? AND step = ? AND at < "
            "(SELECT at FROM blocks WHERE entity = ? AND step = ? ORDER BY at DESC LIMIT 1 OFFSET ?)",
            (number, step, number, step, _KEPT[step] - 1),
        )

    def _trim_recent(self) -> None:
        """By what came after, not by the time: that may have been set."""
        seconds = 0
        for number, length in self._db.execute("SELECT id, seconds FROM recent ORDER BY id DESC"):
            seconds += length
            if seconds > _RECENT:
                self._db.execute("DELETE FROM recent WHERE id < ?", (number,))
                return

    def _trim_blocks(self) -> None:
        # A tenth is freed at once: who has what is counted over the whole file.
        if self._size() <= MOST_BYTES:
            return
        while self._size() > MOST_BYTES - MOST_BYTES // 10:
            with self._db:
                cost = f"sum(length(data) + {_ROW_BYTES})"
                most = self._db.execute(
                    f"SELECT owner FROM blocks JOIN entities ON entity = id GROUP BY owner ORDER BY {cost} DESC LIMIT 1"  # noqa: S608
                ).fetchone()
                if most is None:
                    return
                self._db.execute(
                    "DELETE FROM blocks WHERE rowid IN (SELECT blocks.rowid FROM blocks JOIN entities ON entity = id "
                    "WHERE owner = ? ORDER BY at LIMIT 500)",
                    most,
                )
                self._db.execute("DELETE FROM blocks WHERE entity NOT IN (SELECT id FROM entities)")
                self._db.execute("DELETE FROM entities WHERE id NOT IN (SELECT entity FROM blocks)")

    def _faults(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return faults(f"cannot {verb} the series {self.path}")


def _storable(text: str) -> str:
    """SQLite text must be UTF-8."""
    return text[:MOST_NAME].encode("utf-8", "backslashreplace").decode()


def _batch(at: int, seconds: int, data: bytes, known: dict[int, tuple[Entity, str]]) -> Batch:
    count = int.from_bytes(data[:2], "little")
    ids, counts = array("q", data[2 : 2 + 8 * count]), array("H", data[2 + 8 * count : 2 + 10 * count])
    whole = unpack(data[2 + 10 * count :], sum(counts))
    if not 0 < seconds <= WINDOW - at % WINDOW:
        raise ValueError("damaged: seconds of two windows")
    entities, codes, begin = [], [], 0
    for number, length in zip(ids, counts, strict=True):
        if number in known:
            entities.append(known[number])
            codes.append(whole[begin : begin + length])
        begin += length
    return Batch(at, seconds, entities, codes)
