"""A SQLite file of the daemon: opened, migrated, synced, and replaced where it cannot be used.

Disk errors become HistoryFault; a file that is corrupt, or was written by a newer sentinel, is set aside and replaced, because
a daemon must not stay down for its history.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sentinel.model.fault import Fault

#: Files that were set aside are kept for inspection, but limited, lest a disk that corrupts them repeatedly fills up.
_MOST_ASIDE = 3

#: A reader never blocks a writer in WAL mode; a backup tool that locks the file may, for a moment.
_BUSY_SECONDS = 2.0


class HistoryFault(Fault):
    """The history is not readable or writable."""


class _Unusable(Exception):
    """The file is not a database that this version can use; `word` becomes part of the name under which it is set aside."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(why)
        self.word = word


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file holds: its name for people, its schema in steps, its tables, and bytes of WAL that are kept."""

    name: str
    #: `user_version` counts those applied; they are appended, never changed
    migrations: tuple[str, ...]
    tables: frozenset[str]
    wal_bytes: int


def open_or_replace(path: Path, plan: Plan) -> tuple[sqlite3.Connection, str]:
    """Open or create; the text says what was set aside, else it is empty. Raises sqlite3.Error and OSError.

    The connection may be used by one thread after the other, never by two at once.
    """
    try:
        return _open(path, plan), ""
    except _Unusable as unusable:
        aside = _set_aside(path, unusable.word)
        return _open(path, plan), f"{path}: {unusable}; set aside as {aside.name}, a new {plan.name} begins"


def sync_wal(path: Path) -> None:
    """Sync what was committed to disk.

    This uses its own descriptor: SQLite's locks are not on the WAL file, so that closing it releases none of them.
    """
    with contextlib.suppress(FileNotFoundError):
        log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(log)
        finally:
            os.close(log)


@contextlib.contextmanager
def faults(what: str) -> Iterator[None]:
    """Errors of the disk as HistoryFault, which begins with `what`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why, remedy = _advice(error)
        raise HistoryFault(f"{what}: {why}", remedy) from error


def _open(path: Path, plan: Plan) -> sqlite3.Connection:
    # systemd creates its StateDirectory; at a user's first start the folder does not exist yet.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Evidence quotes log lines, so only the owner may read the file. SQLite gives -wal and -shm the database's mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        _prepare(db, plan)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, plan: Plan) -> None:
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(plan.migrations):
            raise _Unusable("newer", f"written by a newer sentinel (schema {version}, this one knows {len(plan.migrations)})")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(f"PRAGMA journal_size_limit={plan.wal_bytes}")
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise _Unusable("corrupt", f"the database is damaged ({found})")
        for number, step in enumerate(plan.migrations[version:], version + 1):
            db.executescript(f"BEGIN; {step}; PRAGMA user_version={number}; COMMIT;")
        _check_shape(db, plan)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise _Unusable("corrupt", f"no usable database ({error})") from error


def _check_shape(db: sqlite3.Connection, plan: Plan) -> None:
    """Check the tables: another program's file can have any user_version."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not plan.tables <= tables:
        raise _Unusable("corrupt", "a database that is not sentinel's")


def _set_aside(path: Path, word: str) -> Path:
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.{word}-{stamp}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    older = sorted(one for one in path.parent.glob(f"{path.name}.{word}-*Z") if one != aside)
    for one in older[: max(0, len(older) + 1 - _MOST_ASIDE)]:
        for suffix in ("", "-wal", "-shm"):
            one.with_name(one.name + suffix).unlink(missing_ok=True)
    return aside


def _advice(error: sqlite3.Error | OSError) -> tuple[str, str]:
    """What is wrong, and the remedy."""
    text = str(error)
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return "the disk is full", "free some space, sentinel goes on in memory until then"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return text, "make the folder writable for the user that runs sentinel"
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return text, "restart sentinel, which sets the damaged file aside"
    if isinstance(error, FileExistsError):
        return f"{error.filename} is not a folder", "remove it or set state_dir to a folder"
    if isinstance(error, NotADirectoryError):
        return f"a part of {error.filename} is not a folder", "set state_dir to a folder"
    if isinstance(error, OSError):
        return error.strerror or text, "make the folder writable for the user that runs sentinel"
    return text, ""
