"""Control groups: the unit or container a process belongs to, and the tightest memory limit above it (v1 and v2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_number, read_text, unread

#: docker-<id>.scope, /docker/<id>, libpod-<id>.scope, libpod-payload-<id>, cri-containerd-<id>.scope, kubepods/.../<id>
_CONTAINER = re.compile(r"(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?=/|$)|/docker/([0-9a-f]{12,64})(?=/|$)")
#: services that start other people's programs: a server below them is not theirs
_HOSTS_OF_OTHERS = re.compile(
    r"(?:user@.*|sshd?(?:@.*)?|.*getty@.*|cron|crond|atd|docker|containerd|podman|gdm|sddm|lightdm|console-.*)\.service\Z"
)
#: v1 writes "no limit" as the largest page-aligned number (memcontrol.c, PAGE_COUNTER_MAX)
_NO_LIMIT_V1 = 1 << 60


@dataclass(frozen=True, slots=True)
class Membership:
    """The groups of a process: `path` of systemd's hierarchy, `memory` of the memory controller, True if v2 has it."""

    path: str
    memory: str
    unified: bool

    @property
    def unit(self) -> str:
        """Name of the systemd service; empty if there is none (a session, a container, no systemd).

        The first on the way down, or the first below a user's systemd: groups below a service are named by whoever it delegates
        them to (systemd.resource-control(5), Delegate=), and may have the name of any other unit.
        """
        for part in self.path.split("/"):
            if part.endswith(".service") and not part.startswith("user@"):
                return "" if _HOSTS_OF_OTHERS.match(part) else part
        return ""

    @property
    def is_user_unit(self) -> bool:
        """The unit belongs to a user's own systemd, not to the system's."""
        return "/user@" in self.path and bool(self.unit)

    @property
    def container(self) -> str:
        """Full container id in hex; empty when not in a container, judged by the group's name."""
        match = _CONTAINER.search(self.path) or _CONTAINER.search(self.memory)
        return "" if match is None else match[1] or match[2]

    @property
    def is_podman(self) -> bool:
        return "libpod" in self.path

    @property
    def engine(self) -> str:
        """``docker`` or ``podman``; empty if the group's name shows neither."""
        if not self.container:
            return ""
        return "podman" if self.is_podman else "docker" if "docker" in f"{self.path}{self.memory}" else ""


def parse(text: str) -> Membership:
    """Decode /proc/PID/cgroup (cgroups(7)): ``hierarchy:controllers:path`` a line."""
    unified: str | None = None
    systemd: str | None = None
    memory: str | None = None
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            unified = group
        elif controllers == "name=systemd":
            systemd = group
        elif "memory" in controllers.split(","):
            memory = group
    # on a hybrid layout systemd keeps its groups in its own v1 hierarchy, or in v2 beside it
    own = systemd if systemd is not None and (unified or "/") == "/" else unified
    return Membership(clean(own or "/"), clean(memory if memory is not None else unified or "/"), memory is None)


def groups(roots: Roots, member: Membership) -> tuple[Path, tuple[Path, ...]] | Unknown:
    """Mount point of the memory controller, and the folders of the process's group and of all above it, leaf first."""
    base = roots.sys / "fs/cgroup"
    if not member.unified:
        base = base / "memory"
    if not base.is_dir():
        return Unknown(f"{base} is not there: control groups are not mounted")
    leaf = base / member.memory.lstrip("/")
    if ".." in leaf.parts or not leaf.is_dir():
        # Inside a container the path is the host's; the group mounted at the root is then the container's own.
        leaf = base
    depth = len(leaf.parts) - len(base.parts)
    return base, (leaf, *leaf.parents[:depth])


def is_roots(roots: Roots, member: Membership) -> bool:
    """Whether the group of the process and all above it belong to root: then no other user has chosen their names."""
    found = groups(roots, member)
    if isinstance(found, Unknown):
        return False
    try:
        return all(group.stat().st_uid == 0 for group in found[1])
    except OSError:
        return False


def path_of(base: Path, group: Path) -> str:
    """The group's name as the kernel writes it, ``/`` for the root."""
    return clean("/" + str(group.relative_to(base)).removeprefix("."))


def limits(roots: Roots, member: Membership) -> dict[str, Value | Unknown]:
    """Signals of the tightest memory limit above the process: bytes, -1 for none. Unknown if a group cannot be read."""
    names = ("memory.max", "memory.current") if member.unified else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    found = groups(roots, member)
    if isinstance(found, Unknown):
        return _nothing(found)
    base, upward = found
    tightest, where = -1, None
    for group in upward:
        limit = read_limit(group / names[0])
        if isinstance(limit, Unknown):
            return _nothing(limit)
        if limit >= 0 and (tightest < 0 or limit < tightest):
            tightest, where = limit, group
    return {
        "server.cgroup_limit_bytes": tightest,
        "server.cgroup_limit_path": "" if where is None else path_of(base, where),
        "server.cgroup_used_bytes": _used(where or upward[0], names[1]),
    }


def _nothing(why: Unknown) -> dict[str, Value | Unknown]:
    return {f"server.cgroup_{what}": why for what in ("limit_bytes", "limit_path", "used_bytes")}


def _used(group: Path, name: str) -> int | Unknown:
    """Memory charged to the group. v2's root group has no memory.current."""
    used = read_number(group / name)
    if isinstance(used, Unknown) and not (group / name).exists():
        return Unknown(f"{group} is the root group, which has no {name}")
    return used


def read_limit(path: Path) -> int | Unknown:
    """Bytes, -1 for no limit, as for the root group, which has no such file."""
    try:
        text = read_text(path, 64)
    except FileNotFoundError:
        # the root group has no limit file
        return -1
    except OSError as error:
        return unread(path, error)
    if text == "max":
        return -1
    if not text.isdigit():
        return Unknown(f"{path} holds {clean(text[:40])!r}, which is no number")
    return -1 if int(text) >= _NO_LIMIT_V1 else int(text)
