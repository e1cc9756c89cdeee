"""Where a process really listens, by the kernel's account: the default port changes from build to build."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sentinel.sources.fs import Roots, link, read_text

#: local address and port in hexadecimal, a listening socket's state and inode (Documentation/networking/proc_net_tcp.rst)
_LISTENS = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A (?:\S+ +){5}(\d+) ", re.MULTILINE)
_MOST_TABLE = 8 << 20


def ports(roots: Roots, pid: int) -> frozenset[int] | None:
    """TCP ports that the process itself listens on; None if its files cannot be read, as for another user's process."""
    process = Path(f"{roots.proc}/{pid}")
    try:
        sockets = set(_sockets(process))
        tables = [read_text(process / "net" / name, _MOST_TABLE) for name in ("tcp", "tcp6") if (process / "net" / name).exists()]
    except OSError:
        return None
    return frozenset(int(port, 16) for table in tables for port, inode in _LISTENS.findall(table) if inode in sockets)


def only_port(roots: Roots, pid: int) -> int | None:
    """The one port that it listens on; None if there is none yet, several, or they cannot be read."""
    found = ports(roots, pid) or ()
    return next(iter(found)) if len(found) == 1 else None


def shares_network(roots: Roots, pid: int) -> bool:
    """Whether an address of the process means the same here: it shares our network namespace, or that cannot be read."""
    try:
        return link(f"{roots.proc}/{pid}/ns/net") == link(f"{roots.proc}/self/ns/net")
    except OSError:
        return True


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
