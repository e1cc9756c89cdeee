"""Wake-ups come for the files asked about, also when folders come late, and never for our own reading."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentinel.model.entity import Entity
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.file import LogFile
from sentinel.sources.logs.watch import Wakes

Eventually = Callable[..., None]


@pytest.fixture
def wakes() -> Iterator[Wakes]:
    wakes = Wakes()
    wakes.start()
    yield wakes
    wakes.stop()


@pytest.fixture
def calls(wakes: Wakes, tmp_path: Path) -> list[str]:
    """Grows with every wake-up for the file llama.log."""
    calls: list[str] = []
    wakes.watch(tmp_path / "llama.log", lambda: calls.append("log"))
    return calls


def test_created_changed_renamed_and_deleted(calls: list[str], tmp_path: Path, eventually: Eventually) -> None:
    log = tmp_path / "llama.log"
    for what, act in (
        ("created", lambda: log.write_text("one\n")),
        ("changed", lambda: log.write_text("two\n")),
        ("truncated", lambda: os.truncate(log, 0)),
        ("renamed away", lambda: log.rename(tmp_path / "llama.log.1")),
        ("renamed back", lambda: (tmp_path / "llama.log.1").rename(log)),
        ("deleted", log.unlink),
    ):
        # Only what is still on its way from the action before may come in between.
        calls.clear()
        act()
        eventually(lambda: calls, f"a wake-up after the file was {what}")


def test_other_names_in_the_folder_wake_nobody(wakes: Wakes, calls: list[str], tmp_path: Path, eventually: Eventually) -> None:
    after = threading.Event()
    wakes.watch(tmp_path / "last", after.set)
    (tmp_path / "other.log").write_text("x")
    (tmp_path / "llama.log.1").write_text("x")
    (tmp_path / "last").write_text("x")
    eventually(after.is_set, "the wake-up for the last file, by when all earlier events are through")
    assert calls == []


def test_reading_the_file_does_not_wake_its_reader(
    wakes: Wakes, calls: list[str], tmp_path: Path, eventually: Eventually
) -> None:
    log = tmp_path / "llama.log"
    log.write_text("one\n")
    eventually(lambda: calls, "the wake-up for writing")
    source = LogFile(log, Entity("server", "s"))
    barrier = tmp_path / "barrier"
    passed: list[int] = []
    wakes.watch(barrier, lambda: passed.append(1))
    barrier.write_text("x")
    eventually(lambda: passed, "all events of the writing are through")
    calls.clear()
    for _ in range(3):
        assert source.poll(0.0) or source.poll(0.0) == []
        source.close()
    passed.clear()
    barrier.write_text("y")
    eventually(lambda: passed, "all events of the reading are through")
    assert calls == []


def test_a_folder_that_does_not_exist_yet(wakes: Wakes, tmp_path: Path, eventually: Eventually) -> None:
    calls: list[int] = []
    log = tmp_path / "var" / "log" / "llama.log"
    wakes.watch(log, lambda: calls.append(1))
    log.parent.mkdir(parents=True)
    eventually(lambda: calls, "a wake-up when the folder comes")
    log.write_text("one\n")
    calls.clear()
    eventually(lambda: log.write_text("more\n") and calls, "wake-ups for the file in the new folder")


def test_a_folder_that_is_deleted_and_made_again(wakes: Wakes, tmp_path: Path, eventually: Eventually) -> None:
    calls: list[int] = []
    log = tmp_path / "logs" / "llama.log"
    log.parent.mkdir()
    wakes.watch(log, lambda: calls.append(1))
    log.parent.rmdir()
    eventually(lambda: calls, "a wake-up when the folder goes")
    calls.clear()
    log.parent.mkdir()
    eventually(lambda: calls, "a wake-up when it comes again")
    calls.clear()
    eventually(lambda: log.write_text("one\n") and calls, "wake-ups for the file in it")


def test_a_rules_folder(wakes: Wakes, tmp_path: Path, eventually: Eventually) -> None:
    calls: list[int] = []
    wakes.watch_folder(tmp_path, lambda: calls.append(1))
    (tmp_path / "mine.toml").write_text("id = 'x'")
    eventually(lambda: calls, "a wake-up for a new rule file")
    wakes.unwatch(tmp_path)
    barrier = threading.Event()
    wakes.watch(tmp_path / "barrier", barrier.set)
    calls.clear()
    (tmp_path / "other.toml").write_text("id = 'y'")
    (tmp_path / "barrier").write_text("")
    eventually(barrier.is_set, "the event after it")
    assert calls == []


def test_one_watch_for_all_files_of_a_folder(wakes: Wakes, tmp_path: Path) -> None:
    before = threading.active_count()
    for n in range(20):
        wakes.watch(tmp_path / f"{n}.log", lambda: None)
    assert threading.active_count() == before + 1


@pytest.mark.parametrize("name", ["x" * 300 + "/y.log", "a\0b/y.log", "caf\udce9/y.log", "\ud800/y.log"])
def test_a_name_that_no_folder_can_have_stands_in_nobodys_way(
    wakes: Wakes, tmp_path: Path, eventually: Eventually, name: str
) -> None:
    calls: list[int] = []
    with contextlib.suppress(SourceFault):
        wakes.watch(tmp_path / name, lambda: None)
    wakes.watch(tmp_path / "next.log", lambda: calls.append(1))
    (tmp_path / "next.log").write_text("one\n")
    eventually(lambda: calls, "a wake-up for the next log")
    wakes.unwatch(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("mode", [0o000, 0o711])
def test_a_folder_that_may_not_be_searched_or_read_stands_in_nobodys_way(
    wakes: Wakes, tmp_path: Path, eventually: Eventually, mode: int
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(mode)
    (closed / "in").chmod(0o700)
    calls: list[int] = []
    os.seteuid(65534)
    try:
        with contextlib.suppress(SourceFault):
            wakes.watch(closed / "in" / "y.log", lambda: None)
        with contextlib.suppress(SourceFault):
            wakes.watch(closed / "z.log", lambda: None)
        wakes.watch(tmp_path / "next.log", lambda: calls.append(1))
        wakes.unwatch(closed / "in" / "y.log")
    finally:
        os.seteuid(0)
    (tmp_path / "next.log").write_text("one\n")
    eventually(lambda: calls, "a wake-up for the next log")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "fs.inotify.max_user_watches"),
        (errno.EMFILE, "fs.inotify.max_user_instances"),
        (errno.EACCES, "looked at once a second instead"),
    ],
)
def test_the_limits_of_inotify_are_named(
    wakes: Wakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("watchdog.observers.inotify.InotifyEmitter.start", full)
        with pytest.raises(SourceFault, match=said):
            wakes.watch(tmp_path / "llama.log", lambda: None)
    # What failed is not tried for others again: the next one is watched.
    called = threading.Event()
    wakes.watch(tmp_path / "next.log", called.set)
    (tmp_path / "next.log").write_text("x")
    assert called.wait(10)
    wakes.unwatch(tmp_path / "llama.log")


def test_a_folder_that_hangs_by_now_keeps_no_other_from_being_watched(
    tmp_path: Path, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is looked at when it becomes wanted, and not each time that another one does."""
    hung, well = tmp_path / "hung", tmp_path / "well"
    hung.mkdir()
    well.mkdir()
    wakes.watch(hung / "a.log", lambda: None)
    looked: list[str] = []
    is_folder = os.path.isdir

    def noted(path: str) -> bool:
        looked.append(path)
        return is_folder(path)

    monkeypatch.setattr(os.path, "isdir", noted)
    passed = threading.Event()
    wakes.watch(well / "b.log", passed.set)
    wakes.unwatch(hung / "a.log")
    assert str(well) in looked
    assert str(hung) not in looked
    (well / "b.log").write_text("x")
    assert passed.wait(20)


def test_a_folder_of_another_machine_is_not_watched(tmp_path: Path, wakes: Wakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.sources.logs.watch.on_network", lambda path: path.endswith("nfs"))
    (tmp_path / "nfs").mkdir()
    wakes.watch(tmp_path / "nfs" / "a.log", lambda: None)
    passed = threading.Event()
    wakes.watch(tmp_path / "b.log", passed.set)
    (tmp_path / "b.log").write_text("x")
    assert passed.wait(20)
    assert set(wakes._watches) == {str(tmp_path)}
