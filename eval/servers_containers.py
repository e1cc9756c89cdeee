"""Real containers for the matrix: a Docker daemon of our own, podman, an image of the machine's own files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import real_server
from live import REPO, Sentinel, wait_for

if TYPE_CHECKING:
    from eval.servers_runtimes import Case, Lab

#: Debian's own program: a wrapper of another name may come first in PATH
_DOCKER = Path("/usr/bin/docker")
_IMAGE = "sentinel-lab:1"
#: What a program of the machine needs of it.
_OWN = ("/usr", "/lib", "/lib64", "/bin", "/etc")


def why_no_docker(_lab: Lab | None = None) -> str:
    """The reason why no Docker daemon can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("dockerd", "runc") if shutil.which(name) is None]
    return f"needs {', '.join(missing)} (Debian: docker.io)" if missing or not _DOCKER.exists() else ""


def why_no_podman(_lab: Lab) -> str:
    """The same of podman."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("podman", "conmon", "runc") if shutil.which(name) is None]
    return f"needs {', '.join(missing)} (Debian: podman)" if missing else ""


def in_docker(driver: str, *options: str) -> Callable[[Lab, Case], contextlib.AbstractContextManager[object]]:
    """A container of Docker with this log driver."""

    def start(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
        return _container(lab, case, docker(lab), ("--log-driver", driver, *options))

    return start


def why_no_compose(lab: Lab) -> str:
    """The same of compose: the plugin of Docker's command, or the program of before."""
    return why_no_docker(lab) or ("" if _compose() else "needs docker compose (Debian: docker-compose)")


def _compose() -> list[str]:
    plugin = [str(_DOCKER), "compose"]
    if subprocess.run([*plugin, "version"], check=False, capture_output=True).returncode == 0:
        return plugin
    alone = shutil.which("docker-compose")
    return [] if alone is None else [alone]


@contextmanager
def in_compose(lab: Lab, case: Case) -> Iterator[None]:
    """A service of a compose file."""
    engine = docker(lab)
    folder = lab.folder / f"compose-{case.port}"
    folder.mkdir()
    service = {
        "image": _IMAGE,
        "network_mode": "host",
        "volumes": _mounts(lab),
        "environment": {"LD_LIBRARY_PATH": _libraries(lab)},
        "command": _server_words(lab, case),
    }
    if case.name == "crash":
        service["pid"] = "host"
    (folder / "docker-compose.yml").write_text(json.dumps({"version": "3", "services": {"llm": service}}))
    compose = [*_compose(), "-p", f"lab{case.port}"]
    environ = {**os.environ, "DOCKER_HOST": engine[2]}
    subprocess.run([*compose, "up", "-d"], check=True, capture_output=True, timeout=120, cwd=folder, env=environ)
    try:
        yield
    finally:
        subprocess.run([*compose, "down", "-t", "0"], check=False, capture_output=True, timeout=60, cwd=folder, env=environ)


def in_podman(driver: str) -> Callable[[Lab, Case], contextlib.AbstractContextManager[object]]:
    """A container of podman with this log driver: journald is its default, k8s-file where there is no journald."""
    options = ("--log-driver", driver, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")

    def start(lab: Lab, case: Case) -> contextlib.AbstractContextManager[object]:
        return _container(lab, case, podman(lab), options)

    return start


@contextmanager
def _container(lab: Lab, case: Case, engine: Sequence[str], options: Sequence[str]) -> Iterator[None]:
    name = f"lab-{case.port}"
    run = [*engine, "run", "-d", "--name", name, "--network", "host", *options]
    if case.name == "crash" and "--pid" not in run:
        # The first process of a namespace ignores every signal that it does not handle, but not its own abort().
        run += ["--pid", "host"]
    run += [word for mount in _mounts(lab) for word in ("-v", mount)]
    run += ["-e", f"LD_LIBRARY_PATH={_libraries(lab)}", _IMAGE, *_server_words(lab, case)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([*engine, "rm", "-f", name], check=False, capture_output=True, timeout=60)


def _mounts(lab: Lab) -> list[str]:
    return [f"{lab.server.parent}:{lab.server.parent}:ro", f"{lab.folder}:{lab.folder}"]


def _libraries(lab: Lab) -> str:
    cpu = lab.folder / "cpu"
    with lab.lock:
        if not cpu.exists():
            cpu.mkdir()
            shutil.copy(real_server.cpu_library().resolve(), cpu / "libggml-cpu.so.0")
    return f"{cpu}:{lab.server.parent}"


def _server_words(lab: Lab, case: Case) -> list[str]:
    return [str(lab.server), "-m", str(case.model), "--port", str(case.port), "-c", "2048", *case.extra]


def docker(lab: Lab) -> list[str]:
    """The command of a Docker daemon of our own, started and given the image the first time."""
    with lab.lock:
        place = lab.folder / "docker"
        command = [str(_DOCKER), "-H", f"unix://{place}/socket"]
        if not place.exists():
            place.mkdir()
            _start_docker(lab, place, command)
            _import(command)
        return command


class ContainedSentinel(Sentinel):
    """The daemon in a container of the same Docker: the host's processes, the unit's capabilities, the folder with the logs."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        super().__init__(folder)
        self._lab = lab

    def start(self, output: int | None = None) -> Self:
        engine = docker(self._lab)
        # its program is the machine's own
        folders = {*_OWN, str(REPO), sys.base_prefix, sys.prefix, str(self._lab.folder)}
        run = [*engine, "run", "-d", "--name", "watcher", "--pid", "host", "--network", "host", "--workdir", str(REPO)]
        run += [word for name in ("SYS_PTRACE", "DAC_READ_SEARCH", "SYSLOG", "NET_ADMIN") for word in ("--cap-add", name)]
        run += [word for one in sorted(folders) for word in ("-v", f"{one}:{one}")]
        run += [_IMAGE, sys.executable, "-m", "sentinel", "run", "--config", str(self.config)]
        subprocess.run(run, check=True, capture_output=True, timeout=60)
        wait_for(lambda: self.cli("status", "--json").returncode != 3, "the daemon in the container answers", 60.0)
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        return subprocess.run([*docker(self._lab), "rm", "-f", "watcher"], capture_output=True, check=False).returncode


def _start_docker(lab: Lab, place: Path, command: Sequence[str]) -> None:
    words = ["dockerd", "--data-root", f"{place}/data", "--exec-root", f"{place}/exec", "-H", f"unix://{place}/socket"]
    words += ["--pidfile", f"{place}/pid", "--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (place / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def stop() -> None:
        daemon.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(20)
        # It leaves the host's network mounted by a name.
        subprocess.run(["umount", f"{place}/exec/netns/default"], capture_output=True, check=False)

    lab.ends.append(stop)
    for _ in range(150):
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError(f"dockerd does not answer: {(place / 'log').read_text()[-500:]}")


def podman(lab: Lab) -> list[str]:
    """The command of podman with storage of its own, given the image the first time."""
    with lab.lock:
        place = lab.folder / "podman"
        command = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "vfs"]
        command += ["--cgroup-manager", "cgroupfs", "--runtime", "runc"]
        if not place.exists():
            place.mkdir()
            _import(command)
        return command


def _import(command: Sequence[str]) -> None:
    """An image from the machine's own files: a shell, and the libraries that llama-server needs."""
    server = real_server.binary()
    programs = ["/bin/dash", str(server), *map(str, server.parent.glob("*.so")), str(real_server.cpu_library().resolve())]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path in sorted(set(re.findall(r"(/(?:usr/)?lib(?:64)?/\S+\.so[\w.]*)", listed))):
            if Path(path).exists() and "site-packages" not in path:
                # the file behind the link, under its name
                archive.add(os.path.realpath(path), path, recursive=False)
        archive.add("/bin/dash", "/bin/sh", recursive=False)
        for folder in ("/tmp", "/app"):
            archive.addfile(_folder(folder))
    subprocess.run([*command, "import", "-", _IMAGE], input=data.getvalue(), check=True, capture_output=True, timeout=120)


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777
    return info
