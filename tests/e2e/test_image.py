"""The container image as `make image` builds it, started as the compose file says, beside real llama-servers.

`make image-check` names the image; without one nothing is tried, for a build takes three minutes and a mirror of packages.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import real_server
import yaml
from places import REPO

ENGINE, IMAGE = shlex.split(os.environ.get("SENTINEL_ENGINE", "")), os.environ.get("SENTINEL_IMAGE", "")

pytestmark = [
    pytest.mark.long,
    pytest.mark.root,
    pytest.mark.real_server,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not IMAGE or not ENGINE, reason="needs an image: make image image-check"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

#: A user's limits may not be raised where the tests run in a container of their own.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
#: What a container of llama-server needs of this machine, beside its own files.
LIBRARIES = ("/usr/lib", "/lib", "/lib64")


def engine(*words: str, given: bytes | None = None) -> subprocess.CompletedProcess[str]:
    command = [*ENGINE, *words]
    done = subprocess.run(command, capture_output=True, input=given, timeout=90, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def of_compose(name: str, tmp_path: Path) -> list[str]:
    """Options of `run` for a service of the compose file; volumes lie in a folder of ours, which goes with the test."""
    service = yaml.safe_load((REPO / "packaging/container/compose.yaml").read_text())["services"][name]
    options = [f"--pid={service['pid']}", f"--network={service['network_mode']}", f"--cgroupns={service['cgroup']}"]
    options += ["--read-only"] * service["read_only"]
    options += [f"--memory={service['mem_limit']}", f"--pids-limit={service['pids_limit']}"]
    if _may_be_spared():
        options += [f"--oom-score-adj={service['oom_score_adj']}"]
    for key, option in (
        ("cap_drop", "cap-drop"),
        ("cap_add", "cap-add"),
        ("security_opt", "security-opt"),
        ("devices", "device"),
    ):
        options += [f"--{option}={value}" for value in service[key]]
    for volume in service["volumes"]:
        source, target, *mode = volume.replace("${DOCKER_ROOT:-/var/lib/docker}", "/var/lib/docker").split(":")
        if not source.startswith("/"):
            folder = tmp_path / source
            folder.mkdir()
            # The user of the image: a volume that the engine makes has this owner by itself.
            os.chown(folder, 748, 748)
            source = str(folder)
        if Path(source).exists():
            options.append(f"--volume={':'.join([source, target, *mode])}")
    return options


def _may_be_spared() -> bool:
    """Whether root may lower its score here: not where the machine itself is a container without CAP_SYS_RESOURCE."""
    return subprocess.run(["choom", "-n", "-500", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def host(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A llama-server of this machine that runs on the CPU although a GPU was asked for; its port."""
    folder, port = tmp_path_factory.mktemp("host"), real_server.free_port()
    words = [str(real_server.binary()), "-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(words, env=real_server.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    yield port
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def contained(models: Path) -> Iterator[str]:
    """The same in a container, with a model file that is not there; started again and again, as compose files say. Its name."""
    name, server = f"lab-{os.getpid()}", real_server.binary()
    mounts = [server.parent, real_server.cpu_library().parent, models, *map(Path, LIBRARIES)]
    words = ["run", "-d", "--name", name, "--network=host", *LIMITS, "--restart=always"]
    words += ["--log-driver=k8s-file"] if "podman" in ENGINE[0] else ["--log-driver=json-file"]
    words += [f"--volume={place}:{place}:ro" for place in mounts]
    words += ["--env", f"LD_LIBRARY_PATH={real_server.cpu_library().parent}:{server.parent}", "--entrypoint", str(server)]
    started = engine(*words, IMAGE, "-m", "/models/absent.gguf", "--port", str(real_server.free_port()))
    assert started.returncode == 0, started.stderr
    yield name
    engine("rm", "-f", name)


class Watcher:
    """The daemon in a container of this name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command beside the daemon, as `docker exec` starts it."""
        return engine("exec", self.name, *words)

    def alert(self, entity: str) -> dict[str, Any]:
        """The alert about this server; empty if there is none."""
        answer = self.run("sentinel", "alerts", "--json").stdout
        found = json.loads(answer)["alerts"] if answer else []
        return next((one for one in found if one["entity"]["name"] == entity), {})


@pytest.fixture(scope="module")
def watcher(host: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    """Started as the compose file says, beside a server that runs already."""
    assert host
    name = f"sentinel-{os.getpid()}"
    options = of_compose("sentinel", tmp_path_factory.mktemp("volumes"))
    started = engine("run", "-d", "--name", name, *LIMITS, *options, IMAGE)
    assert started.returncode == 0, started.stderr
    yield Watcher(name)
    engine("rm", "-f", name)


def test_a_server_of_the_host_is_found_and_its_failure_is_named(
    watcher: Watcher, host: int, eventually: Callable[..., None]
) -> None:
    """Its log is read below the server's own root; nothing of it is mounted."""
    name = f"127.0.0.1:{host}"
    eventually(lambda: watcher.alert(name).get("rule") == "cpu-fallback", "the fallback is named", 60)
    servers = json.loads(watcher.run("sentinel", "status", "--json").stdout)["servers"]
    assert next(one for one in servers if one["name"] == name)["log_readable"] is True


def test_where_there_is_no_journal_the_alert_is_in_the_containers_log(
    watcher: Watcher, host: int, eventually: Callable[..., None]
) -> None:
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("this machine has a journal, and alerts go there")
    eventually(lambda: f":{host} runs on the CPU" in engine("logs", watcher.name).stderr, "it is printed", 60)


def test_a_server_in_another_container_is_called_by_its_name_and_its_log_is_read(
    watcher: Watcher, contained: str, eventually: Callable[..., None]
) -> None:
    eventually(lambda: watcher.alert(contained).get("cause", {}).get("id") == "file-missing", "the cause is named", 90)


def test_it_is_no_root_and_holds_the_three_that_read(watcher: Watcher) -> None:
    pid = engine("inspect", "--format={{.State.Pid}}", watcher.name).stdout.strip()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == ["748"] * 4
    assert status["Groups"].split() == []
    three = 1 << 2 | 1 << 19 | 1 << 34
    assert {int(status[f"Cap{of}"], 16) for of in ("Prm", "Eff", "Amb")} == {three}
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["VmRSS"].split()[0]) < 96_000


def test_healthy_is_a_daemon_that_answers_whatever_alerts_are_open(
    watcher: Watcher, host: int, eventually: Callable[..., None]
) -> None:
    eventually(lambda: watcher.alert(f"127.0.0.1:{host}"), "an alert is open", 60)
    check = re.search(r"HEALTHCHECK .* CMD (.+)", (REPO / "packaging/container/Containerfile").read_text())
    assert check is not None
    assert watcher.run("sh", "-c", check[1]).returncode == 0
    assert engine("run", "--rm", *LIMITS, "--entrypoint=sh", IMAGE, "-c", check[1]).returncode != 0


def test_doctor_says_what_the_compose_file_would_add() -> None:
    """Started bare it sees itself alone, and names what is missing in the words of the compose file."""
    done = engine("run", "--rm", *LIMITS, IMAGE, "doctor", "--json")
    rows = {row["id"]: row for row in json.loads(done.stdout)["capabilities"]}
    assert rows["processes"]["state"] == "fails"
    assert "--pid=host" in rows["processes"]["fix"]
    assert "devices" in rows["kernel-log"]["fix"]
    assert "make install" not in done.stdout


def test_root_that_cannot_become_the_user_is_refused_in_a_sentence() -> None:
    done = engine("run", "--rm", *LIMITS, "--cap-drop=ALL", IMAGE, "run")
    assert done.returncode == 2
    assert "SETUID and SETGID" in done.stderr


def test_a_log_is_diagnosed_without_a_daemon_a_mount_or_a_right() -> None:
    log = (REPO / "tests/fixtures/logs/b10434-two-slots.log").read_bytes()
    options = ("--rm", "-i", *LIMITS, "--user=sentinel", "--cap-drop=ALL", "--network=none")
    done = engine("run", *options, IMAGE, "diagnose", "-", given=log)
    assert done.returncode in (0, 1), done.stderr
    assert "no failure is named" in done.stdout
