"""`sentinel doctor` on machines made of files: what works, what does not and why, what is not here; and it changes nothing."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from places import TESTS

from sentinel.cli.doctor import in_container, probes, probes_gpu, probes_host, report
from sentinel.cli.doctor.capability import INSTALL, JOURNAL_GROUP, Capability, ProbeInput, RunningProbe
from sentinel.cli.main import main
from sentinel.daemon.config import Config, ServerConfig
from sentinel.llama.command_line import Requested
from sentinel.model.entity import Entity
from sentinel.sources.base import NotHere
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess

FIXTURES = TESTS / "fixtures"
#: a user that no machine has and a process id that no machine gives
NOBODY, PID = 54321, 99_999_999

Make = Callable[..., ProbeInput]


@pytest.fixture
def machine(tmp_path: Path) -> Make:
    """Build a machine below a folder: its parts are files that a test writes to proc, sys and dev."""

    def build(*servers: ServerProcess, sys: Path | None = None, given: Sequence[ServerConfig] = ()) -> ProbeInput:
        for name in ("proc", "sys", "dev"):
            (tmp_path / name).mkdir(exist_ok=True)
        config = Config(
            file=tmp_path / "sentinel.toml",
            state_dir=tmp_path / "state",
            socket=tmp_path / "sentinel.sock",
            servers=tuple(given),
            dev=tmp_path / "dev",
            journal_socket=tmp_path / "journal",
        )
        roots = Roots(proc=tmp_path / "proc", sys=sys or tmp_path / "sys", dev=tmp_path / "dev", docker=tmp_path / "docker")
        return ProbeInput(config, roots, servers, 1_000_000_000.0)

    return build


def server(log: LogSource, name: str = "llama.service") -> ServerProcess:
    """A llama-server whose log goes to `log`."""
    return ServerProcess(PID, 1, 0.0, Entity("server", name), Requested(), Membership("/", "/", True), log, None, 1)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def add_gpu(tmp_path: Path, vendor: str) -> None:
    """A display device on the PCI bus without a driver."""
    for name, text in (("class", "0x030000"), ("vendor", vendor), ("device", "0x744c")):
        write(tmp_path / f"sys/bus/pci/devices/0000:03:00.0/{name}", f"{text}\n")


def only(rows: Sequence[Capability]) -> Capability:
    assert len(rows) == 1
    return rows[0]


# --- logs ---


def test_a_log_that_goes_to_a_terminal_says_which_flag_cures_it(machine: Make) -> None:
    log = LogSource(
        "none", "standard error, a terminal", why="sentinel cannot read output on a terminal", remedy="use --log-file FILE"
    )
    row = only(probes.logs(machine(server(log))))

    assert (row.id, row.state) == ("log:llama.service", "fails")
    assert row.why == "standard error, a terminal: sentinel cannot read output on a terminal"
    assert row.fix == "use --log-file FILE"


def test_a_log_file_that_can_be_read_works_and_one_that_does_not_exist_is_not_here(machine: Make, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    there = server(LogSource("file", f"--log-file {log}", str(log)))

    assert only(probes.logs(machine(there))).state == "absent"
    log.write_text("build: 1\n", encoding="utf-8")
    assert only(probes.logs(machine(there))).state == "works"


def test_a_log_that_is_a_folder_fails_with_the_reason(machine: Make, tmp_path: Path) -> None:
    row = only(probes.logs(machine(server(LogSource("file", "--log-file", str(tmp_path))))))

    assert row.state == "fails"
    assert str(tmp_path) in row.why


def test_a_child_of_a_router_logs_through_its_router(machine: Make) -> None:
    log = LogSource("none", "its router", why="the router that started it writes the log; sentinel reads it there")

    assert only(probes.logs(machine(server(log)))).state == "absent"


#: an entry, as journalctl prints it
ENTRY = """echo '{"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "1", "MESSAGE": "Started"}'"""


def journalctl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A journalctl that prints what a test wants; one that follows waits then, as the real one does. It writes down what it is
    asked."""
    program = folder / "bin/journalctl"
    follows = 'case "$*" in *--follow*) exec sleep 60;; esac'
    write(program, f'#!/bin/sh\necho "$*" >> {folder}/asked\n{script}\n{follows}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_a_running_unit_of_which_the_journal_has_no_entry_fails(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with a server in a container that has a systemd of its own: its unit's name means nothing to the host's journal."""
    log = LogSource("journal", "journal of llama.service", match=(("_SYSTEMD_UNIT", "llama.service"),))
    journalctl(tmp_path, monkeypatch, "")
    silent = only(probes.logs(machine(server(log))))
    journalctl(tmp_path, monkeypatch, ENTRY)
    heard = only(probes.logs(machine(server(log))))

    assert (silent.state, heard.state) == ("fails", "works")
    assert "--log-file" in silent.fix


def test_a_journal_that_may_not_be_read_says_which_group_may(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journalctl(tmp_path, monkeypatch, "echo 'No journal files were opened due to insufficient permissions.' >&2")
    log = LogSource("journal", "journal of llama.service", match=(("_SYSTEMD_UNIT", "llama.service"),))

    row = only(probes.logs(machine(server(log))))

    assert row.state == "fails"
    assert "usermod -aG systemd-journal" in row.fix


def test_no_journal_is_listened_to_and_an_entry_of_an_earlier_boot_proves_nothing(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listened to a quiet journal for two seconds, which no answer is worth."""
    journalctl(tmp_path, monkeypatch, "")
    log = LogSource("journal", "journal of llama.service", match=(("_SYSTEMD_UNIT", "llama.service"),))
    (tmp_path / "var/log/journal").mkdir(parents=True)

    row = only(probes_host.journal(machine()))
    probes.logs(machine(server(log)))

    of_machine, of_unit = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert row.state == "absent", "nothing boots this machine, and nothing is in its journal"
    assert "--follow" not in of_machine + of_unit
    assert "--boot --unit=llama.service" in of_unit


def test_a_journal_that_shows_only_entries_of_ones_own_may_not_be_read(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    journalctl(tmp_path, monkeypatch, f"echo 'Hint: You are currently not seeing messages from other users' >&2; {ENTRY}")
    hidden = only(probes_host.journal(machine()))
    journalctl(tmp_path, monkeypatch, ENTRY)
    seen = only(probes_host.journal(machine()))

    assert (hidden.state, hidden.fix) == ("fails", JOURNAL_GROUP)
    assert (seen.state, seen.why) == ("works", "journalctl reads it")


def test_a_hostile_name_cannot_draw_on_the_terminal(machine: Make) -> None:
    row = only(probes.logs(machine(server(LogSource("none", "\x1b[2J", why="\x1b]0;x"), name="a\nb\x1b[1m"))))

    assert "\x1b" not in row.id + row.why + row.fix
    assert "\n" not in row.id + row.why + row.fix


def test_a_log_named_in_the_configuration_is_tried_too(machine: Make, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x\n", encoding="utf-8")

    row = only(probes.logs(machine(given=[ServerConfig("mine", log=tmp_path / "a.log")])))

    assert (row.id, row.state) == ("log:mine", "works")


# --- sentinel itself ---


def test_processes_that_cannot_be_looked_into_fail_only_where_one_is_a_llama_server(machine: Make, tmp_path: Path) -> None:
    """Its /proc/PID/fd is not there, as it may not be read: the files it holds are not known."""
    ended = only(probes.processes(machine(server(LogSource("file", "", "/a")))))
    (tmp_path / f"proc/{PID}").mkdir()
    hidden = only(probes.processes(machine(server(LogSource("file", "", "/a")))))
    nobody = only(probes.processes(machine()))

    assert hidden.state == "fails"
    assert "llama.service" in hidden.why
    assert "CAP_SYS_PTRACE" in hidden.fix
    assert nobody.state == "works"
    assert ended.state == "works", "a server that ended meanwhile is no fault"


@pytest.mark.parametrize(
    ("names", "state"),
    [
        ({1: "python3"}, "fails"),
        ({1: "tini", 2: "sh"}, "fails"),
        ({1: "python3", 2: "kthreadd"}, "works"),
        ({1: "systemd"}, "works"),
        ({1: "init", 2: "kthreadd"}, "works"),
        ({}, "works"),
    ],
)
def test_in_a_container_of_its_own_no_server_can_be_seen(bare: Path, machine: Make, names: dict[int, str], state: str) -> None:
    """It said that no llama-server runs, with all rows green."""
    for pid, name in names.items():
        (bare / f"proc/{pid}").mkdir(exist_ok=True)
        (bare / f"proc/{pid}/comm").write_text(f"{name}\n")
    row = probes.processes(machine())[0]
    assert row.state == state
    assert ("--pid=host" in row.fix) == (state == "fails")


def test_what_other_users_start_is_a_row_of_its_own_where_rights_are_missing(
    bare: Path, machine: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of a daemon that a person runs for himself, and the first line does not promise what it cannot see."""
    (bare / "proc/4711").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: NOBODY)

    code = main(["doctor", "--config", str(bare / "sentinel.toml")])

    told = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert told.startswith("✓ sentinel can see all that is yours")
    assert "other-users: of a llama-server that another user starts" in told
    assert "CAP_SYS_PTRACE" in told
    (bare / "proc/4711/fd").mkdir()
    assert [row.state for row in probes.processes(machine())] == ["works", "works"]


def test_no_daemon_is_not_here_and_a_dead_socket_fails(machine: Make, tmp_path: Path) -> None:
    before = only(probes.daemon(machine()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "sentinel.sock"))
    after = only(probes.daemon(machine()))

    assert (before.state, after.state) == ("absent", "fails")
    assert "sentinel run" in before.fix


def test_looking_at_journald_sends_it_nothing(machine: Make, tmp_path: Path) -> None:
    assert only(probes_host.journald(machine())).state == "absent"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as journald:
        journald.bind(str(tmp_path / "journal"))

        assert only(probes_host.journald(machine())).state == "works"
        with pytest.raises(BlockingIOError):
            journald.recv(1)
    assert only(probes_host.journald(machine())).state == "fails"


def test_a_state_folder_is_looked_at_and_not_made(machine: Make, tmp_path: Path) -> None:
    assert only(probes.state(machine())).state == "works"
    assert not (tmp_path / "state").exists()


def test_a_state_folder_below_a_file_fails(machine: Make, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("", encoding="utf-8")

    row = only(probes.state(machine()))

    assert row.state == "fails"
    assert "state_dir" in row.fix


# --- the host ---


def test_a_kernel_log_that_is_none_fails_and_a_missing_one_is_not_here(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = only(probes_host.kernel_log(machine()))
    (tmp_path / "dev/kmsg").write_text("", encoding="utf-8")
    broken = only(probes_host.kernel_log(machine()))

    assert (missing.state, broken.state) == ("absent", "fails")
    assert "OOM kills" in broken.why


def test_a_journal_that_gets_nothing_of_the_kernel_is_no_kernel_log(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journalctl(tmp_path / "bin", monkeypatch, 'case "$*" in *--follow*) exec sleep 60;; esac; exit 0')
    row = only(probes_host.kernel_log(machine()))

    assert row.state == "fails"
    assert "no message of the kernel since the boot" in row.why


def test_a_kernel_without_pressure_figures_says_how_to_boot_it(machine: Make, tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", (FIXTURES / "proc/meminfo").read_text(encoding="utf-8"))
    write(tmp_path / "proc/vmstat", (FIXTURES / "proc/vmstat").read_text(encoding="utf-8"))

    rows = {row.id: row for row in probes_host.host(machine())}

    assert rows["memory"].state == "works"
    assert rows["pressure"].state == "absent"
    assert "psi=1" in rows["pressure"].fix


def test_the_memory_limit_above_a_process_is_tried(machine: Make, tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/a.slice\n")
    assert only(probes_host.cgroups(machine())).state == "absent"
    write(tmp_path / "sys/fs/cgroup/a.slice/memory.max", "max\n")

    assert only(probes_host.cgroups(machine())) == Capability("cgroup", "works", "memory limits are read (v2)")


def test_starts_are_reported_by_the_kernel_or_the_way_around_is_named(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_self: object) -> None:
        raise NotHere("the kernel's process events take CAP_NET_ADMIN before Linux 6.6")

    monkeypatch.setattr("sentinel.sources.processes.proc_events.ProcEvents.__init__", refused)
    row = only(probes_host.starts(machine()))
    assert (row.state, row.why.split(":")[0]) == ("absent", "the kernel's process events take CAP_NET_ADMIN before Linux 6.6")
    assert "sentinel exec --" in row.fix


def test_inotify_and_device_events_work_on_the_machine_the_tests_run_on(machine: Make) -> None:
    assert only(probes_host.inotify(machine())).state == "works"
    assert only(probes_host.udev(machine())).state in ("works", "absent")


# --- GPUs ---


def test_an_amd_gpu_without_its_driver_fails_with_the_command_that_loads_it(machine: Make, tmp_path: Path) -> None:
    add_gpu(tmp_path, "0x1002")

    row = only(probes_gpu.amdgpu(machine()))

    assert row.state == "fails"
    assert "0000:03:00.0" in row.why
    assert "modprobe amdgpu" in row.fix


def test_an_amd_gpu_whose_files_are_read_works(machine: Make) -> None:
    seen = machine(sys=FIXTURES / "sys")

    assert only(probes_gpu.amdgpu(seen)).why == "memory, load, power and temperature of 0000:03:00.0"


def test_for_a_server_whose_user_may_not_open_the_gpu_the_group_is_named(machine: Make, tmp_path: Path) -> None:
    """The documented reason for a silent fall back to the CPU."""
    running = machine(server(LogSource("file", "", "/a")))
    write(tmp_path / "dev/dri/renderD128", "")
    os.chmod(tmp_path / "dev/dri/renderD128", 0o600)
    ids = f"\t{NOBODY}" * 4
    write(tmp_path / f"proc/{PID}/status", f"Uid:{ids}\nGid:{ids}\nGroups:\t \n")

    row = only(probes_gpu.nodes(running))

    assert row.state == "fails"
    assert row.why == f"user {NOBODY} may not open /dev/dri/renderD128"
    assert row.fix == f"sudo usermod -aG render,video {NOBODY}, then restart its llama-server"


def test_a_gpu_without_a_render_node_fails_and_no_gpu_is_not_here(machine: Make, tmp_path: Path) -> None:
    assert only(probes_gpu.nodes(machine())).state == "absent"
    add_gpu(tmp_path, "0x1002")
    assert only(probes_gpu.nodes(machine())).state == "fails"


def test_what_is_needed_to_read_nvidia_gpus_is_said(machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_gpu(tmp_path, "0x10de")
    assert only(probes_gpu.nvidia(machine())).state == "fails"
    write(tmp_path / "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1\n")
    # the binding is not installed
    monkeypatch.setitem(sys.modules, "pynvml", None)

    row = only(probes_gpu.nvidia(machine()))

    assert row.state == "absent"
    assert f"{sys.executable} -m pip install nvidia-ml-py; then restart sentinel" in row.fix


def test_without_a_gpu_nothing_of_a_gpu_is_missed(machine: Make) -> None:
    alone = machine()
    rows = [only(probe(alone)) for probe in (probes_gpu.gpus, probes_gpu.amdgpu, probes_gpu.kfd, probes_gpu.nvidia)]
    rows.append(only(probes_gpu.rocm_smi(alone)))

    assert {row.state for row in rows} == {"absent"}


# --- the command ---


def test_a_probe_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    stuck = RunningProbe("stuck", lambda: [Capability("stuck", "works", str(release.wait()))])

    row = only(stuck.result(0.05))

    release.set()
    assert (row.id, row.state) == ("stuck", "fails")
    assert "no answer" in row.why


def test_a_bug_in_a_probe_is_not_taken_for_an_answer() -> None:
    def broken() -> Sequence[Capability]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RunningProbe("broken", broken).result(5)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration for a machine without systemd, GPUs and programs to ask."""
    for name in ("proc", "sys", "dev"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    write(tmp_path / "proc/meminfo", (FIXTURES / "proc/meminfo").read_text(encoding="utf-8"))
    write(tmp_path / "proc/vmstat", (FIXTURES / "proc/vmstat").read_text(encoding="utf-8"))
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    paths = "".join(f"{name} = '{tmp_path / name}'\n" for name in ("proc", "sys", "dev"))
    top = f"state_dir = '{tmp_path / 'state'}'\nsocket = '{tmp_path / 'sock'}'\n"
    write(tmp_path / "sentinel.toml", f"{top}[paths]\n{paths}journal_socket = '{tmp_path / 'journal'}'\n")
    return tmp_path


def test_a_machine_with_little_on_it_is_fine(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(bare.rglob("*"))

    code = main(["doctor", "--config", str(bare / "sentinel.toml"), "--json"])

    answer = json.loads(capsys.readouterr().out)
    states = {row["id"]: row["state"] for row in answer["capabilities"]}
    assert code == 0
    assert answer["api_version"] == 1
    assert set(answer["capabilities"][0]) == {"id", "state", "why", "fix"}
    assert "fails" not in states.values()
    assert states["configuration"] == states["rules"] == states["state"] == "works"
    assert states["daemon"] == states["service"] == states["journald"] == states["gpu"] == "absent"
    assert {name for name, _ in report.PROBES} <= set(states)
    assert sorted(bare.rglob("*")) == before


def test_what_does_not_work_ends_with_1_and_says_what_to_do(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_gpu(bare, "0x1002")

    code = main(["doctor", "--config", str(bare / "sentinel.toml")])

    told = capsys.readouterr().out
    assert code == 1
    assert "✗ amdgpu: 0000:03:00.0 is there" in " ".join(told.split())
    assert "do: sudo modprobe amdgpu" in told
    failed = [line for line in told.splitlines()[1:] if line.startswith("✗ ")]
    assert told.startswith(f"✗ {len(failed)} thing")


def test_a_wrong_configuration_is_one_row_and_the_rest_is_tried(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENTINEL_SOCKET", str(bare / "sock"))
    (bare / "sentinel.toml").write_text("sockt = 'x'\n", encoding="utf-8")

    code = main(["doctor", "--config", str(bare / "sentinel.toml"), "--json"])

    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)["capabilities"]}
    assert code == 1
    assert rows["configuration"]["state"] == "fails"
    assert "did you mean 'socket'" in rows["configuration"]["why"]
    assert rows["rules"]["state"] == "works"


def test_what_fails_in_the_daemon_is_a_row_each_with_its_own_cure(machine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cure that the daemon names comes first; where it names none, its log has more."""
    answer = {
        "version": "1.0",
        "alerts": [],
        "sources": [
            {
                "name": "kmsg",
                "health": "failed",
                "why": "may not open /dev/kmsg; give it CAP_SYSLOG",
                "remedy": "give it CAP_SYSLOG",
            },
            {"name": "process", "health": "failed", "why": "no answer"},
            {"name": "meminfo", "health": "up", "why": ""},
            {"name": "nvml", "health": "absent", "why": "no NVIDIA GPU"},
        ],
        "state": {"fault": "the disk is full; free some space", "remedy": "free some space"},
        "sinks": [{"name": "journald", "fault": "journald does not read"}, {"name": "console", "fault": ""}],
    }
    monkeypatch.setattr("sentinel.api.client.get", lambda *_: (200, answer))
    works, *failing = probes.daemon(machine())

    assert (works.id, works.state) == ("daemon", "works")
    assert [(row.id, row.state, row.why, row.fix) for row in failing] == [
        ("daemon:kmsg", "fails", "the daemon says: may not open /dev/kmsg", "give it CAP_SYSLOG"),
        ("daemon:process", "fails", "the daemon says: no answer", "sentinel status"),
        ("daemon:state", "fails", "the daemon says: the disk is full", "free some space"),
        ("daemon:journald", "fails", "the daemon says: journald does not read", "journalctl -u sentinel"),
    ]


@pytest.mark.parametrize(
    ("row", "fix"),
    [
        (
            Capability("processes", "fails", "x", f"as a service, which holds CAP_SYS_PTRACE: {INSTALL}"),
            "SYS_PTRACE and DAC_READ",
        ),
        (Capability("processes", "fails", "alone", "docker run --pid=host"), "docker run --pid=host"),
        (Capability("log:llama.service", "fails", "x", JOURNAL_GROUP), "DAC_READ_SEARCH"),
        (Capability("log:8080", "fails", "/dev/null", "start llama-server with --log-file FILE"), "--log-file FILE"),
        (Capability("kernel-log", "fails", "x", JOURNAL_GROUP), "/dev/kmsg (devices) and SYSLOG"),
        (Capability("kernel-log", "works", "/dev/kmsg"), ""),
        (Capability("daemon:journald", "fails", "x", "sudo systemctl restart"), "sudo systemctl restart"),
        (Capability("service", "absent", "not installed", INSTALL), ""),
    ],
)
def test_in_the_image_a_remedy_is_a_line_of_the_compose_file(row: Capability, fix: str) -> None:
    """Neither a group of the host nor an installation; what the container has no part in keeps its own remedy."""
    there = in_container.translated(row)
    assert (there.id, there.state) == (row.id, row.state)
    assert fix in there.fix if fix else there.fix == ""


def test_in_the_image_nobody_is_sent_to_root(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the whole table, as the image says them."""
    monkeypatch.setenv(in_container.VARIABLE, "1")
    rows = list(report.examine(bare / "sentinel.toml"))
    assert [row.why for row in rows if row.id == "service"] == ["sentinel runs in a container of its own image"]
    assert not [row for row in rows if INSTALL in row.fix or JOURNAL_GROUP in row.fix]
