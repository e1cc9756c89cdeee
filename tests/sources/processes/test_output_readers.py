"""What reads a server's output beside, below or above it: its lines are read where that program puts them."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from composed_proc import Machine
from live import needs_root, wait_for

from sentinel.engine.log.envelope import strip
from sentinel.sources.fs import Roots
from sentinel.sources.processes import output_readers
from sentinel.sources.processes.ancestry import above
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.log_location import find_log
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.output_readers import readers_of

PIPES = {1: "pipe:[70]", 2: "pipe:[70]"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def log_of(machine: Machine) -> LogSource:
    servers = Servers(machine.roots)
    servers.poll(0.0)
    (server,) = servers.servers
    return server.log


def opens(machine: Machine, pid: int, number: int, target: str, *, writes: bool, more: str = "") -> None:
    process = machine.roots.proc / str(pid)
    (process / "fd" / str(number)).symlink_to(target)
    (process / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t{'0100001' if writes else '0100000'}\n{more}")


def written(machine: Machine, pid: int, number: int, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    opens(machine, pid, number, str(path), writes=True)
    return str(path)


def parent_of(machine: Machine, parent: int, *children: int) -> None:
    task = machine.roots.proc / str(parent) / "task" / str(parent)
    task.mkdir(parents=True, exist_ok=True)
    (task / "children").write_text(" ".join(map(str, children)))


def test_runit_the_log_is_svlogds_and_not_that_of_the_supervisor_which_holds_the_pipe_as_well(
    machine: Machine, tmp_path: Path
) -> None:
    machine.start(5, comm="runsv", exe="/usr/bin/runsv", fds={1: "/dev/null", 2: "/dev/null"})
    opens(machine, 5, 7, "pipe:[70]", writes=False)
    machine.start(6, comm="svlogd", exe="/usr/bin/svlogd", fds={1: "/dev/null", 2: "/dev/null"}, parent=5)
    opens(machine, 6, 0, "pipe:[70]", writes=False)
    written(machine, 6, 4, tmp_path / "main/lock")
    current = written(machine, 6, 5, tmp_path / "main/current")
    machine.start(10, "-m", "x", fds=PIPES, parent=5)
    parent_of(machine, 5, 6, 10)
    log = log_of(machine)
    assert (log.kind, log.path, log.writer, log.copied) == ("file", current, 6, True)


def test_s6_the_logger_has_another_parent(machine: Machine, tmp_path: Path) -> None:
    machine.start(4, comm="s6-supervise", exe="/usr/bin/s6-supervise", fds={1: "/dev/null", 2: "/dev/null"})
    machine.start(6, comm="s6-log", exe="/usr/bin/s6-log", fds={1: "/dev/null", 2: "/dev/null"}, parent=9)
    opens(machine, 6, 0, "pipe:[70]", writes=False)
    current = written(machine, 6, 5, tmp_path / "logs/current")
    machine.start(10, "-m", "x", fds=PIPES, parent=4)
    assert log_of(machine).path == current


def test_a_user_with_a_million_descriptors_costs_a_quarter_of_a_second(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of his processes takes 0.1 s here: a server's pipe is looked for in the first ones alone, whoever waits."""
    clock = itertools.count(0.0, 0.1)
    looked_at: list[int] = []

    def reads(_roots: Roots, pid: int, _target: str) -> str:
        looked_at.append(pid)
        return ""

    monkeypatch.setattr(output_readers, "time", SimpleNamespace(thread_time=lambda: next(clock)))
    monkeypatch.setattr(output_readers, "reads", reads)
    for pid in range(20, 60):
        machine.start(pid, comm="sleep", exe="/usr/bin/sleep", fds={1: "/dev/null", 2: "/dev/null"}, parent=9)
    users = frozenset({os.getuid(), 0, 1000})
    assert list(output_readers._others(machine.roots, users, set(), "pipe:[70]")) == []
    assert 1 <= len(looked_at) <= 3


def test_a_pipeline_is_followed_to_its_end(machine: Machine, tmp_path: Path) -> None:
    """llama-server 2>&1 | sed ... | tee log: the standard error of sed is no place of the lines."""
    noise = tmp_path / "noise"
    noise.touch()
    machine.start(5, comm="bash", exe="/usr/bin/bash")
    machine.start(6, comm="sed", exe="/usr/bin/sed", fds={1: "pipe:[71]", 2: str(noise)}, parent=5)
    opens(machine, 6, 0, "pipe:[70]", writes=False)
    machine.start(7, comm="tee", exe="/usr/bin/tee", fds={1: "/dev/pts/0", 2: "/dev/pts/0"}, parent=5)
    opens(machine, 7, 0, "pipe:[71]", writes=False)
    log_file = written(machine, 7, 3, tmp_path / "log")
    machine.start(10, "-m", "x", fds=PIPES, parent=5)
    parent_of(machine, 5, 6, 7, 10)
    log = log_of(machine)
    assert (log.path, log.copied) == (log_file, True), "sed may have changed the lines"


def test_logger_hands_the_lines_to_the_journal(machine: Machine) -> None:
    machine.start(5, comm="bash", exe="/usr/bin/bash")
    machine.start(6, comm="logger", exe="/usr/bin/logger", fds={1: "/dev/null", 2: "/dev/null"}, parent=5)
    opens(machine, 6, 0, "pipe:[70]", writes=False)
    machine.start(10, "-m", "x", fds=PIPES, parent=5)
    parent_of(machine, 5, 6, 10)
    log = log_of(machine)
    assert (log.kind, log.match) == ("journal", (("_PID", "6"),))


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "owner", "by_root"), [(0o600, 0, True), (0o622, 0, False), (0o620, 0, False), (0o600, 61802, False)]
)
def test_a_reader_of_roots_counts_where_the_pipe_is_roots_alone(tmp_path: Path, mode: int, owner: int, by_root: bool) -> None:
    """Into a named pipe that is open to all a stranger has his server print; a pipe of his own he hands to root's."""
    needs_root()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(mode)
    os.chown(pipe, owner, owner)
    assert readers_of(pipe, 61802) == ({0, 61802} if by_root else {61802})


@pytest.mark.root
def test_a_pipe_without_a_name_is_whose_it_was_made_by() -> None:
    needs_root()
    reads, writes = os.pipe()
    try:
        assert readers_of(f"/proc/self/fd/{writes}", 61802) == {0, 61802}
        os.fchown(writes, 61802, 61802)
        assert readers_of(f"/proc/self/fd/{writes}", 61802) == {61802}
    finally:
        os.close(reads)
        os.close(writes)


@pytest.mark.parametrize("behind", ["/dev/null", "socket:[99]", "/var/log/of-cron"])
@pytest.mark.parametrize("user", [0, 1000])
def test_cron_keeps_what_a_job_prints_for_a_mail(machine: Machine, behind: str, user: int) -> None:
    """Its own output, as of a service the journal, is not where the lines go; and a job of a user has root's cron above it."""
    cron = machine.start(5, comm="cron", exe="/usr/sbin/cron", fds={1: behind, 2: behind}, env={"JOURNAL_STREAM": "8:99"})
    opens(machine, 5, 7, "pipe:[70]", writes=False)
    status = (cron / "status").read_text()
    (cron / "status").write_text(re.sub(r"^Uid:.*$", "Uid:\t0\t0\t0\t0", status, flags=re.MULTILINE))
    shell = machine.start(9, "-c", "llama-server -m x", comm="sh", exe="/usr/bin/dash", fds=PIPES, parent=5)
    server = machine.start(10, "-m", "x", fds=PIPES, parent=9)
    for one in (shell, server):
        (one / "status").write_text(re.sub(r"^Uid:.*$", "Uid:" + f"\t{user}" * 4, status, flags=re.MULTILINE))
    log = log_of(machine)
    assert log.kind == "none"
    assert log.where.endswith("a pipe to cron")
    assert "for a mail" in log.why
    assert log.remedy.startswith("end its line in the crontab with `>>FILE 2>&1`")


def test_a_job_of_cron_that_writes_through_tee_is_read(machine: Machine, tmp_path: Path) -> None:
    machine.start(5, comm="crond", exe="/usr/sbin/crond", fds={1: "/dev/null", 2: "/dev/null"})
    machine.start(9, "-c", "llama-server -m x 2>&1 | tee log", comm="sh", exe="/usr/bin/dash", fds=PIPES, parent=5)
    machine.start(11, "log", comm="tee", exe="/usr/bin/tee", fds={}, parent=9)
    opens(machine, 11, 0, "pipe:[70]", writes=False)
    path = written(machine, 11, 3, tmp_path / "log")
    machine.start(10, "-m", "x", fds=PIPES, parent=9)
    assert log_of(machine).path == path


@pytest.mark.parametrize(
    ("names", "streams", "chosen"),
    [
        (("supervisord.log", "other.log", "llama.log"), PIPES, "llama.log"),
        (
            ("supervisord.log", "llama-stdout---supervisor-a.log", "llama-stderr---supervisor-b.log"),
            {1: "pipe:[70]", 2: "pipe:[71]"},
            "llama-stderr---supervisor-b.log",
        ),
        (("supervisord.log", "llama.log", "llama-2.log"), PIPES, ""),
    ],
)
def test_supervisord_the_file_with_the_name_of_the_program(
    machine: Machine, tmp_path: Path, names: tuple[str, ...], streams: dict[int, str], chosen: str
) -> None:
    machine.start(5, comm="supervisord", exe="/usr/bin/python3.11", fds={1: "/dev/null", 2: "/dev/null"})
    opens(machine, 5, 7, "pipe:[70]", writes=False)
    opens(machine, 5, 8, "pipe:[71]", writes=False)
    paths = [written(machine, 5, number, tmp_path / "logs" / name) for number, name in enumerate(names, 10)]
    machine.start(10, "-m", "x", fds=streams, parent=5, env={"SUPERVISOR_PROCESS_NAME": "llama"})
    log = log_of(machine)
    assert log.path == next((path for path in paths if chosen and path.endswith(f"/{chosen}")), "")
    assert log.kind == ("file" if chosen else "none")


def test_pm2_says_where_it_copies_the_lines_to(machine: Machine, tmp_path: Path) -> None:
    kept = tmp_path / "llama-error.log"
    kept.touch()
    machine.start(5, comm="PM2 v6", exe="/usr/bin/node", fds={1: "/dev/null", 2: "/dev/null"})
    env = {"pm_err_log_path": str(kept), "pm_out_log_path": str(tmp_path / "llama-out.log")}
    machine.start(10, "-m", "x", fds={1: "socket:[70]", 2: "socket:[71]"}, parent=5, env=env, cgroup="/system.slice/pm2.service")
    log = log_of(machine)
    assert (log.path, log.copied) == (str(kept), True), "and not the journal of the unit that pm2 is in"


def test_what_a_child_of_anothers_pm2_says_is_opened_as_the_child_could(machine: Machine, tmp_path: Path) -> None:
    """The variable is the child's to choose; opened as its parent could, root's files were read for it."""
    node = machine.start(5, comm="PM2 v6", exe="/usr/bin/node", fds={1: "/dev/null", 2: "/dev/null"})
    status = (node / "status").read_text()
    (node / "status").write_text(re.sub(r"^Uid:.*$", "Uid:\t0\t0\t0\t0", status, flags=re.MULTILINE))
    child = machine.start(
        10, "-m", "x", fds={1: "socket:[70]", 2: "socket:[71]"}, parent=5, env={"pm_err_log_path": "/root/secret"}
    )
    (child / "status").write_text(re.sub(r"^Uid:.*$", "Uid:\t1001\t1001\t1001\t1001", status, flags=re.MULTILINE))
    assert (log_of(machine).kind, log_of(machine).writer) == ("file", 0)


def test_of_a_terminal_script_keeps_what_is_printed(machine: Machine, tmp_path: Path) -> None:
    machine.start(5, comm="script", exe="/usr/bin/script", fds={1: "/dev/pts/0", 2: "/dev/pts/0"})
    opens(machine, 5, 3, "/dev/ptmx", writes=False, more="tty-index:\t7\n")
    kept = written(machine, 5, 4, tmp_path / "typescript")
    machine.start(10, "-m", "x", fds={1: "/dev/pts/7", 2: "/dev/pts/7"}, parent=5)
    log = log_of(machine)
    assert (log.kind, log.path, log.copied) == ("file", kept, True)


def test_another_terminal_of_the_same_program_is_not_taken_for_it(machine: Machine, tmp_path: Path) -> None:
    machine.start(5, comm="screen", exe="/usr/bin/screen", fds={1: "/dev/null", 2: "/dev/null"})
    opens(machine, 5, 3, "/dev/ptmx", writes=False, more="tty-index:\t8\n")
    written(machine, 5, 4, tmp_path / "screenlog.0")
    machine.start(10, "-m", "x", fds={1: "/dev/pts/7", 2: "/dev/pts/7"}, parent=5)
    assert log_of(machine).kind == "none"


@pytest.mark.parametrize("where", ["user", "container"])
def test_what_another_user_or_container_holds_is_not_read(machine: Machine, tmp_path: Path, where: str) -> None:
    cgroup = f"/docker/{'0123abcd' * 8}" if where == "container" else "/"
    machine.start(5, comm="bash", exe="/usr/bin/bash")
    machine.start(6, comm="cat", exe="/usr/bin/cat", fds={1: "/dev/null", 2: "/dev/null"}, parent=5, cgroup=cgroup)
    opens(machine, 6, 0, "pipe:[70]", writes=False)
    written(machine, 6, 5, tmp_path / "log")
    if where == "user":
        status = machine.roots.proc / "6/status"
        status.write_text(status.read_text().replace("Uid:\t", "Uid:\t4242\t4242\t4242\t4242\nWas:\t"))
    machine.start(10, "-m", "x", fds=PIPES, parent=5)
    parent_of(machine, 5, 6, 10)
    assert log_of(machine).kind == "none"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for one in found:
        one.kill()
        one.wait()


def find(pid: int) -> LogSource:
    from sentinel.llama.command_line import decode

    return find_log(
        Roots(), pid, decode([], {}), {}, Membership("/", "", False), above=above(Roots(), os.getpid()), user=os.getuid()
    )


def test_a_named_pipe_is_followed_to_whoever_reads_it(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """It was refused: who reads it takes the lines away."""
    fifo, kept = tmp_path / "p", tmp_path / "log"
    os.mkfifo(fifo)
    with kept.open("ab") as stream:
        started.append(subprocess.Popen(["cat", fifo], stdout=stream))
    started.append(subprocess.Popen(["sh", "-c", f"exec sleep 60 >{fifo} 2>&1"]))
    wait_for(lambda: Path(f"/proc/{started[1].pid}/fd/2").readlink() == fifo, "it has opened the pipe", 10.0)
    assert find(started[1].pid).path == str(kept)


def test_a_reader_that_opens_its_file_later_is_waited_for(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`exec > >(tee log)`: the shell has become the server before its tee, a child of it now, has opened the log."""
    machine.start(10, "-m", "x", fds=PIPES, parent=5)
    machine.start(11, comm="tee", exe="/usr/bin/tee", fds={1: "/dev/null", 2: "/dev/null"}, parent=10)
    opens(machine, 11, 0, "pipe:[70]", writes=False)
    machine.start(5, comm="bash", exe="/usr/bin/bash")
    parent_of(machine, 10, 11)
    paused: list[float] = []

    def sleep(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 2:
            written(machine, 11, 3, tmp_path / "log")

    monkeypatch.setattr("sentinel.sources.processes.log_location.time.sleep", sleep)
    log = log_of(machine)
    assert (log.path, len(paused)) == (str(tmp_path / "log"), 2)
    assert sum(paused) < 0.1


def test_a_real_terminal_is_told_from_others_by_its_number(tmp_path: Path) -> None:
    from sentinel.sources.processes.ancestry import holds_terminal

    inner, outer = pty.openpty()
    try:
        number = os.ttyname(outer).rpartition("/")[2]
        assert holds_terminal(Roots(), os.getpid(), number)
        assert not holds_terminal(Roots(), os.getpid(), "999999")
    finally:
        os.close(inner)
        os.close(outer)


@pytest.mark.parametrize(
    "prefix",
    [
        "2026-11-29_18:49:01.12345 ",
        "@400000006a2b3c4d1e2f3a4b ",
        "2026-11-29 18:49:01.123456789  ",
        "2026-11-29T18:49:01: ",
        "2026-11-29 18:49:01,123 INFO ",
    ],
)
def test_what_those_programs_put_before_a_line_is_taken_off(prefix: str) -> None:
    """svlogd -tt, multilog and s6-log t, s6-log T, pm2 --time, Python's logging."""
    found = strip(f"{prefix}0.00.212.903 I srv    load_model: initializing, n_slots = 4")
    assert found.level == "I"
    assert found.elapsed == pytest.approx(0.212903)
    assert found.message.startswith("srv    load_model: initializing")
