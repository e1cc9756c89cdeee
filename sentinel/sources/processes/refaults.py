"""Refault rate: how fast evicted file pages are read again. It measures a model that does not fit in the page cache.

Major faults do not measure it: readahead turns hundreds of thousands of evicted pages a second into a dozen faults (measured
with a mapped model of 540 MB in a group of 250 MB). The kernel counts each evicted page that is read back
(mm/workingset.c); first reads do not count.

It counts per control group, not per process. If others are in the group (a session, a container with helpers, the whole
machine), the process's disk reads are the upper bound of its refaults: /proc/PID/io, which includes the readahead of mapped
files (measured: 553,482 pages of read_bytes for 553,472 refaults). Reads that are not accounted there (FUSE)
count as nothing.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from sentinel.model.entity import Unknown, Value
from sentinel.sources.fs import Roots, read_text, unread
from sentinel.sources.processes.cgroup import Membership, groups

#: since Linux 5.9 a counter for files, before that one for all pages; v1 counts the subtree under total_
_KEYS = ("workingset_refault_file", "workingset_refault")


class Refaults:
    """Kept per process; a rate needs two readings."""

    def __init__(self) -> None:
        self._last: tuple[float, int, int | Unknown] | None = None

    def look(self, roots: Roots, member: Membership, pid: int, at: float) -> dict[str, Value | Unknown]:
        """Signal ``server.refault_bytes_per_s`` of a process; nothing at the first reading."""
        pages, own = refaults(roots, member), disk_reads(roots, pid)
        if isinstance(pages, Unknown):
            self._last = None
            return {"server.refault_bytes_per_s": pages}
        before, self._last = self._last, (at, pages, own)
        if before is None or at <= before[0] or pages < before[1]:
            return {}
        came_back = (pages - before[1]) * mmap.PAGESIZE
        if came_back and not _alone(roots, member, pid):
            if isinstance(own, Unknown) or isinstance(before[2], Unknown):
                why = f"others are in its control group, whose reads count as well, and its own are not known: {own}"
                return {"server.refault_bytes_per_s": Unknown(why)}
            came_back = min(came_back, max(own - before[2], 0))
        return {"server.refault_bytes_per_s": round(came_back / (at - before[0]), 1)}


def disk_reads(roots: Roots, pid: int) -> int | Unknown:
    """Bytes that a process has read from disks (proc(5), io)."""
    path = roots.proc / str(pid) / "io"
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        return unread(path, error)
    number = next((line.removeprefix("read_bytes: ") for line in lines if line.startswith("read_bytes: ")), "")
    return int(number) if number.isdigit() else Unknown(f"{path} does not count what is read from disks")


def _counted(roots: Roots, member: Membership) -> Path | None:
    """The group whose pages are counted; None if groups do not count memory, so that the machine's counter is used."""
    found = groups(roots, member)
    # Without the memory controller a group has no such file.
    return None if isinstance(found, Unknown) or not (found[1][0] / "memory.stat").exists() else found[1][0]


def _alone(roots: Roots, member: Membership, pid: int) -> bool:
    """No other process is in the group or below it."""
    group = _counted(roots, member)
    if group is None:
        return False
    try:
        inside = {word for file in group.rglob("cgroup.procs") for word in read_text(file).split()}
    except OSError:
        return False
    return inside == {str(pid)}


def refaults(roots: Roots, member: Membership) -> int | Unknown:
    """Refaulted file pages, in the process's own group, or on the machine if groups do not count memory."""
    group = _counted(roots, member)
    path = roots.proc / "vmstat" if group is None else group / "memory.stat"
    prefix = "" if group is None or member.unified else "total_"
    try:
        counters = dict(line.split(" ", 1) for line in read_text(path).splitlines() if " " in line)
    except OSError as error:
        return unread(path, error)
    for key in _KEYS:
        number = counters.get(prefix + key, "")
        if number.isdigit():
            return int(number)
    return Unknown(f"{path} does not count pages that come back: the kernel is older than 3.15")
