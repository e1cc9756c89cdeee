"""Where a process really listens, by the kernel's account: the default port changes from build to build."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from sentinel.model.input_limits import MOST_SOCKET_TABLE
from sentinel.sources.fs import Roots, file_identity, link, read_text

#: local address and port in hexadecimal, a listening socket's state, user and inode (Documentation/networking/proc_net_tcp.rst)
_LISTENS = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A (?:\S+ +){3}(\d+) +\S+ +(\d+) ", re.MULTILINE)


def ports(roots: Roots, pid: int) -> frozenset[int] | None:
    """TCP ports that the process itself listens on; None if its files cannot be read, as for another user's process."""
    try:
        sockets = set(_sockets(Path(f"{roots.proc}/{pid}")))
        return frozenset(port for port, _, inode in _listening(roots, pid) if inode in sockets)
    except OSError:
        return None


def listener(roots: Roots, pid: int, port: int) -> int | None:
    """The user who listens on this port in the process's network; the process's own socket first. None: nobody, or not known."""
    try:
        there = [(user, inode) for one, user, inode in _listening(roots, pid) if one == port]
        if not there:
            return None
        sockets = set(_sockets(Path(f"{roots.proc}/{pid}")))
    except OSError:
        return None
    return next((user for user, inode in there if inode in sockets), there[0][0])


def holder(roots: Roots, port: int) -> int | None:
    """The process that listens on this port of our own network; None: nobody, or a process whose files cannot be read."""
    try:
        inodes = {inode for one, _, inode in _listening(roots, "self") if one == port}
        pids = sorted(int(name) for name in os.listdir(roots.proc) if name.isdigit()) if inodes else []  # noqa: PTH208
    except OSError:
        return None
    for pid in pids:
        with suppress(OSError):
            if not inodes.isdisjoint(_sockets(Path(f"{roots.proc}/{pid}"))):
                return pid
    return None


def _listening(roots: Roots, pid: int | str) -> list[tuple[int, int, str]]:
    """Port, user and inode of each listening socket of a process's network."""
    net = Path(f"{roots.proc}/{pid}/net")
    tables = [read_text(net / name, MOST_SOCKET_TABLE) for name in ("tcp", "tcp6") if (net / name).exists()]
    return [(int(port, 16), int(user), inode) for table in tables for port, user, inode in _LISTENS.findall(table)]


def only_port(roots: Roots, pid: int) -> int | None:
    """The one port that it listens on; None if there is none yet, several, or they cannot be read."""
    found = ports(roots, pid) or ()
    return next(iter(found)) if len(found) == 1 else None


def shares_network(roots: Roots, pid: int) -> bool:
    """Whether an address of the process means the same here: it is in our network namespace. False where that is not known."""
    theirs, ours = f"{roots.proc}/{pid}", f"{roots.proc}/self"
    try:
        return link(f"{theirs}/ns/net") == link(f"{ours}/ns/net")
    except OSError:
        pass
    try:
        # Readable for every user, unlike the link (measured on 6.18: another user's process, another namespace): each network
        # namespace has files of its own here (fs/proc/proc_net.c).
        return file_identity(f"{theirs}/net/dev") == file_identity(f"{ours}/net/dev")
    except OSError:
        return False


def _sockets(process: Path) -> list[str]:
    """Inodes of the open sockets. A descriptor closed in between is skipped."""
    found = []
    with os.scandir(process / "fd") as entries:
        for entry in entries:
            try:
                target = link(entry.path)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.append(target[8:-1])
    return found
