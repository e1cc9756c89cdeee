"""What a container's engine says of it: its name, its service in a compose file, its log driver and log.

Read from the engine's own files and command line; its socket is for those who may do anything (docker's group is root). Docker's
data root may be anywhere: every container has /etc/hostname mounted from the folder with its files, with the host's network too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentinel.files.opener import NotRegular, Opener
from sentinel.files.reader import Reader
from sentinel.model.input_limits import MOST_CONTAINER_JSON, MOST_PODS
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.processes.ancestry import words
from sentinel.sources.processes.cgroup import Membership, is_roots
from sentinel.sources.processes.procfs import read_stat

#: How far conmon or a shim may be above a server: the container's first process, a manager, a shell.
_GENERATIONS = 6
_COMPOSE = "com.docker.compose.service"
#: conmon(8): --cid, --name, --log-path DRIVER:PATH
_CONMON = {"-c": "id", "--cid": "id", "-n": "name", "--name": "name", "-l": "log", "--log-path": "log"}


@dataclass(frozen=True, slots=True)
class Container:
    """One container. `driver` is its log driver, empty if that could not be read; `log` the file as we open it, if it has one.

    `writer` is the process that writes the log if that is not the system's own daemon: what it may not read is not read for it.
    """

    id: str
    engine: str = ""
    name: str = ""
    service: str = ""
    driver: str = ""
    log: str = ""
    writer: int = 0


def container_of(roots: Roots, pid: int, member: Membership) -> Container | None:
    """The container that a process is in; None outside of any."""
    conmon = _conmon(roots, pid)
    if conmon is not None:
        return conmon
    if not member.container:
        return None
    if "kubepods" in member.path or "kubepods" in member.memory:
        found = _of_kubernetes(roots, member.container)
        # A user may give a control group below his own any name.
        return found if is_roots(roots, member) else replace(found, writer=pid)
    folder = None if member.is_podman else _folder(roots, pid, member.container)
    if folder is None:
        return Container(member.container, member.engine)
    # Of a user's own Docker the server's own rights count: its user could have put anything there.
    if folder.stat().st_uid == 0:
        return _of_docker(folder, member.container, member.engine, Opener())
    return replace(_of_docker(folder, member.container, member.engine, Reader.of(roots.proc, pid)), writer=pid)


def _conmon(roots: Roots, pid: int) -> Container | None:
    """Podman and CRI-O keep a monitor above each container, whose command line says all of it (conmon(8))."""
    for _ in range(_GENERATIONS):
        stat = read_stat(roots, pid)
        if not hasattr(stat, "parent") or stat.parent <= 1:
            return None
        pid = stat.parent
        try:
            name = read_text(f"{roots.proc}/{pid}/comm", 64)
        except OSError:
            return None
        if name == "conmon":
            break
    else:
        return None
    said: dict[str, str] = {}
    logs: list[str] = []
    argv = words(roots, pid)
    for word, value in pairwise(argv):
        if word == "--exit-command":
            break
        if (key := _CONMON.get(word)) == "log":
            logs.append(value)
        elif key:
            said[key] = value
    driver, _, path = next((log for log in logs if not log.startswith("journald")), logs[0] if logs else "").partition(":")
    if driver.startswith("/"):
        # CRI-O gives a path alone
        driver, path = "k8s-file", driver
    engine = "podman" if "podman" in " ".join(argv) else "kubernetes"
    return Container(clean(said.get("id", ""))[:64], engine, clean(said.get("name", "")), "", clean(driver), path, pid)


def _folder(roots: Roots, pid: int, container: str) -> Path | None:
    """The folder with Docker's files about a container, as we see it."""
    own, theirs = _mounts(roots, "self"), _mounts(roots, str(pid))
    for device, root, _ in theirs:
        head, found, _ = root.partition(f"/containers/{container}/")
        if not found:
            continue
        inside = f"{head}/containers/{container}"
        for ours, base, point in own:
            if ours == device and (base == "/" or inside == base or inside.startswith(base + "/")):
                folder = Path(point.rstrip("/") + (inside if base == "/" else inside[len(base) :]))
                if folder.is_dir():
                    return folder
    # Any user may give a control group of his own the name of a container; a mount of its files he cannot have.
    folder = roots.docker / container
    return folder if not theirs and folder.is_dir() else None


def _mounts(roots: Roots, process: str) -> list[tuple[str, str, str]]:
    """Device, folder on it, and mount point of each mount (proc_pid_mountinfo(5))."""
    try:
        lines = read_text(f"{roots.proc}/{process}/mountinfo", 1 << 20).splitlines()
    except OSError:
        return []
    fields = [line.split(" ", 5) for line in lines]
    return [(one[2], _plain(one[3]), _plain(one[4])) for one in fields if len(one) == 6]


def _plain(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _of_docker(folder: Path, container: str, engine: str, opener: Opener) -> Container:
    about, host = _json(folder / "config.v2.json", opener), _json(folder / "hostconfig.json", opener)
    labels = _table(_table(about, "Config"), "Labels")
    kind = _table(host, "LogConfig").get("Type")
    driver = clean(kind) if isinstance(kind, str) else ""
    name, service = about.get("Name"), labels.get(_COMPOSE)
    files = {"json-file": folder / f"{container}-json.log", "local": folder / "local-logs" / "container.log"}
    # What other drivers get, Docker keeps for `docker logs` beside it, unless that is turned off ("dual logging").
    cached = folder / "container-cached.log"
    log = files.get(driver) or (cached if cached.exists() else None)
    if not driver and files["json-file"].exists():
        driver, log = "json-file", files["json-file"]
    return Container(
        container,
        engine or "docker",
        clean(name.lstrip("/")) if isinstance(name, str) else "",
        clean(service) if isinstance(service, str) else "",
        driver if log is None or driver in files else f"{driver} with a cache",
        "" if log is None else str(log),
    )


def _of_kubernetes(roots: Roots, container: str) -> Container:
    """The kubelet links every container's log as POD_NAMESPACE_CONTAINER-ID.log."""
    try:
        with os.scandir(roots.pods) as entries:
            names = [entry.name for _, entry in zip(range(MOST_PODS), entries, strict=False)]
    except OSError:
        names = []
    link = next((name for name in names if name.endswith(f"-{container}.log")), "")
    name = clean(link.removesuffix(f"-{container}.log").replace("_", "/"))
    return Container(container, "kubernetes", name, "", "k8s-file" if link else "", str(roots.pods / link) if link else "")


def _json(path: Path, opener: Opener) -> Mapping[str, Any]:
    try:
        with os.fdopen(opener.open(str(path)), "rb") as file:
            found = json.loads(file.read(MOST_CONTAINER_JSON))
    except (OSError, NotRegular, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _table(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def unread_why(found: Container, known: Sequence[str]) -> tuple[str, str]:
    """Why the log of a container cannot be read, and the one change that helps."""
    if found.driver == "none":
        return "its log is thrown away (log driver none)", f"start it with a log driver that keeps it: {', '.join(known)}"
    if found.driver:
        return f"the log driver {found.driver} sends it away", f"use one of the log drivers {', '.join(known)}"
    if found.engine == "kubernetes":
        return "there is no link to its log in /var/log/containers", "mount /var/log/containers and /var/log/pods for sentinel"
    where = "let sentinel see the folder with the containers' files (mount it, or let its user read it)"
    return "the files of its container cannot be read", where
