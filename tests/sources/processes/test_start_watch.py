"""Starts that are over before anybody looks: the kernel's events, and what is caught by them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sentinel.llama.runtime_table import RUNTIMES
from sentinel.model.cuts import Cuts
from sentinel.model.reading import Event, ServerFound, ServerGone
from sentinel.model.shares import Shares
from sentinel.sources import look
from sentinel.sources.base import NotHere
from sentinel.sources.fs import ProcessMoment, Roots, read_text, recall
from sentinel.sources.processes import descriptions, discover, start_watch
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.launch import read_launch
from sentinel.sources.processes.named_files import examine
from sentinel.sources.processes.proc_events import ProcEvents, fields_of_end
from sentinel.sources.processes.program_files import ProgramFiles, installed
from sentinel.sources.processes.short_slice import run_at_once
from sentinel.sources.processes.start_watch import LookProgram, StartWatch


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program by the name of llama-server that ends after 0.1 s."""
    path = tmp_path / "llama-server"
    shutil.copy("/bin/sleep", path)
    return path


def test_the_thread_that_looks_has_a_short_slice() -> None:
    """Read back by sched_getattr(2); kernels before 6.12 take it and forget it."""
    release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if platform.machine() != "x86_64" or release < (6, 12):
        pytest.skip("needs Linux 6.12 on x86-64")
    found: list[tuple[bool, int, int]] = []

    def look() -> None:
        answer = run_at_once()
        buffer = ctypes.create_string_buffer(56)
        assert ctypes.CDLL(None).syscall(315, 0, buffer, 56, 0) == 0
        _, _, _, nice, _, runtime, *_ = struct.unpack("=IIQiIQQQII", buffer.raw)
        found.append((answer, nice, runtime))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    ((answer, nice, runtime),) = found
    assert answer
    assert nice <= before
    assert runtime == 100_000
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.fixture
def watched() -> Iterator[tuple[Servers, StartWatch, threading.Event]]:
    woken = threading.Event()
    servers = Servers()
    servers.poll(time.time())
    watch = StartWatch(servers, woken.set)
    yield servers, watch, woken
    watch.close()


def needs_events() -> None:
    try:
        ProcEvents().close()
    except NotHere as absent:
        pytest.skip(str(absent))


def reported(servers: Servers, pid: int, at: float) -> list[ServerFound | ServerGone]:
    """Of this process: other tests start servers too."""
    return [one for one in servers.poll(at) if isinstance(one, ServerFound | ServerGone) and one.pid == pid]


def ends(program: Path, log: Path, seconds: str = "0.1") -> int:
    with log.open("wb") as stream:
        process = subprocess.Popen([program, seconds], stdout=stream, stderr=stream)
        process.wait()
    return process.pid


def seen(servers: Servers, pid: int, until: type[object]) -> list[object]:
    """What scans report of a process until a reading of that kind has come."""
    found: list[object] = []
    while not any(isinstance(one, until) for one in found):
        news = servers.poll(time.time())
        mine = {one.entity for one in (*found, *news) if isinstance(one, ServerFound) and one.pid == pid}
        found += [one for one in news if isinstance(one, ServerFound | ServerGone | Event) and one.entity in mine]
        time.sleep(0.01)
    return found


@pytest.mark.timeout(30)
def test_a_server_that_lived_a_tenth_of_a_second_is_found_with_its_log_and_its_end(
    program: Path, tmp_path: Path, watched: tuple[Servers, StartWatch, threading.Event]
) -> None:
    needs_events()
    servers, watch, woken = watched
    watch.start()
    pid = ends(program, tmp_path / "log")
    assert woken.wait(20)
    found, gone = seen(servers, pid, ServerGone)[:2]
    (brief,) = [one for one in servers.brief if one.pid == pid]
    assert isinstance(found, ServerFound)
    assert isinstance(gone, ServerGone)
    assert brief.log.path == str(tmp_path / "log")
    assert brief.reader is not None
    assert brief.reader.user == os.getuid()
    assert servers.servers == () or all(one.pid != pid for one in servers.servers)


@pytest.fixture
def caught(program: Path, tmp_path: Path) -> Iterator[tuple[Servers, subprocess.Popen[bytes]]]:
    """A server that is looked at as it starts, and ends when the test says so."""
    servers = Servers()
    servers.poll(time.time())
    with (tmp_path / "log").open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
        assert servers.catch((process.pid,))
        yield servers, process
        process.kill()


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("by_wrapper", [False, True])
@pytest.mark.parametrize("scans", [0, 1, 2])
def test_how_it_ended_is_reported_whether_the_scan_or_the_word_of_it_comes_first(
    caught: tuple[Servers, subprocess.Popen[bytes]], scans: int, by_wrapper: bool
) -> None:
    """A process of 2 ms was let go by the scan before its end had been read, and its end was dropped: no alert at all."""
    servers, process = caught
    end(process)
    readings = [one for _ in range(scans) for one in servers.poll(time.time())]
    assert servers.ended(process.pid, 4, os.getpid() if by_wrapper else None)
    assert servers.ended(process.pid, 4, os.getpid())
    readings += servers.poll(time.time())
    (how,) = [one for one in readings if isinstance(one, Event)]
    assert (how.name, how.fields["status"]) == ("main_process_exited", "4/ILL")
    assert [one for one in servers.poll(time.time()) if isinstance(one, Event)] == []


def test_the_end_of_another_process_with_its_id_is_not_its_own(caught: tuple[Servers, subprocess.Popen[bytes]]) -> None:
    servers, process = caught
    end(process)
    now = time.time()
    servers.poll(now)
    assert not servers.ended(process.pid, 4, os.getpid() + 1)
    servers.poll(now + 11.0)
    assert not servers.ended(process.pid, 4)


def test_a_start_that_ends_while_its_files_are_read_is_reported_with_its_log(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine that takes longer than anybody waits, and the log of what had ended was never opened."""
    go_on = threading.Event()

    def slowly(*words: Any, **more: Any) -> object:
        assert go_on.wait(20)
        return examine(*words, **more)

    monkeypatch.setattr("sentinel.sources.processes.descriptions.examine", slowly)
    servers = Servers()
    servers.poll(time.time())
    with (tmp_path / "log").open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
        assert servers.catch((process.pid,))
        end(process)
        assert reported(servers, process.pid, time.time()) == []
        go_on.set()
        seen(servers, process.pid, ServerGone)
    (brief,) = [one for one in servers.brief if one.pid == process.pid]
    assert brief.log.path == str(tmp_path / "log")


def test_a_start_that_ends_while_it_is_looked_at_is_found_with_its_log(
    program: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """Its words were there to be read, and then it was a zombie: that was taken for a process that never was a server."""
    servers = Servers()
    servers.poll(time.time())
    with (tmp_path / "log").open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
        place = f"/proc/{process.pid}"
        # Popen returns when exec(2) has begun; the kernel's word of it, which is waited for, comes when it has ended.
        eventually(lambda: Path(place, "cmdline").read_bytes() != b"", "its words are there")
        kept: look.ProcessReads = ({}, {}, {})
        assert look.named(place, kept, frozenset())
        look.keep(place, kept)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        look.read_file(place, "stat", kept[0])
        assert b") Z " in kept[0][f"{place}/stat"]
        assert servers.take(process.pid, kept)
        process.wait()
    seen(servers, process.pid, ServerGone)
    (brief,) = [one for one in servers.brief if one.pid == process.pid]
    assert brief.log.path == str(tmp_path / "log")


def test_where_its_files_are_never_read_a_start_that_ended_is_reported_all_the_same(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr("sentinel.sources.processes.descriptions.examine", lambda *_words, **_more: never.wait(60))
    servers = Servers()
    servers.poll(time.time())
    with (tmp_path / "log").open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
        assert servers.catch((process.pid,))
        end(process)
        assert len(reported(servers, process.pid, time.time() + 10.0)) == 2
    never.set()


def test_where_the_kernel_gives_no_events_the_programs_file_shows_a_start(
    program: Path, tmp_path: Path, watched: tuple[Servers, StartWatch, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: object) -> None:
        raise NotHere("not here")

    monkeypatch.setattr("sentinel.sources.processes.proc_events.ProcEvents.__init__", refused)
    servers, _, woken = watched
    watch = StartWatch(servers, woken.set)
    try:
        assert (watch.how, watch.why) == ("files", "not here")
        watch.start([str(program)])
        with (tmp_path / "log").open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
            assert woken.wait(20)
            end(process)
        seen(servers, process.pid, ServerGone)
        assert process.pid in {one.pid for one in servers.brief}
    finally:
        watch.close()


def children_that_look() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        # It may end between two questions.
        with contextlib.suppress(psutil.NoSuchProcess):
            if one.status() != psutil.STATUS_ZOMBIE and look.__file__ in one.cmdline():
                found.append(one)
    return found


def starts_one(program: Path, log: Path, woken: threading.Event, servers: Servers) -> int:
    woken.clear()
    with log.open("wb") as stream, subprocess.Popen([program, "60"], stdout=stream, stderr=stream) as process:
        assert woken.wait(20)
        end(process)
    seen(servers, process.pid, ServerGone)
    return process.pid


@pytest.mark.timeout(60)
def test_a_program_looks_once_a_server_was_started_and_again_after_it_was_ended_and_ends_with_the_watch(
    program: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """At rest there is none. Whoever frees memory may end it, and so does a process that makes it wait."""
    needs_events()
    woken, servers = threading.Event(), Servers()
    servers.poll(time.time())
    watch = StartWatch(servers, woken.set)
    try:
        watch.start()
        assert children_that_look() == []
        starts_one(program, tmp_path / "log", woken, servers)
        eventually(lambda: children_that_look() != [], "it looks", within=20)
        (first,) = children_that_look()
        first.kill()
        eventually(lambda: children_that_look() == [], "it has ended", within=20)
        # What it is asked may come before or after that.
        watch.learn(())
        starts_one(program, tmp_path / "log", woken, servers)
        eventually(lambda: children_that_look() != [], "it looks again", within=20)
    finally:
        watch.close()
    assert children_that_look() == []
    assert watch.bug is None


@pytest.mark.timeout(60)
def test_the_program_that_looks_is_ended_when_no_server_was_started_for_a_while(
    program: Path, tmp_path: Path, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_events()
    begun: list[LookProgram] = []

    class Counted(LookProgram):
        def __init__(self, roots: Roots) -> None:
            super().__init__(roots)
            begun.append(self)

    monkeypatch.setattr(start_watch, "_QUIET", 0.5)
    monkeypatch.setattr(start_watch, "LookProgram", Counted)
    woken, servers = threading.Event(), Servers()
    servers.poll(time.time())
    watch = StartWatch(servers, woken.set)
    try:
        watch.start()
        for number in (1, 2):
            starts_one(program, tmp_path / "log", woken, servers)
            eventually(lambda number=number: len(begun) == number, "it looks", within=20)
            eventually(lambda: children_that_look() == [], "it has ended", within=20)
    finally:
        watch.close()
    assert watch.bug is None


def test_ends_that_were_queued_while_a_program_looked_are_of_no_account() -> None:
    """Another server may have the process id by now."""
    needs_events()
    watch = StartWatch(Servers(), lambda: None)
    try:
        assert watch._events is not None
        process = subprocess.Popen(["true"])
        process.wait()
        assert process.pid in {one.pid for one in watch._events.read()}
        again = subprocess.Popen(["true"])
        again.wait()
        watch._end_looking()
        assert again.pid not in {one.pid for one in watch._events.read()}
    finally:
        watch.close()


def test_the_program_that_looks_needs_nothing_beyond_the_interpreter() -> None:
    """Each module costs memory for as long as the daemon runs."""
    script = f"import sys; sys.path.insert(0, {str(Path(look.__file__).parent)!r}); import look; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not {"os", "re", "enum", "socket", "signal", "ctypes", "collections", "typing"} & set(done.stdout.split())


def test_the_program_that_looks_ends_when_it_is_made_to_wait() -> None:
    """A page of a process's own command line may lie on a file system of its own, that never answers."""
    script = (
        f"import sys, time; sys.path.insert(0, {str(Path(look.__file__).parent)!r}); import look\n"
        "look.named = lambda *_: True\nlook.keep = lambda *_: time.sleep(60)\n"
        "look.Lookout('/proc').event(bytes.fromhex(sys.argv[1]))"
    )
    event = bytes(36) + struct.pack("=IIQIIII", 2, 0, 0, 1, 1, 0, 0)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, event.hex()], timeout=30, check=False)
    assert done.returncode == -signal.SIGALRM


def test_every_runtime_has_a_name_that_is_looked_for() -> None:
    for row in RUNTIMES:
        for program in filter(None, re.sub(r"\([^()]*\)", "", row.program).split("|")):
            assert any(word in program for word in look.NAMES), row


def test_the_end_of_a_process_that_is_asked_for_later_is_still_known() -> None:
    """A server that a scan found, and that had ended before the program that looks was asked about it."""
    looker = look.Lookout("/proc")
    for pid in range(1000, 1600):
        assert looker.event(bytes(36) + struct.pack("=IIQIIII", look.EXIT, 0, 0, pid, pid, 9, 17)) == b""
    assert list(look.frames(bytearray(looker.asked((), (1000, 1599))))) == [("end", 1599, 9)]
    assert looker.asked((), (1599,)) == b""


@pytest.mark.timeout(30)
def test_what_is_asked_of_a_program_that_hangs_waits_for_it() -> None:
    """The daemon does not: it asks on the thread of everything else."""
    needs_events()
    watch = LookProgram(Roots())
    try:
        (process,) = children_that_look()
        process.suspend()
        for number in range(3000):
            watch.ask(frozenset(f"/opt/{number}/{one}/llama" for one in range(20)), frozenset({number}))
        process.resume()
    finally:
        watch.close()


class Kernel(socket.socket):
    """A subscription in a container: never answered, while the events of the host and answers to others come without end."""

    def __init__(self, *_how: int) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)

    def bind(self, address: object) -> None:
        pass

    def send(self, data: bytes, *_flags: int) -> int:  # type: ignore[override]
        (self.number,) = struct.unpack_from("=I", data, 28)
        return len(data)

    def recvfrom(self, *_how: int) -> tuple[bytes, tuple[int, int]]:
        kind = next(self.kinds)
        # An event, or the answer to another request.
        heads = bytes(24) + struct.pack("=IIHH", 1, 0 if kind else self.number + 2, 40, 0)
        return heads + struct.pack("=IIQIIII", kind, 0, 0, 0, 0, 0, 0), (0, 1)

    kinds = iter(lambda: 0x2, None)


@pytest.mark.parametrize("kind", [0x2, 0x0])
@pytest.mark.timeout(20)
def test_what_is_meant_for_listeners_on_the_host_is_neither_an_answer_nor_a_reason_to_wait_on(
    kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kernel, "kinds", iter(lambda: kind, None))
    monkeypatch.setattr("sentinel.sources.processes.proc_events.socket.socket", Kernel)
    begun = time.monotonic()
    with pytest.raises(NotHere, match="no answer, as in a container"):
        ProcEvents()
    assert time.monotonic() - begun < 5


_IN_A_CONTAINER = """
import subprocess, threading
from sentinel.sources import look
from sentinel.sources.base import NotHere
from sentinel.sources.processes.named_files import examine
from sentinel.sources.processes.proc_events import ProcEvents
ended = threading.Event()
def busy():
    while not ended.is_set():
        subprocess.run(["true"])
threading.Thread(target=busy).start()
try:
    ProcEvents()
except NotHere as why:
    print(why)
finally:
    ended.set()
"""


def test_in_a_container_on_the_hosts_network_it_gives_up_in_time_while_the_host_listens() -> None:
    needs_events()
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, and unshare")
    events = ProcEvents()
    try:
        command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", _IN_A_CONTAINER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    finally:
        events.close()
    assert "no answer, as in a container" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x0100, {"code": "exited", "status": "1/FAILURE"}),
        (0x7F00, {"code": "exited", "status": "127/n/a"}),
        (4, {"code": "killed", "status": "4/ILL"}),
        (0x8B, {"code": "dumped", "status": "11/SEGV"}),
    ],
)
def test_an_end_is_reported_in_systemds_terms(code: int, told: dict[str, str]) -> None:
    assert fields_of_end(code) == told


def test_forks_and_threads_wake_nobody() -> None:
    needs_events()
    events = ProcEvents()
    try:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        pid = os.fork()
        if not pid:
            os._exit(3)
        os.waitpid(pid, 0)
        looker = look.Lookout("/proc")
        seen: list[Any] = []
        looker.asked((), (pid, os.getpid()))
        with socket.socket(fileno=os.dup(events.fileno())) as kernel, contextlib.suppress(BlockingIOError):
            while True:
                seen += look.frames(bytearray(looker.event(kernel.recv(8192))))
        assert [one[:2] for one in seen if one[1] in (pid, os.getpid())] == [("end", pid)]
    finally:
        events.close()


def test_what_was_kept_of_a_process_outlives_it_for_this_thread_alone() -> None:
    process = subprocess.Popen(["sleep", "60"])
    path = f"/proc/{process.pid}"
    moment = ProcessMoment(path)
    moment.keep()
    with recall(moment):
        process.kill()
        process.wait()
        assert read_text(f"{path}/comm") == "sleep"
        others: list[Callable[[], None] | str] = []
        thread = threading.Thread(target=lambda: others.append("gone" if not Path(path).exists() else "there"))
        thread.start()
        thread.join()
        assert others == ["gone"]
    with pytest.raises(FileNotFoundError):
        read_text(f"{path}/comm")


def test_programs_are_known_from_the_path_and_from_units(tmp_path: Path, program: Path) -> None:
    unit = tmp_path / "llama.service"
    unit.write_text("[Service]\nExecStart=-/opt/llama/llama-server -m x\nExecStart=/usr/bin/true\n")
    assert list(installed({"PATH": str(tmp_path)}, [str(tmp_path)]))[:1] == [str(program)]
    assert "/opt/llama/llama-server" in list(installed({}, [str(tmp_path)]))


def test_a_file_that_is_not_there_is_not_watched() -> None:
    files = ProgramFiles()
    files.add("/no/such/program")
    assert len(files) == 0
    files.close()
    assert Roots().proc == Path("/proc")


def test_of_a_user_with_his_share_no_further_start_is_read(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands may be started and ended between two scans: what they name is not even read, and it is said whose they were."""
    read: list[int] = []

    def counted(roots: Roots, pid: int, *rest: Any) -> Any:
        read.append(pid)
        return read_launch(roots, pid, *rest)

    monkeypatch.setattr(descriptions, "read_launch", counted)
    monkeypatch.setattr(discover, "_UNCOUNTED", 1)
    monkeypatch.setattr(discover, "Shares", lambda: Shares(of_owner=2, in_all=3))
    cuts = Cuts()
    servers = Servers(cuts=cuts)
    processes = [subprocess.Popen([program, "60"]) for _ in range(5)]
    try:
        for process in processes:
            servers.catch([process.pid])
        assert read == [process.pid for process in processes[:2]]
        assert [count for _, what, count in cuts.all() if "beyond the share" in what] == [3]
    finally:
        for process in processes:
            process.kill()
            process.wait()
