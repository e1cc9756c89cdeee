"""Reads /proc/PID/stat, status and limits: state, CPU, memory and identity of one process (proc(5))."""

from __future__ import annotations

import pwd
import time
from dataclasses import dataclass
from grp import getgrgid

import psutil

from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, link, read_bytes, read_text, unread
from sentinel.sources.meminfo import sizes

#: line of /proc/PID/status -> signal; the kernel writes kB and means 1024 bytes
_MEMORY = {
    "VmRSS": "server.rss_bytes",
    "RssAnon": "server.rss_anon_bytes",
    "RssFile": "server.rss_file_bytes",
    "RssShmem": "server.rss_shmem_bytes",
    "VmLck": "server.locked_bytes",
    "VmSwap": "server.swap_bytes",
}


@dataclass(frozen=True, slots=True)
class Stat:
    """Of /proc/PID/stat: state, parent, CPU used and start time in clock ticks, threads."""

    state: str
    parent: int
    cpu_ticks: int
    threads: int
    start_ticks: int


def read_stat(roots: Roots, pid: int) -> Stat | Unknown:
    """Read /proc/PID/stat; Unknown when the process is gone."""
    path = f"{roots.proc}/{pid}/stat"
    try:
        text = read_bytes(path, 4096)
    except OSError as error:
        return unread(path, error)
    # the name is in parentheses and may itself contain parentheses and spaces
    fields = text[text.rfind(b")") + 2 :].split()
    try:
        return Stat(
            fields[0].decode("ascii", "replace"),
            int(fields[1]),
            int(fields[11]) + int(fields[12]),
            int(fields[17]),
            int(fields[19]),
        )
    except (IndexError, ValueError):
        return Unknown(f"{path} is not as proc(5) describes it")


def boot_time(roots: Roots) -> float:
    """When the machine was started, in seconds since the epoch; 0 if that cannot be read.

    proc(5) gives it in whole seconds, cut off (stat, btime): a process was taken to have begun up to a second before it did,
    and the last lines of the process before for its own. The clocks know it exactly (time(7), CLOCK_BOOTTIME); where they do
    not agree with proc, that is another machine's.
    """
    psutil.PROCFS_PATH = str(roots.proc)
    try:
        whole = psutil.boot_time()
    except (OSError, RuntimeError):
        return 0.0
    exact = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return exact if -0.1 <= exact - whole <= 1.1 else whole


def process_ids(roots: Roots) -> set[int]:
    """The processes that are there. Raises OSError."""
    psutil.PROCFS_PATH = str(roots.proc)
    try:
        return set(psutil.pids())
    except IndexError:
        # psutil 7.2 reads the first of the list, and a proc without processes ([paths] proc) has none.
        return set()


def memory_signals(text: str) -> dict[str, Value | Unknown]:
    """Decode the memory lines of /proc/PID/status into bytes. A line that is missing (a zombie has none) is Unknown."""
    found = sizes(text, _MEMORY)
    return {signal: found.get(key, Unknown(f"/proc/PID/status has no {key} line")) for key, signal in _MEMORY.items()}


def credentials(text: str) -> tuple[int, frozenset[int]]:
    """Effective user id and all group ids of /proc/PID/status; -1 when the lines are missing."""
    user, groups = -1, set[int]()
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key == "Uid":
            user = int(rest.split()[1])
        elif key == "Gid":
            groups.add(int(rest.split()[1]))
        elif key == "Groups":
            groups.update(int(word) for word in rest.split())
    return user, frozenset(groups)


def identity_signals(roots: Roots, pid: int) -> dict[str, Value | Unknown]:
    """What does not change during the process's lifetime: user, groups, program, RLIMIT_MEMLOCK."""
    process = roots.proc / str(pid)
    values: dict[str, Value | Unknown] = {}
    try:
        user, groups = credentials(read_text(process / "status"))
    except OSError as error:
        values["server.user"] = values["server.groups"] = unread(process / "status", error)
    else:
        values["server.user"] = user_name(user)
        values["server.groups"] = ",".join(sorted(_group_name(group) for group in groups))
    try:
        values["server.binary"] = clean(link(process / "exe").removesuffix(" (deleted)"))
    except OSError as error:
        values["server.binary"] = unread(process / "exe", error)
    values["server.memlock_limit_bytes"] = memlock_limit(roots, pid)
    return values


def memlock_limit(roots: Roots, pid: int) -> int | Unknown:
    """RLIMIT_MEMLOCK of a process in bytes, -1: unlimited."""
    return _limit(roots, pid, "Max locked memory")


def address_space_limit(roots: Roots, pid: int) -> int | Unknown:
    """RLIMIT_AS of a process in bytes, -1: unlimited."""
    return _limit(roots, pid, "Max address space")


def _limit(roots: Roots, pid: int, name: str) -> int | Unknown:
    path = f"{roots.proc}/{pid}/limits"
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        return unread(path, error)
    for line in lines:
        if line.startswith(name):
            soft = line.split()[3]
            return -1 if soft == "unlimited" else int(soft)
    return Unknown(f"{path} has no line '{name}'")


def user_name(user: int) -> str:
    """The name of a user id, or the number."""
    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OverflowError):
        return str(user)


def _group_name(group: int) -> str:
    try:
        return getgrgid(group).gr_name
    except (KeyError, OverflowError):
        return str(group)
