"""What the service manager is sent, and what it sends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.daemon.systemd import is_booted, listen_fds, notify, to_journal, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_notified(tmp_path: Path, abstract: bool) -> None:
    """By path or by abstract name; a newline in a status begins no other assignment."""
    name = f"@sentinel-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(5.0)
        assert notify("READY=1", "STATUS=watching a\nSTOPPING=1", environ={"NOTIFY_SOCKET": name})
        assert manager.recv(4096) == b"READY=1\nSTATUS=watching a STOPPING=1"


def test_without_a_manager_nothing_is_reported_and_nothing_fails(tmp_path: Path) -> None:
    """No variable, a variable of another kind, and a manager that went."""
    assert not notify("READY=1", environ={})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": "vsock:2:1234"})
    assert not notify("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environ: dict[str, str], seconds: float | None) -> None:
    """If it watches this process at all."""
    assert watchdog_interval(environ, pid=7) == seconds


def test_sockets_of_the_manager_are_taken(tmp_path: Path) -> None:
    """As systemd passes them: descriptor 3 and on, for this pid; a file among them is left alone."""
    program = (
        "import os; from sentinel.daemon.systemd import listen_fds\n"
        "me = dict(os.environ, LISTEN_PID=str(os.getpid()))\n"
        "found = listen_fds(me)\n"
        "print([(s.getsockname(), s.fileno(), os.get_inheritable(s.fileno())) for s in found], os.fstat(4).st_size)"
    )
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, (tmp_path / "file").open("w+") as file:
        listener.bind(str(path))
        listener.listen()

        def pass_on() -> None:
            high = [os.dup(listener.fileno()), os.dup(file.fileno())]
            high = [os.dup2(fd, 60 + place) for place, fd in enumerate(high)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        done = subprocess.run(
            [sys.executable, "-c", program], preexec_fn=pass_on, close_fds=False, capture_output=True, text=True,
            env={**os.environ, "LISTEN_FDS": "2"}, timeout=20, check=False,
        )  # fmt: skip

    assert (done.stdout, done.stderr) == (f"[('{path}', 3, False)] 0\n", "")


@pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "8"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}])
def test_sockets_for_others_are_not_taken(environ: dict[str, str]) -> None:
    """The variables are inherited by accident more often than on purpose."""
    assert listen_fds(environ, pid=7) == ()


def test_a_booted_system_is_known(tmp_path: Path) -> None:
    """By the folder that sd_booted(3) names."""
    assert not is_booted(tmp_path)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert is_booted(tmp_path)


def test_a_terminal_with_an_inherited_journal_stream_is_no_journal(tmp_path: Path) -> None:
    """Device and inode of what is written to decide; a closed descriptor is none either."""
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "terminal").open("w") as terminal:
        status = os.fstat(journal.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

        assert to_journal(journal.fileno(), environ)
        assert not to_journal(terminal.fileno(), environ)
        assert not to_journal(journal.fileno(), {})
    assert not to_journal(10_000, environ)
