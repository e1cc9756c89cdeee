"""The kernel's log: its record format, its times, and the real /dev/kmsg where it may be read."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import streams
from places import TESTS

from sentinel.model.entity import HOST
from sentinel.model.reading import LogLines, Reading
from sentinel.sources.base import NotHere, SourceFault, Streaming
from sentinel.sources.logs.kernel import KernelJournal, KernelPosition, KmsgSource, kernel_source, named, parse_kmsg

FIXTURES = TESTS / "fixtures" / "kernel"
KMSG = Path("/dev/kmsg")


def readable() -> bool:
    try:
        os.close(os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


needs_kmsg = pytest.mark.skipif(not readable(), reason="/dev/kmsg may not be read here")


def kernel_lines() -> int:
    """How many the ring has now that are the kernel's own; programs write there too, and theirs push these out."""
    ring, own = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK), 0
    try:
        while True:
            try:
                own += int(os.read(ring, 8192).partition(b",")[0]) >> 3 == 0
            except BrokenPipeError:
                continue
            except BlockingIOError:
                return own
    finally:
        os.close(ring)


def records() -> list[bytes]:
    return (FIXTURES / "kmsg-records.txt").read_bytes().split(b"\n\n")


def collect(source: Streaming, enough: Callable[[bytes], bool], then: Callable[[], None] = lambda: None) -> list[LogLines]:
    """Run the source until the text it has put is enough."""

    def lines(found: Sequence[Reading]) -> list[LogLines]:
        return [reading for reading in found if isinstance(reading, LogLines)]

    return lines(streams.collect(source, lambda found: enough(b"".join(batch.data for batch in lines(found))), then=then))


class TestRecords:
    def test_device_and_subsystem(self) -> None:
        record = next(found for raw in records() if (found := parse_kmsg(raw)) and found.device)
        assert record.text.startswith(b"pci 0000:00:00.0: [8086:0d57]")
        assert (record.prio, record.kernel, record.seq, record.usec) == (6, True, 203, 293464)
        assert (record.subsystem, record.device) == ("pci", "+pci:0000:00:00.0")
        assert named(record.text, record.device).endswith(b" PCI endpoint [pci:0000:00:00.0]")

    def test_an_oom_kill(self) -> None:
        record = next(found for raw in records() if (found := parse_kmsg(raw)) and b"Killed process" in found.text)
        assert record.text.startswith(b"Memory cgroup out of memory: Killed process 18690 (python) total-vm:221364kB")
        assert (record.prio, record.device) == (3, "")

    def test_escapes_become_what_the_kernel_had(self) -> None:
        record = next(found for raw in records() if (found := parse_kmsg(raw)) and b"rcu" in found.text)
        assert record.text == b"rcu: \tRCU restricting CPUs from NR_CPUS=256 to nr_cpu_ids=2."

    def test_a_backslash_stays_one(self) -> None:
        record = parse_kmsg(rb"6,1,1,-;a\x5cx41 \x0asecond \xff")
        assert record is not None
        assert record.text == b"a\\x41 \nsecond \xff"

    def test_newer_kernels_add_fields_before_the_text(self) -> None:
        record = parse_kmsg(b"6,1,2,-,caller=T1;hello; world\n")
        assert record is not None
        assert record.text == b"hello; world"

    @pytest.mark.parametrize(("prio", "level", "kernel"), [(0, 0, True), (7, 7, True), (12, 4, False), (30, 6, False)])
    def test_facility_and_level(self, prio: int, level: int, kernel: bool) -> None:
        record = parse_kmsg(b"%d,1,1,-;x" % prio)
        assert record is not None
        assert (record.prio, record.kernel) == (level, kernel)

    @pytest.mark.parametrize(
        "raw", [b"", b"\n", b"hello", b"6,1,1;", b"6,1,-;x", b"a,1,1,-;x", b"99999999999,1,1,-;x", b" SUBSYSTEM=pci"]
    )
    def test_what_is_no_record(self, raw: bytes) -> None:
        assert parse_kmsg(raw) is None

    @pytest.mark.parametrize("device", ["b8:0", "c1:3", "n2", ""])
    def test_numbers_of_devices_are_not_shown(self, device: str) -> None:
        assert named(b"x", device) == b"x"

    def test_each_line_of_a_record_is_named(self) -> None:
        assert named(b"a\nb", "+pci:0000:03:00.0") == b"a [pci:0000:03:00.0]\nb [pci:0000:03:00.0]"

    @pytest.mark.corpus
    def test_the_recorded_reset_of_a_gpu(self, corpus: Path) -> None:
        raw = (corpus / "gpu" / "kmsg" / "dev-kmsg-amdgpu-reset.composed.txt").read_bytes()
        found = [parse_kmsg(each) for each in raw.replace(b"\n ", b"\0 ").split(b"\n") if each]
        assert all(record is not None for record in found)
        assert len(found) == 8


class Reads:
    """os.read as /dev/kmsg answers: a record a read, then nothing for now."""

    def __init__(self, *answers: bytes | int) -> None:
        self.answers = list(answers)

    def __call__(self, _fd: int, _size: int) -> bytes:
        answer = self.answers.pop(0) if self.answers else errno.EAGAIN
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer


class TestFollowing:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        """Something that can be opened and sought; what is read comes from Reads."""
        path = tmp_path / "kmsg"
        path.touch()
        return path

    def answer(self, monkeypatch: pytest.MonkeyPatch, *answers: bytes | int) -> None:
        monkeypatch.setattr("sentinel.sources.logs.kernel.os.read", Reads(*answers))

        async def forever(_fd: int) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr("sentinel.sources.logs.kernel._readable", forever)

    def test_user_space_is_left_out_and_the_rest_numbered(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, b"6,5,1,-;a\n", b"12,6,2,-;from user space\n", b"6,7,3,-;b\n")
        source = KmsgSource(path=log, boot_id="boot")
        (batch,) = collect(source, lambda text: text.endswith(b"b\n"))
        assert (batch.data, batch.kind, batch.entity, batch.source) == (b"a\nb\n", "kernel", HOST, "kmsg")
        assert source.position() == KernelPosition("boot", 7)

    def test_lost_records_are_counted_and_the_rest_goes_on(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, b"6,5,1,-;a\n", errno.EPIPE, b"6,105,2,-;b\n")
        source = KmsgSource(path=log, boot_id="boot")
        collect(source, lambda text: text == b"a\nb\n")
        assert source.lost == 99

    def test_resumes_after_the_saved_number_in_the_same_boot(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, b"6,5,1,-;old\n", b"6,6,2,-;new\n")
        source = KmsgSource(path=log, start=KernelPosition("boot", 5), boot_id="boot")
        (batch,) = collect(source, lambda text: text.endswith(b"new\n"))
        assert (batch.data, batch.backlog) == (b"new\n", False)

    def test_a_number_of_another_boot_means_nothing(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, b"6,5,1,-;this boot\n")
        source = KmsgSource(path=log, start=KernelPosition("earlier", 500), boot_id="boot")
        assert collect(source, bool)[0].data == b"this boot\n"

    def test_times_are_of_the_wall_clock(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, b"6,5,1000000,-;a\n", b"6,6,90000000,-;b\n")
        source = KmsgSource(path=log, boot_id="boot", monotonic=lambda: 100.0)
        before = time.time()
        early, late = collect(source, lambda text: text.endswith(b"b\n"))
        assert early.at == pytest.approx(before - 99, abs=5)
        assert late.at == pytest.approx(before - 10, abs=5)
        assert early.backlog

    def test_a_file_that_is_no_kernel_log(self, log: Path) -> None:
        with pytest.raises(SourceFault, match="is no kernel log"):
            collect(KmsgSource(path=log), bool)

    def test_an_error_of_the_device(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, errno.EIO)
        with pytest.raises(SourceFault, match="Input/output error"):
            collect(KmsgSource(path=log), bool)

    def test_no_device_is_nothing_here(self, tmp_path: Path) -> None:
        with pytest.raises(NotHere, match="container"):
            collect(KmsgSource(path=tmp_path / "none"), bool)

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
    def test_no_permission_names_the_capability(self, log: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def refuse(*_args: object) -> int:
            raise OSError(number, os.strerror(number))

        source = KmsgSource(path=log)
        with monkeypatch.context() as patch:
            patch.setattr("sentinel.sources.logs.kernel.os.open", refuse)
            with pytest.raises(SourceFault, match=r"CAP_SYSLOG.*dmesg_restrict"):
                asyncio.run(source.run(self.nowhere, time.time))

    async def nowhere(self, reading: Reading) -> None:
        raise AssertionError(reading)


@needs_kmsg
class TestRealLog:
    def test_the_ring_is_read_whole_and_the_place_kept(self) -> None:
        if not (least := min(kernel_lines() // 2, 51)):
            pytest.skip("the kernel's ring has no lines of its own")
        source = KmsgSource(backlog=True)
        batches = collect(source, lambda text: text.count(b"\n") >= least)
        assert all(batch.backlog for batch in batches)
        # The offset of the wall clock is read again for each batch: a fraction of a microsecond is nothing.
        times = [round(batch.at, 3) for batch in batches]
        assert times == sorted(times)
        assert batches[-1].at <= time.time()
        assert source.position().seq >= least
        assert len(source.position().boot_id) == 36

    @pytest.mark.skipif(
        os.geteuid() != 0
        or not Path("/proc/sys/debug/exception-trace").exists()
        or Path("/proc/sys/debug/exception-trace").read_text() != "1\n",
        reason="needs root, and a kernel that logs crashes",
    )
    def test_a_crash_is_reported_as_it_happens_and_what_a_program_writes_is_not(self) -> None:
        pids: list[int] = []

        def crash() -> None:
            KMSG.write_bytes(b"<3>written by a program\n")
            child = subprocess.Popen([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"])
            pids.append(child.pid)
            child.wait()

        source = KmsgSource()
        found = collect(source, lambda text: f"[{pids[0]}]: segfault at 0".encode() in text if pids else False, crash)
        # Others share the kernel and may crash meanwhile.
        batch = next(batch for batch in found if f"[{pids[0]}]: segfault at 0".encode() in batch.data)
        assert not any(b"written by a program" in batch.data for batch in found)
        assert abs(batch.at - time.time()) < 30
        assert not batch.backlog


class TestJournal:
    def test_the_same_lines_from_the_journal(self, tmp_path: Path) -> None:
        """A script replays records; see the fixture's README for where they come from."""
        script = tmp_path / "journalctl"
        then = 'case "$*" in *--follow*) exec sleep 60;; esac'
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/argv\ncat {FIXTURES}/journal-kernel.jsonl\n{then}\n')
        script.chmod(0o755)
        source = KernelJournal(backlog=True, boot_id="ab-cd", program=str(script))
        first, last = collect(source, lambda text: b"Killed" in text)
        assert first.data.endswith(b" PCI endpoint [pci:0000:00:00.0]\n")
        assert last.data.startswith(b"Memory cgroup out of memory: Killed process 18690")
        assert (first.kind, first.entity, first.backlog) == ("kernel", HOST, True)
        assert source.position() == KernelPosition("ab-cd", cursor="s=1;i=3;b=2;m=3;t=3;x=3")
        assert " _TRANSPORT=kernel _BOOT_ID=abcd" in (tmp_path / "argv").read_text()
        assert source.proven

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("exit 0", "no message of the kernel since the boot"),
            ("echo '-- No entries --'; exit 1", "no message of the kernel since the boot"),
            ("echo 'No journal files were found.' >&2; exit 0", "there is no journal"),
            ("echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1", "group systemd-journal"),
            ("echo 'unknown option' >&2; exit 2", "ended with status 2"),
        ],
    )
    @pytest.mark.parametrize("cursor", ["", "s=1"])
    def test_a_journal_without_the_kernels_messages_is_a_fault_and_not_silence(
        self, tmp_path: Path, script: str, said: str, cursor: str
    ) -> None:
        """journalctl --follow prints nothing of such a journal and waits, so a kill would be missed without a word."""
        program = tmp_path / "journalctl"
        program.write_text(f'#!/bin/sh\ncase "$*" in *--follow*) exec sleep 60;; esac\n{script}\n')
        program.chmod(0o755)
        source = KernelJournal(backlog=True, start=KernelPosition("b", cursor=cursor), boot_id="b", program=str(program))
        with pytest.raises(SourceFault, match=said):
            collect(source, lambda _: True)
        assert not source.proven

    def test_a_cursor_of_another_boot_is_not_resumed(self, tmp_path: Path) -> None:
        assert KernelJournal(start=KernelPosition("b1", cursor="s=1"), boot_id="b2").position().cursor == ""
        assert KernelJournal(start=KernelPosition("b2", cursor="s=1"), boot_id="b2").position().cursor == "s=1"

    def test_the_journal_is_the_second_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        readable_one = tmp_path / "kmsg"
        readable_one.touch()
        assert isinstance(kernel_source(path=readable_one), KmsgSource)
        (tmp_path / "journalctl").write_text("#!/bin/sh\n")
        (tmp_path / "journalctl").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert isinstance(kernel_source(path=tmp_path / "none"), KernelJournal)
        monkeypatch.setenv("PATH", "/nonexistent")
        assert isinstance(kernel_source(path=tmp_path / "none"), KmsgSource)
