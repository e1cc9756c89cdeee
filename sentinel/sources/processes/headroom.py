"""Headroom: how much more unreclaimable memory a process can take before the OOM killer acts.

The machine leaves MemAvailable; each control group above the process leaves its limit less its unreclaimable memory. The
smallest counts. Page cache is reclaimable in both: Documentation/filesystems/proc.rst (MemAvailable), admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots, read_number, read_text, unread
from sentinel.sources.meminfo import meminfo
from sentinel.sources.processes.cgroup import Membership, groups, path_of, read_limit

#: lines of memory.stat that count what the kernel reclaims first; on v1 those of the whole subtree begin with total_
_DROPPABLE = frozenset({"inactive_file", "active_file", "slab_reclaimable"})
_DROPPABLE_V1 = frozenset({"total_inactive_file", "total_active_file"})


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes. `where` is the control group with the tightest limit, empty for the machine. Swap is counted separately.

    `memory_high_bytes` is what is left below memory.high, where the kernel throttles the group instead of killing; -1 for none.
    """

    left_bytes: int
    where: str
    swap_bytes: int
    memory_high_bytes: int = -1
    memory_high_where: str = ""
    #: headroom of the machine, and of each control group with a limit, the process's own first
    host_bytes: int = field(default=0, compare=False)
    group_bytes: tuple[tuple[str, int], ...] = field(default=(), compare=False)


def room(roots: Roots, member: Membership) -> Room | Unknown:
    """Read it now; Unknown when one of the relevant limits cannot be read."""
    host = _host(roots)
    if isinstance(host, Unknown):
        return host
    left, swap = host
    where, memory_high, memory_high_where = "", -1, ""
    found = groups(roots, member)
    if isinstance(found, Unknown):
        # no control groups on this machine: nothing else limits it
        return Room(left, where, swap, host_bytes=left)
    base, upward = found
    below: list[tuple[str, int]] = []
    for group in upward:
        limit = read_limit(group / ("memory.max" if member.unified else "memory.limit_in_bytes"))
        high = read_limit(group / "memory.high") if member.unified else -1
        if isinstance(limit, Unknown):
            return limit
        if isinstance(high, Unknown):
            return high
        if limit < 0 and high < 0:
            continue
        used = _firmly_used(group, unified=member.unified)
        if isinstance(used, Unknown):
            return used
        if limit >= 0:
            below.append((path_of(base, group), max(limit - used, 0)))
        if limit >= 0 and limit - used < left:
            left, where = max(limit - used, 0), path_of(base, group)
        if high >= 0 and (memory_high < 0 or high - used < memory_high):
            memory_high, memory_high_where = max(high - used, 0), path_of(base, group)
        if limit >= 0:
            swap = min(swap, _swap_left(group, unified=member.unified, otherwise=swap))
    return Room(left, where, swap, memory_high, memory_high_where, host[0], tuple(below))


def _host(roots: Roots) -> tuple[int, int] | Unknown:
    path = roots.proc / "meminfo"
    try:
        numbers = meminfo(roots, ("MemAvailable", "SwapFree"))
    except OSError as error:
        return unread(path, error)
    if "MemAvailable" not in numbers:
        return Unknown(f"{path} has no MemAvailable line")
    return numbers["MemAvailable"], numbers.get("SwapFree", 0)


def _firmly_used(group: Path, *, unified: bool) -> int | Unknown:
    """Memory charged to the group, less what the kernel can reclaim."""
    used = read_number(group / ("memory.current" if unified else "memory.usage_in_bytes"))
    if isinstance(used, Unknown):
        return used
    path = group / "memory.stat"
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        return unread(path, error)
    wanted = _DROPPABLE if unified else _DROPPABLE_V1
    for line in lines:
        key, _, number = line.partition(" ")
        if key in wanted and number.isdigit():
            used -= int(number)
    return max(used, 0)


def _swap_left(group: Path, *, unified: bool, otherwise: int) -> int:
    """Swap that the group may still take. If the kernel does not count it per group, the machine's applies."""
    limit = read_limit(group / ("memory.swap.max" if unified else "memory.memsw.limit_in_bytes"))
    used = read_number(group / ("memory.swap.current" if unified else "memory.memsw.usage_in_bytes"))
    if isinstance(limit, Unknown) or isinstance(used, Unknown) or limit < 0:
        return otherwise
    return max(limit - used, 0)
