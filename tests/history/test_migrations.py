"""Files of earlier versions open, with all that is in them; what is set aside does not pile up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from places import TESTS

from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.history.database import MIGRATIONS
from sentinel.model.entity import Entity
from sentinel.rulefiles.files import load_paths, shipped

#: Left by the daemon of 0.1.0 after one alert.
OLD = TESTS / "fixtures" / "history-0.1.0.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as made:
        made.executescript(OLD.read_text(encoding="utf-8"))
    made.close()
    return path


def test_the_history_of_the_first_version_opens_and_goes_on(old: Path) -> None:
    history = History(old)
    assert (history.message, history.fault) == ("", "")
    assert [(t.rule, t.state) for t in history.transitions()] == [("context-collapse", "pending"), ("context-collapse", "firing")]
    assert list(history.undelivered("console")) == []
    history.commit([], {"another": b"1"}, {("configuration", 0): (1.0, "[]")})
    history.close()
    with sqlite3.connect(old) as reader:
        assert reader.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    reader.close()


def test_its_open_alert_is_neither_forgotten_nor_reported_again(old: Path) -> None:
    saved = History(old).checkpoint("state")
    assert saved is not None
    ruleset, _ = load_paths([shipped()])
    assert ruleset is not None
    engine = Engine(ruleset)
    engine.load(msgspec.json.decode(saved)["engine"])
    (record,) = engine.book.open()
    assert (record.rule, record.entity, record.state) == ("context-collapse", Entity("server", "mine"), "firing")
    assert record.hush.announced


@pytest.mark.parametrize("steps", range(len(MIGRATIONS)))
def test_every_schema_there_was_is_brought_up_to_date(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as made:
        for step in MIGRATIONS[:steps]:
            made.executescript(step)
        made.execute(f"PRAGMA user_version = {steps}")
    made.close()
    history = History(path)
    assert (history.message, history.fault) == ("", "")
    history.close()


def test_files_that_were_set_aside_do_not_pile_up(tmp_path: Path) -> None:
    """A disk that damages each new history is not filled with them; the newest stay for whoever wants to look."""
    path = tmp_path / "history.sqlite"
    for number in range(6):
        (tmp_path / f"history.sqlite.corrupt-2026010{number}T000000Z").write_bytes(b"x")
    path.write_bytes(b"no database" * 1000)
    assert "set aside" in History(path).message
    aside = sorted(one.name for one in tmp_path.glob("history.sqlite.corrupt-*"))
    assert len(aside) == 3
    assert aside[:2] == ["history.sqlite.corrupt-20260104T000000Z", "history.sqlite.corrupt-20260105T000000Z"]
