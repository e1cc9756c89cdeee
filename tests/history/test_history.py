"""The history: what was committed is there after anything short of a lost disk, and trouble becomes a sentence."""

from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from places import REPO
from sample_transitions import FIRING, firing, resolved

from sentinel.history import History
from sentinel.history.database import MIGRATIONS
from sentinel.model.entity import Entity


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def _summaries(rows: list[tuple[int, object]]) -> list[str]:
    return [getattr(transition, "summary", "") for _, transition in rows]


def test_transitions_and_checkpoints_outlive_the_process_object(path: Path) -> None:
    """A second opening sees the same transitions, bit for bit, and the checkpoint of the same commit."""
    history = History(path)
    undated = replace(FIRING, at=None, since=None, cause=None, fixes=(), entity=Entity("server", "raw\udcff\n name"))
    history.commit([FIRING, undated], {"engine": b"\0\xff", "log": b"1"})
    history.commit([], {"log": b"2"})
    history.close()

    again = History(path)

    assert again.transitions() == [FIRING, undated]
    assert (again.checkpoint("engine"), again.checkpoint("log"), again.checkpoint("none")) == (b"\0\xff", b"2", None)
    assert (again.fault, again.message) == ("", "")


@pytest.mark.parametrize("in_memory", [False, True])
def test_pages_lead_back_to_the_first_and_miss_and_repeat_nothing(path: Path, in_memory: bool) -> None:
    history = History(None if in_memory else path)
    history.commit([firing(number) for number in range(10)])

    pages, before = [], 2**62
    while page := history.page(limit=4, before=before):
        pages.append(_summaries(list(page)))
        before = page[0][0]

    assert [len(page) for page in pages] == [4, 4, 2]
    assert [one for page in reversed(pages) for one in page] == [f"number {number}" for number in range(10)]


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    """Evidence quotes log lines, and prompts may be in them."""
    History(path).commit([FIRING])

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_sink_is_owed_the_news_since_it_was_registered(path: Path, in_memory: bool) -> None:
    """Pending ones are not news; what was delivered is not owed again; a new sink gets nothing of the past."""
    history = History(None if in_memory else path)
    history.commit([firing(1)])
    history.register("journald")
    pending = replace(FIRING, state="pending", previous="inactive")
    ids = history.commit([firing(2), pending, firing(3), resolved(summary="end"), resolved(previous="pending")])
    history.register("console")

    assert _summaries(list(history.undelivered("journald"))) == ["number 2", "number 3", "end"]
    history.mark_delivered("journald", ids[0])
    assert _summaries(list(history.undelivered("journald", limit=1))) == ["number 3"]
    assert _summaries(list(history.undelivered("journald", after=ids[2]))) == ["end"]
    assert history.undelivered("console") == []
    assert len(history.transitions()) == 6


def test_marks_outlive_the_process_object(path: Path) -> None:
    """What an earlier run left undelivered is delivered by the next one, and nothing else."""
    history = History(path)
    history.register("journald")
    ids = history.commit([firing(1), firing(2)])
    history.mark_delivered("journald", ids[0])
    history.close()

    again = History(path)
    again.register("journald")

    assert _summaries(list(again.undelivered("journald"))) == ["number 2"]


def test_a_killed_daemon_loses_nothing_that_was_committed(path: Path) -> None:
    """kill -9 in the middle of writing: every id that was printed is there, with the checkpoint that went with it."""
    program = (
        "import sys, pathlib\n"
        "from sample_transitions import firing\n"
        "from sentinel.history import History\n"
        "history = History(pathlib.Path(sys.argv[1])); history.register('journald')\n"
        "for number in range(1, 1000000):\n"
        "    history.commit([firing(number)], {'at': str(number).encode()})\n"
        "    print(number, flush=True)\n"
    )
    environ = {**os.environ, "PYTHONPATH": f"{REPO}:{REPO / 'tests' / 'support'}"}
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env=environ, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 50:
            break
    process.send_signal(signal.SIGKILL)
    printed = [50, *(int(line) for line in process.stdout if line.endswith("\n"))]
    process.wait()
    process.stdout.close()

    history = History(path)
    kept = _summaries(list(history.undelivered("journald", limit=10**6)))
    checkpoint = int(history.checkpoint("at") or b"0")

    assert history.message == ""
    assert checkpoint >= printed[-1]
    assert kept == [f"number {number}" for number in range(1, checkpoint + 1)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"this is not a database, although it is long enough to be one" * 100, "corrupt"),
        (None, "newer"),
    ],
)
def test_an_unusable_file_is_set_aside_and_reported(path: Path, content: bytes | None, word: str) -> None:
    """Nothing is deleted, the message names both files, and a new history begins."""
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version = 99")
        content = path.read_bytes()
    else:
        path.write_bytes(content)

    history = History(path)
    history.commit([FIRING])

    (aside,) = path.parent.glob(f"history.db.{word}-*")
    assert aside.read_bytes() == content
    assert str(path) in history.message
    assert aside.name in history.message
    assert history.transitions() == [FIRING]


def test_a_damaged_page_is_found_when_the_file_is_opened(path: Path) -> None:
    """A file whose head is well and whose tables are not is set aside too."""
    history = History(path)
    history.commit([firing(number) for number in range(200)])
    history.close()
    data = bytearray(path.read_bytes())
    data[8192:20480] = b"\xa5" * 12288
    path.write_bytes(data)

    again = History(path)

    assert "damaged" in again.message
    assert again.transitions() == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files cannot grow beyond 60 kB: the kernel's answer to a write is then an error, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_loses_nothing_while_the_daemon_lives(path: Path, full_disk: None) -> None:
    """What cannot be written stays in memory, in order and with its id, and is written when there is room."""
    history = History(path)
    history.register("journald")
    ids = [number for batch in range(20) for number in history.commit([firing(batch * 10 + one) for one in range(10)])]
    told = history.fault
    marked = ids[99]
    history.mark_delivered("journald", marked)
    owed = _summaries(list(history.undelivered("journald")))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if hard < 0 else hard, hard))

    assert f"cannot write to the history {path}" in told
    assert owed == [f"number {number}" for number in range(100, 200)]
    assert history.retry()
    assert history.fault == ""
    history.close()
    again = History(path)
    assert [one.summary for one in again.transitions()] == [f"number {number}" for number in range(200)]
    assert [number for number, _ in again.undelivered("journald")] == ids[100:]


def test_a_folder_that_comes_later_takes_what_was_kept(tmp_path: Path) -> None:
    """A state folder that cannot be made at the start is a fault, not the end; ids given out meanwhile stay valid."""
    path = tmp_path / "state" / "history.db"
    path.parent.touch()
    history = History(path)
    history.register("journald")
    ids = history.commit([firing(1)], {"log": b"1"})
    assert "until then the history is kept in memory" in history.fault
    assert (history.checkpoint("log"), _summaries(list(history.undelivered("journald")))) == (b"1", ["number 1"])

    path.parent.unlink()
    ids += history.commit([firing(2)])

    assert history.fault == ""
    assert ids == sorted(set(ids))
    assert [number for number, _ in History(path).undelivered("journald")] == ids


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Who starts sentinel for the first time has no state folder yet."""
    history = History(tmp_path / "state" / "sentinel" / "history.db")

    assert history.fault == ""
    assert (tmp_path / "state" / "sentinel").stat().st_mode & 0o777 == 0o700


def test_retention_keeps_the_newest(path: Path) -> None:
    """Old ones go by age, then by number; ids are not given out twice."""
    history = History(path)
    last = history.commit([replace(FIRING, at=float(day * 86400)) for day in range(100)])[-1]

    assert history.prune(100 * 86400.0, days=90, rows=50) == 50
    assert [transition.at for transition in history.transitions()] == [day * 86400.0 for day in range(50, 100)]
    assert len(history.transitions(since=95 * 86400.0)) == 5
    assert len(history.transitions(limit=3)) == 3
    history.register("journald")
    history.prune(10_000 * 86400.0)
    history.close()
    assert History(path).commit([FIRING]) == [last + 1]


def test_usual_speeds_outlive_the_process_object_and_one_that_is_forgotten_is_gone(path: Path) -> None:
    history = History(path)
    history.commit([], None, {("aa", 0): (1.0, "[[33.0,null,null]]"), ("aa", 3): (2.0, "[]"), ("bb", 0): (3.0, "[]")})
    history.commit([], None, {("aa", 0): (4.0, "[[30.0,null,null]]"), ("aa", 3): None})
    history.close()

    assert History(path).baselines() == [("bb", 0, 3.0, "[]"), ("aa", 0, 4.0, "[[30.0,null,null]]")]
    assert History(None).baselines() == []


def test_a_history_of_the_first_schema_gets_its_table_and_keeps_its_rows(path: Path) -> None:
    """As written before there were usual speeds: one step of the schema taken."""
    with sqlite3.connect(path) as old:
        old.executescript(f"BEGIN; {MIGRATIONS[0]}; PRAGMA user_version=1; COMMIT;")
        old.execute("INSERT INTO checkpoints VALUES ('state', X'01')")
    old.close()

    history = History(path)
    history.commit([FIRING], None, {("aa", 0): (1.0, "[]")})

    assert (history.checkpoint("state"), history.transitions(), history.message) == (b"\1", [FIRING], "")
    assert history.baselines() == [("aa", 0, 1.0, "[]")]


@pytest.mark.parametrize(
    ("below", "advice"), [("", "is not a folder; remove it or set"), ("deeper", "a part of .*deeper is not a folder; set")]
)
def test_a_file_in_the_way_is_named_and_not_called_unwritable(tmp_path: Path, below: str, advice: str) -> None:
    """No change of rights would help: the advice is to move the file or the state."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    history = History(tmp_path / "state" / below / "history.db")

    assert re.search(advice, history.fault)
    assert "writable" not in history.fault
    assert str(tmp_path / "state") in history.fault
