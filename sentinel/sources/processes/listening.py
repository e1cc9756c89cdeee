"""Where a process really listens, by the kernel's account: the default port changes from build to build."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from sentinel.model.input_limits import MOST_SOCKET_TABLE
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, file_identity, link, read_text

#: local address and port in hexadecimal, a listening socket's state, user and inode (Documentation/networking/proc_net_tcp.rst)
_LISTENS = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A (?:\S+ +){3}(\d+) +\S+ +(\d+) ", re.MULTILINE)

_ADDRESSES = re.compile(r"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A (?:\S+ +){3}\d+ +\S+ +(\d+) ", re.MULTILINE)


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


def held_by(roots: Roots, host: str, port: int, pid: int) -> str | None:
    """Which other program listens on that address of our network, so that process `pid` cannot: its name, empty if none does.

    None where the tables cannot be read, or the socket is the process's own.
    """
    wanted = _address(host)
    inodes = set()
    try:
        for name in ("tcp", "tcp6"):
            table = read_text(roots.proc / "self/net" / name, MOST_SOCKET_TABLE)
            for address, number, inode in _ADDRESSES.findall(table):
                if int(number, 16) == port and (not wanted or not address.strip("0") or address == wanted):
                    inodes.add(inode)
    except OSError:
        return None
    if not inodes:
        return ""
    if port in (ports(roots, pid) or ()):
        return None
    found = holder(roots, port)
    if found is None:
        return "another user's program"
    try:
        return f"{clean(read_text(roots.proc / str(found) / 'comm', 64))} (process {found})"
    except OSError:
        return ""


def _address(host: str) -> str:
    """An IPv4 address as the kernel's table has it; empty for all of them, and for a name."""
    parts = ("127.0.0.1" if host == "localhost" else host).split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts) or not any(map(int, parts)):
        return ""
    return "".join(f"{int(part):02X}" for part in reversed(parts))


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
