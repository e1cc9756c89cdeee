"""The power goes at any write: what was reported is there, what is there is of one moment, and the file opens without a word."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_transitions import firing

from sentinel.history import History
from sentinel.history.database import Database

#: Header of the log and of each of its frames (sqlite.org/fileformat2.html, 4.1).
_LOG_HEADER, _FRAME_HEADER = 32, 24


def opened(folder: Path, database: bytes, log: bytes) -> History:
    """A history over files as the disk holds them after the cut."""
    folder.mkdir(exist_ok=True)
    for suffix, data in (("", database), ("-wal", log)):
        (folder / f"cut.db{suffix}").write_bytes(data)
    (folder / "cut.db-shm").unlink(missing_ok=True)
    return History(folder / "cut.db")


def claims(history: History) -> int:
    """All of a moment: the checkpoint is that of the last transition, and none before it is missing. Returns its number."""
    assert (history.message, history.fault) == ("", "")
    kept = [t.summary for t in history.transitions(limit=10_000)]
    number = int(history.checkpoint("number") or b"0")
    assert kept == [f"number {n}" for n in range(1, number + 1)]
    assert [t.summary for _, t in history.undelivered("journald", limit=10_000)] == kept[
        int(history.checkpoint("told") or b"0") :
    ]
    history.close()
    return number


def written(path: Path, count: int) -> Iterator[History]:
    """A history that commits alerts one by one, the last but one of which is reported each time."""
    history = History(path)
    history.register("journald")
    for number in range(1, count + 1):
        told = str(number - 1).encode()
        (number_of_row,) = history.commit(
            [firing(number)], {"number": str(number).encode(), "told": told, "bulk": os.urandom(9000)}
        )
        history.mark_delivered("journald", number_of_row - 1)
        yield history
    history.close()


def test_at_each_frame_of_the_log_and_in_the_midst_of_each(tmp_path: Path) -> None:
    """A log cut short, or with a torn frame, is read to the last commit that is whole."""
    path = tmp_path / "history.db"
    for _ in written(path, 12):
        database, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    with sqlite3.connect(path) as reader:
        frame = _FRAME_HEADER + reader.execute("PRAGMA page_size").fetchone()[0]
    reader.close()
    seen = []
    for end in range(_LOG_HEADER, len(log) + 1, frame):
        for cut in (end, end + frame // 2):
            torn = os.urandom(frame // 3) if cut != end else b""
            seen.append(claims_or_nothing(tmp_path / "cut", database, log[:cut] + torn))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 12)


def claims_or_nothing(folder: Path, database: bytes, log: bytes) -> int:
    """Marks and transitions are two commits here, so between them an alert that was reported is owed once more, and no other."""
    history = opened(folder, database, log)
    assert (history.message, history.fault) == ("", "")
    kept = [t.summary for t in history.transitions(limit=10_000)]
    number = int(history.checkpoint("number") or b"0")
    assert kept == [f"number {n}" for n in range(1, number + 1)]
    owed = len(history.undelivered("journald", limit=10_000))
    assert owed <= 2
    history.close()
    return number


def test_copies_of_the_files_after_each_commit(tmp_path: Path) -> None:
    """Hundreds of commits, over several transfers of the log into the database."""
    path = tmp_path / "history.db"
    for number, _ in enumerate(written(path, 400), 1):
        if number % 7 == 0:
            copy = opened(tmp_path / "cut", path.read_bytes(), Path(f"{path}-wal").read_bytes())
            assert claims(copy) == number


def test_in_the_midst_of_the_transfer_of_the_log_into_the_database(tmp_path: Path) -> None:
    """The database is half new and half old; the log, which is still there, makes it whole."""
    path = tmp_path / "history.db"
    for history in written(path, 60):
        if history.transitions(limit=100)[-1].summary == "number 30":
            with sqlite3.connect(path) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.close()
            before = path.read_bytes()
        log = Path(f"{path}-wal").read_bytes()
        if history.transitions(limit=100)[-1].summary == "number 60":
            with sqlite3.connect(path) as other:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
            other.close()
            after = path.read_bytes()
    for cut in range(0, len(after), 4096):
        assert claims(opened(tmp_path / "cut", after[:cut] + before[cut:], log)) == 60


def test_what_is_reported_is_on_the_disk_itself_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transitions are synced with their commit, deliveries with the end of theirs; a checkpoint alone costs no sync."""
    synced: list[str] = []
    sync = Database.sync

    def noted(self: Database) -> None:
        synced.append("sync")
        sync(self)

    monkeypatch.setattr(Database, "sync", noted)
    history = History(tmp_path / "history.db")
    history.commit([], {"number": b"1"})
    assert synced == []
    history.commit([firing(1)])
    assert synced == ["sync"]
    history.settle()
    assert synced == ["sync", "sync"]
    assert history.fault == ""


def test_a_disk_that_cannot_sync_is_a_fault_and_the_alert_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path / "history.db")

    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.fdatasync", fails)
        history.commit([firing(1)])
        assert "Input/output error" in history.fault
    assert history.retry()
    assert [t.summary for t in history.transitions()] == ["number 1"]
