"""`sentinel exec`: whoever calls it notices nothing of it but a log."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sentinel.cli.exec.kept_log import KeptLog, usual_place

REPO = Path(__file__).resolve().parents[2]
#: Says when it is ready to take signals, and which it took.
LISTENS = """
import signal, sys
def took(number, _):
    print("took", signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM: sys.exit(5)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT):
    signal.signal(number, took)
print("ready", flush=True)
while True: signal.pause()
"""


def wrap(tmp_path: Path, *command: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "sentinel",
        "exec",
        "--socket",
        str(tmp_path / "none"),
        "--log",
        str(tmp_path / "log"),
        "--",
        *command,
    ]


def run(tmp_path: Path, command: Sequence[str], **more: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(wrap(tmp_path, *command), capture_output=True, cwd=REPO, timeout=120, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def until(eventually: Callable[..., None]) -> Callable[[Path, str], str]:
    """Wait for a text in a file; all that it holds then."""

    def wait(path: Path, text: str) -> str:
        eventually(lambda: path.exists() and text in path.read_text(), f"{text!r} in {path.name}", 60.0)
        return path.read_text()

    return wait


def state_of(pid: int) -> str:
    """R, S, T and so on; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1].replace("Z", "")
    except FileNotFoundError:
        return ""


def child_of(wrapper: int) -> int:
    (child,) = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
    return int(child)


def test_both_outputs_go_where_they_went_and_into_the_log(tmp_path: Path) -> None:
    done = run(tmp_path, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_standard_input_and_every_word_reach_the_program(tmp_path: Path) -> None:
    done = run(tmp_path, ["sh", "-c", 'cat; echo "$@"', "sh", "--", "-m", "a b"], input=b"asked\n")
    assert done.stdout == b"asked\n-- -m a b\n"


def test_a_program_that_cannot_be_started_ends_as_a_shell_would_say(tmp_path: Path) -> None:
    missing = run(tmp_path, ["/none/no-such-program"])
    said = b"sentinel: cannot start /none/no-such-program: No such file or directory\n"
    assert (missing.returncode, missing.stderr) == (127, said)
    (tmp_path / "data").write_text("no program")
    assert run(tmp_path, [str(tmp_path / "data")]).returncode == 126


def test_why_a_program_is_not_found_is_said_in_words_that_help(tmp_path: Path) -> None:
    """All three were "No such file or directory"."""
    by_name = run(tmp_path, ["no-such-program"], env={**os.environ, "PATH": "/bin:/sbin"})
    assert b"no-such-program: it is in no folder of PATH (/bin:/sbin); write its whole path\n" in by_name.stderr
    without = {name: value for name, value in os.environ.items() if name != "PATH"}
    nowhere = run(tmp_path, ["no-such-program"], env=without)
    assert b"it is in no folder of PATH (/bin:/usr/bin); write its whole path\n" in nowhere.stderr
    script = tmp_path / "script"
    script.write_text("#!/none/python\n")
    script.chmod(0o755)
    assert b"the file is there, and what is to run it is not" in run(tmp_path, [str(script)]).stderr


def test_no_key_of_the_command_line_is_reported_to_the_daemon(tmp_path: Path) -> None:
    """llama-server refuses `--api-key=KEY`: what is reported is a start that failed."""
    program = (
        "import sys; from sentinel.api import client; from sentinel.cli.main import main; "
        "client.report = lambda path, body, *_: print(body['argv']); sys.exit(main(sys.argv[1:]))"
    )
    words = ["no-such-program", "--api-key", "k3y", "-hft", "k3y", "--hf-token=k3y", "--api-key=k3y", "--alias", "k"]

    command = [sys.executable, "-c", program, *wrap(tmp_path, *words)[3:]]
    done = subprocess.run(command, capture_output=True, cwd=REPO, timeout=60, check=False)

    assert done.stdout.decode().strip() == str(
        ["no-such-program", "--api-key", "", "-hft", "", "--hf-token=", "--api-key=", "--alias", "k"]
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGILL, signal.SIGKILL, signal.SIGABRT])
def test_a_signal_that_ends_the_program_ends_the_wrapper(tmp_path: Path, number: signal.Signals) -> None:
    assert run(tmp_path, ["sh", "-c", f"kill -{int(number)} $$"]).returncode == -number


def test_signals_are_passed_on_and_the_status_comes_back(tmp_path: Path, until: Callable[[Path, str], str]) -> None:
    with subprocess.Popen(wrap(tmp_path, sys.executable, "-c", LISTENS), stdout=subprocess.PIPE, cwd=REPO) as wrapper:
        until(tmp_path / "log", "ready")
        assert os.getpgid(child_of(wrapper.pid)) == os.getpgid(wrapper.pid) == os.getpgrp()
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGWINCH, signal.SIGCONT, signal.SIGTERM):
            wrapper.send_signal(number)
            said = until(tmp_path / "log", f"took {number.name}")
        assert said.count("took") == 6
        assert wrapper.wait(60) == 5


def test_a_killed_wrapper_leaves_no_server_behind(
    tmp_path: Path, until: Callable[[Path, str], str], eventually: Callable[..., None]
) -> None:
    with subprocess.Popen(wrap(tmp_path, sys.executable, "-c", LISTENS), stdout=subprocess.PIPE, cwd=REPO) as wrapper:
        until(tmp_path / "log", "ready")
        child = child_of(wrapper.pid)
        wrapper.kill()
        wrapper.wait()
    eventually(lambda: not state_of(child), "the program has ended", 60.0)


#: Prints a number again and again, so that it shows whether it runs.
COUNTS = """
import time
for number in range(1000000):
    print("number", number, flush=True)
    time.sleep(0.02)
"""


@pytest.mark.timeout(240)
def test_job_control_of_the_terminal_stops_and_continues_both(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """Ctrl-Z, `fg` and Ctrl-C in a real shell, as a person has them."""
    shell, terminal = pty.fork()
    if not shell:
        os.environ |= {"PS1": "$ ", "TERM": "dumb"}
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    said = bytearray()

    def shows(text: str) -> bool:
        while select.select([terminal], [], [], 0)[0]:
            said.extend(os.read(terminal, 4096))
        return text.encode() in said

    def types(text: str) -> None:
        said.clear()
        os.write(terminal, text.encode())

    try:
        types(f"cd {REPO}; {shlex.join(wrap(tmp_path, sys.executable, '-c', COUNTS))}\n")
        eventually(lambda: shows("number 3"), "the program prints", 60.0)
        wrapper = child_of(shell)
        child = child_of(wrapper)
        types("\x1a")
        eventually(lambda: shows("Stopped"), lambda: f"the shell has its prompt back; it shows {bytes(said)!r}", 60.0)
        assert (state_of(wrapper), state_of(child)) == ("T", "T")
        types("fg\n")
        eventually(lambda: shows("number"), "it prints again", 60.0)
        assert "T" not in (state_of(wrapper), state_of(child))
        types("\x03")
        eventually(lambda: not state_of(wrapper) and not state_of(child), "both have ended", 60.0)
        types("echo status $?\n")
        eventually(lambda: shows("status 130"), lambda: f"the shell learns that it was interrupted: {bytes(said)!r}", 60.0)
    finally:
        os.close(terminal)
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)


def test_a_stop_that_somebody_sends_stops_and_continues_both(
    tmp_path: Path, until: Callable[[Path, str], str], eventually: Callable[..., None]
) -> None:
    # In a process group whose parent is of the same session: the kernel drops SIGTSTP for an orphaned group.
    with subprocess.Popen(
        wrap(tmp_path, sys.executable, "-c", LISTENS), stdout=subprocess.PIPE, cwd=REPO, process_group=0
    ) as wrapper:
        until(tmp_path / "log", "ready")
        child = child_of(wrapper.pid)
        wrapper.send_signal(signal.SIGTSTP)
        eventually(lambda: (state_of(wrapper.pid), state_of(child)) == ("T", "T"), "both are stopped", 60.0)
        wrapper.send_signal(signal.SIGCONT)
        eventually(lambda: "T" not in (state_of(wrapper.pid), state_of(child)), "both go on", 60.0)
        wrapper.send_signal(signal.SIGTERM)
        assert wrapper.wait(60) == 5


def test_a_server_that_is_stopped_alone_is_continued_alone(
    tmp_path: Path, until: Callable[[Path, str], str], eventually: Callable[..., None]
) -> None:
    """A debugger, or a person with SIGSTOP: the wrapper stays, and copies on when it goes on."""
    with subprocess.Popen(wrap(tmp_path, sys.executable, "-c", LISTENS), stdout=subprocess.PIPE, cwd=REPO) as wrapper:
        until(tmp_path / "log", "ready")
        child = child_of(wrapper.pid)
        os.kill(child, signal.SIGSTOP)
        eventually(lambda: state_of(child) == "T", "the program is stopped", 60.0)
        assert state_of(wrapper.pid) != "T"
        os.kill(child, signal.SIGCONT)
        os.kill(child, signal.SIGTERM)
        assert wrapper.wait(60) == 5
        assert "took SIGTERM" in (tmp_path / "log").read_text()


def test_the_program_keeps_its_process_group(tmp_path: Path) -> None:
    done = run(tmp_path, [sys.executable, "-c", "import os; print(os.getpgrp(), os.getsid(0))"], start_new_session=True)
    group, session = done.stdout.split()
    assert group == session


def test_on_a_terminal_the_program_sees_one_of_the_same_size(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    show = "import os, sys; print(sys.stdout.isatty(), sys.stderr.isatty(), *os.get_terminal_size(1), flush=True)"
    size = b"\x28\x00\x64\x00\0\0\0\0"
    import fcntl
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with subprocess.Popen(
        wrap(tmp_path, sys.executable, "-c", show), stdin=theirs, stdout=theirs, stderr=theirs, cwd=REPO
    ) as wrapper:
        os.close(theirs)
        said = b""
        while b"\n" not in said and select.select([ours], [], [], 60)[0]:
            said += os.read(ours, 4096)
        assert wrapper.wait(60) == 0
    os.close(ours)
    assert said == b"True True 100 40\r\n"
    assert (tmp_path / "log").read_bytes() == b"True True 100 40\n"


def test_without_a_reader_the_program_learns_it_as_it_would(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -n1; echo ${PIPESTATUS[0]}', "bash", *wrap(tmp_path, "yes")],
        capture_output=True,
        cwd=REPO,
        timeout=120,
        check=False,
    )
    assert done.stdout == b"y\n141\n"


def test_the_log_is_bounded_and_turns_between_two_lines(tmp_path: Path) -> None:
    log = KeptLog(tmp_path / "log", limit=1000)
    for number in range(100):
        log.write(f"line {number:04d} of it\n".encode())
    files = [tmp_path / "log.1", tmp_path / "log"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    text = "".join(file.read_text() for file in files).splitlines()
    assert all(len(line) == len("line 0000 of it") for line in text)
    assert text[-1] == "line 0099 of it"
    assert all(file.stat().st_size <= 1000 for file in files)


def test_a_full_disk_or_a_link_in_the_way_ends_the_log_and_not_the_server(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    done = run(tmp_path, ["echo", "served"])
    assert (done.returncode, done.stdout) == (0, b"served\n")
    assert done.stderr.startswith(b"sentinel: what the server prints is not kept in ")


@pytest.mark.parametrize(
    ("command", "environ", "place"),
    [
        (
            ["llama-server", "--port", "8081"],
            {"HOME": "/home/joe"},
            "/home/joe/.local/state/sentinel/servers/llama-server-8081.log",
        ),
        (["/opt/x/llama-server"], {"LLAMA_ARG_PORT": "9", "XDG_STATE_HOME": "/s"}, "/s/sentinel/servers/llama-server-9.log"),
        (["llama-server", "--port", "../../etc"], {"LOGS_DIRECTORY": "/var/log/llama"}, "/var/log/llama/llama-server.log"),
    ],
)
def test_two_servers_never_share_a_log(command: list[str], environ: dict[str, str], place: str) -> None:
    assert usual_place(command, environ) == Path(place)
