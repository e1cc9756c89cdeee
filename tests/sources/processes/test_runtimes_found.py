"""Servers of every runtime in a composed /proc: recognised, read where their lines end up, called what people call them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from composed_proc import Machine

from sentinel.model.entity import Unknown
from sentinel.model.reading import Samples, ServerFound
from sentinel.sources.fs import Roots
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.log_source import LogSource

ID = "0123abcd" * 8


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def look(machine: Machine) -> tuple[ServerFound, LogSource]:
    servers = Servers(machine.roots)
    found = [reading for reading in servers.poll(0.0) if isinstance(reading, ServerFound)]
    assert len(found) == 1, "one server, and nothing else that runs"
    return found[0], servers.servers[0].log


@pytest.mark.parametrize(
    ("shell", "starter"),
    [(("-c", "/usr/bin/llama-server -m x.gguf"), "cron"), (("/usr/local/bin/start.sh",), "sh")],
)
def test_what_a_job_of_cron_starts_in_its_own_line_is_crons(machine: Machine, shell: tuple[str, ...], starter: str) -> None:
    """A script has the command line itself."""
    machine.start(5, comm="cron", exe="/usr/sbin/cron")
    machine.start(9, *shell, comm="sh", exe="/usr/bin/dash", parent=5)
    machine.start(10, "-m", "x.gguf", parent=9)
    found, _ = look(machine)
    assert found.values["server.started_by"] == starter


@pytest.mark.parametrize(
    ("exe", "words", "maps", "front_end"),
    [
        ("/usr/bin/llama", ("serve", "-m", "x.gguf"), "libllama-server-impl.so", ""),
        ("/usr/bin/llama", ("server", "-m", "x.gguf"), "static", ""),
        ("/install/bin/ik-llama-server", ("-m", "x.gguf"), "static", ""),
        ("/home/u/gemma.llamafile", ("--server", "-m", "x.gguf"), "static", ""),
        ("/usr/bin/llama-box", ("-m", "x.gguf"), "static", ""),
        ("/app/bin/com.docker.llama-server", ("--model", "x.gguf", "--host", "/run/x.sock"), "static", "docker-model-runner"),
        ("/backends/cpu-llama-cpp/llama-cpp-avx2", ("--addr", "127.0.0.1:41000"), "static", "localai"),
        ("/usr/bin/ollama", ("runner", "--model", "/m/blobs/sha256-1", "--ctx-size", "8192", "--port", "41001"), "-", "ollama"),
        (
            "/opt/koboldcpp-linux-x64",
            ("--model", "x.gguf", "--contextsize", "8192"),
            "/tmp/_MEI1/koboldcpp_default.so",
            "koboldcpp",
        ),
        ("/usr/bin/python3.11", ("-m", "llama_cpp.server", "--model", "x.gguf", "--n_ctx", "8192"), "-", "llama-cpp-python"),
        ("/usr/local/lib/ollama/llama-server", ("--model", "x.gguf", "--port", "41002"), "static", "ollama"),
        # a value that looks like a flag that prints and ends
        ("/usr/bin/llama-server", ("-m", "x.gguf", "--alias", "--version", "--api-key", "-h"), "static", ""),
    ],
)
def test_it_is_found_and_what_runs_it_is_known(
    machine: Machine, exe: str, words: tuple[str, ...], maps: str, front_end: str
) -> None:
    machine.start(10, *words, exe=exe, comm=os.path.basename(exe)[:15], maps=f"7f00-7f01 r-xp 0 00:00 1 /x/{maps}\n")
    found, _ = look(machine)
    assert found.values["server.front_end"] == front_end
    assert found.values["server.is_router"] is False
    if "8192" in words:
        assert found.values["server.ctx_requested"] == 8192


@pytest.mark.parametrize(
    ("exe", "words"),
    [
        (
            "/usr/local/lib/ollama/llama-server",
            ("--port", "50123", "--host", "127.0.0.1", "--no-webui", "--offline", "--verbose"),
        ),
        ("/usr/bin/llama-server", ("--list-devices",)),
        ("/usr/bin/llama-server", ("--list_devices",)),
        ("/usr/bin/llama-server", ("-m", "x.gguf", "--port", "8080", "--version")),
        ("/usr/bin/llama", ("bench", "-m", "x.gguf")),
        ("/usr/bin/llama", ("cli", "-m", "x.gguf")),
        ("/usr/bin/ollama", ("serve",)),
        ("/opt/koboldcpp-linux-x64", ("--model", "x.gguf")),
        ("/home/u/gemma.llamafile", ("--cli", "-p", "once")),
        ("/usr/bin/python3.11", ("train.py",)),
    ],
)
def test_what_serves_nothing_is_no_server(machine: Machine, exe: str, words: tuple[str, ...]) -> None:
    machine.start(10, *words, exe=exe, comm="x", maps="7f00-7f01 r-xp 0 00:00 1 /usr/lib/libllama-server-impl.so\n")
    assert Servers(machine.roots).poll(0.0) == []


def pipe(machine: Machine, pid: int, number: int, inode: int, flags: str) -> None:
    process = machine.roots.proc / str(pid)
    (process / "fd" / str(number)).symlink_to(f"pipe:[{inode}]")
    (process / "fdinfo" / str(number)).write_text(f"pos:\t0\nflags:\t{flags}\n")


def child(machine: Machine, *, exe: str = "/usr/lib/ollama/llama-server", parent: int = 5, cgroup: str = "/") -> None:
    machine.start(10, "-m", "x", "--port", "41000", exe=exe, fds={1: "pipe:[70]", 2: "pipe:[70]"}, parent=parent, cgroup=cgroup)


def test_a_pipe_is_followed_to_the_journal_of_the_manager_that_copies_it(machine: Machine) -> None:
    unit = "/system.slice/ollama.service"
    machine.start(5, "serve", comm="ollama", exe="/usr/bin/ollama", fds={1: "socket:[8]", 2: "socket:[8]"}, cgroup=unit)
    pipe(machine, 5, 7, 70, "00")
    child(machine, cgroup=unit)
    found, log = look(machine)
    assert (log.kind, log.match, log.copied) == ("journal", (("_SYSTEMD_UNIT", "ollama.service"),), True)
    assert "server.log_readable" not in found.values, "only a line of it proves that"


def test_a_pipe_is_followed_to_the_file_of_a_supervisor_two_processes_up(machine: Machine, tmp_path: Path) -> None:
    out = tmp_path / "supervisor.log"
    out.touch()
    machine.start(4, comm="supervise", exe="/usr/bin/supervise", fds={1: str(out), 2: str(out)})
    pipe(machine, 4, 7, 70, "00")
    machine.start(5, comm="sh", exe="/bin/dash", fds={1: "pipe:[70]", 2: "pipe:[70]"}, parent=4)
    child(machine, exe="/usr/bin/llama-server")
    _, log = look(machine)
    assert (log.kind, log.path, log.writer, log.copied) == ("file", str(out), 4, True)


def test_a_pipe_whose_other_end_nobody_above_holds_is_not_followed(machine: Machine) -> None:
    machine.start(5, comm="sh", exe="/bin/dash", fds={1: "socket:[8]", 2: "socket:[8]"}, cgroup="/system.slice/cron.service")
    pipe(machine, 5, 7, 71, "00")
    pipe(machine, 5, 8, 70, "01")
    child(machine, exe="/usr/bin/llama-server")
    found, log = look(machine)
    assert log.kind == "none"
    assert found.values["server.log_readable"] is False


def test_another_users_process_is_not_read_through_it(machine: Machine) -> None:
    machine.start(
        5, comm="ollama", exe="/usr/bin/ollama", fds={1: "socket:[8]", 2: "socket:[8]"}, cgroup="/system.slice/x.service"
    )
    pipe(machine, 5, 7, 70, "00")
    status = machine.roots.proc / "5/status"
    status.write_text(status.read_text().replace("Uid:\t", "Uid:\t4242\t4242\t4242\t4242\nWas:\t"))
    child(machine)
    _, log = look(machine)
    assert log.kind == "none"
    assert "Ollama as a service" in log.remedy, "the one change that helps for Ollama"


def test_a_container_is_called_by_its_name_and_its_log_is_where_its_mounts_say(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "containers" / ID
    (folder / "local-logs").mkdir(parents=True)
    (folder / "local-logs/container.log").touch()
    labels = {"com.docker.compose.service": "llm"}
    (folder / "config.v2.json").write_text(json.dumps({"Name": "/t1", "Config": {"Labels": labels}}))
    (folder / "hostconfig.json").write_text(json.dumps({"LogConfig": {"Type": "local"}}))
    child(machine, exe="/usr/bin/llama-server", parent=1, cgroup=f"/docker/{ID}")
    (machine.roots.proc / "10/mountinfo").write_text(
        f"1 2 8:1 /data/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/a rw\n"
    )
    (machine.roots.proc / "self").mkdir()
    (machine.roots.proc / "self/mountinfo").write_text(f"1 2 8:1 / {tmp_path} rw - ext4 /dev/a rw\n")
    found, log = look(machine)
    assert found.entity.name == "t1"
    assert found.values["server.compose_service"] == "llm"
    assert (log.path, log.format) == (str(folder / "local-logs/container.log"), "docker-local")


def test_podmans_monitor_says_all_of_its_container(machine: Machine, tmp_path: Path) -> None:
    log_file = tmp_path / "ctr.log"
    log_file.touch()
    words = ("-c", ID, "-n", "p1", "-l", f"k8s-file:{log_file}", "--exit-command", "/usr/bin/podman", "-n", "other")
    machine.start(5, *words, comm="conmon", exe="/usr/bin/conmon")
    child(machine, exe="/usr/bin/llama-server", cgroup=f"/machine.slice/libpod-{ID}.scope")
    found, log = look(machine)
    assert (found.entity.name, found.values["server.container_engine"]) == ("p1", "podman")
    assert (log.path, log.format, log.writer) == (str(log_file), "plain", 5)


def test_a_pods_log_is_the_one_that_the_kubelet_links(machine: Machine, tmp_path: Path) -> None:
    pods = tmp_path / "pods"
    pods.mkdir()
    (pods / f"llm-0_default_server-{ID}.log").touch()
    machine.roots = Roots(machine.roots.proc, machine.roots.sys, machine.roots.dev, machine.roots.docker, pods)
    child(machine, exe="/usr/bin/llama-server", parent=1, cgroup=f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope")
    found, log = look(machine)
    assert (found.values["server.container_engine"], found.entity.name) == ("kubernetes", "llm-0/default/server")
    assert log.path == str(pods / f"llm-0_default_server-{ID}.log")


def test_people_call_it_by_its_model_and_port(machine: Machine) -> None:
    machine.start(10, "-m", "/models/gemma-3-4b-it-Q4_K_M-00001-of-00002.gguf", "--port", "8123")
    found, _ = look(machine)
    assert found.values["server.called"] == "gemma-3-4b-it-Q4_K_M, port 8123"
    assert found.entity.name == "127.0.0.1:8123", "which is its identity"


def test_ollama_calls_a_blob_by_the_name_in_its_manifest(machine: Machine, tmp_path: Path) -> None:
    digest = "sha256-" + "ab" * 32
    blob = tmp_path / "models/blobs" / digest
    blob.parent.mkdir(parents=True)
    blob.touch()
    manifest = tmp_path / "models/manifests/registry.ollama.ai/library/gemma3/4b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": [{"digest": digest.replace("-", ":")}]}))
    machine.start(10, "--model", str(blob), "--port", "41000", exe="/usr/lib/ollama/llama-server")
    found, _ = look(machine)
    assert found.values["server.called"] == "gemma3:4b, port 41000"


def test_the_port_is_the_one_it_listens_on_once_it_does(machine: Machine) -> None:
    process = machine.start(10, "-m", "x")
    servers = Servers(machine.roots)
    servers.poll(0.0)
    (process / "fd/5").symlink_to("socket:[99]")
    (process / "net").mkdir()
    row = "   0: 0100007F:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0\n"
    (process / "net/tcp").write_text("  sl  local_address\n" + row.format(9931))
    (samples,) = servers.poll(1.0)
    assert isinstance(samples, Samples)
    assert samples.values["server.port"] == 9931
    assert not isinstance(samples.values["server.called"], Unknown)
    assert servers.poll(2.0) == []


def test_what_journald_has_of_a_container_is_read_of_the_user_who_writes_it(machine: Machine) -> None:
    """Anybody can send an entry that names the container; the user is journald's own word."""
    machine.start(5, "-c", ID, "-n", "p1", "-l", "journald", comm="conmon", exe="/usr/bin/conmon")
    status = machine.roots.proc / "5/status"
    status.write_text(status.read_text().replace("Uid:\t0\t0\t0\t0", "Uid:\t1000\t1000\t1000\t1000"))
    child(machine, exe="/usr/bin/llama-server", cgroup=f"/machine.slice/libpod-{ID}.scope")
    _, log = look(machine)
    assert (log.kind, log.match) == ("journal", (("CONTAINER_ID_FULL", ID), ("_UID", "1000")))
