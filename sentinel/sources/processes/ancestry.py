"""The processes above a server, which started it, and those that read its output through a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_DESCRIPTORS, MOST_SIBLINGS
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, link, read_bytes, read_text
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.procfs import credentials, read_stat

#: How far up is looked: a manager, a shell or a supervisor between it and the server, and one more.
_GENERATIONS = 3


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A process above a server: its kernel name, and its program's file; empty if that cannot be read."""

    pid: int
    name: str
    program: str
    user: int
    member: Membership

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be recognised by: the kernel cuts a name to 15 characters, a script has its interpreter's file."""
        return (self.name, os.path.basename(self.program))  # noqa: PTH119 - called for each new process


def above(roots: Roots, parent: int) -> tuple[Ancestor, ...]:
    """The nearest first, at most three, and none that is the machine's first process."""
    found: list[Ancestor] = []
    pid = parent
    while pid > 1 and len(found) < _GENERATIONS:
        one = process_of(roots, pid)
        stat = read_stat(roots, pid)
        if one is None or isinstance(stat, Unknown):
            break
        found.append(one)
        pid = stat.parent
    return tuple(found)


def siblings(roots: Roots, pid: int, parent: int) -> Iterator[Ancestor]:
    """Other children of the same parent, as in a shell's pipeline; none on a kernel that does not list children."""
    return (one for one in children(roots, parent) if one.pid != pid)


def children(roots: Roots, pid: int) -> Iterator[Ancestor]:
    """Those of its main thread; none on a kernel that does not list them."""
    try:
        pids = read_text(f"{roots.proc}/{pid}/task/{pid}/children", 4096).split()[:MOST_SIBLINGS]
    except OSError:
        return
    for one in pids:
        if one.isdecimal() and (found := process_of(roots, int(one))) is not None:
            yield found


def process_of(roots: Roots, pid: int) -> Ancestor | None:
    """What is known of a process; None where it is gone."""
    process = f"{roots.proc}/{pid}"
    try:
        name = clean(read_text(f"{process}/comm", 64))
        user, _ = credentials(read_text(f"{process}/status"))
        member = parse_cgroup(read_text(f"{process}/cgroup"))
    except OSError:
        return None
    try:
        program = clean(link(f"{process}/exe").removesuffix(" (deleted)"))
    except OSError:
        program = ""
    return Ancestor(pid, name, program, user, member)


def reads_pipe(roots: Roots, pid: int, target: str) -> bool | None:
    """Whether a process holds the reading end of a pipe (``pipe:[4711]``, or a path); None if that cannot be read."""
    for number, held in _descriptors(roots, pid):
        if held is None:
            return None
        if held == target and _mode(roots, pid, number) == os.O_RDONLY:
            return True
    return False


def reads(roots: Roots, pid: int, target: str) -> str:
    """The number of the descriptor with which a process reads that; empty where it does not, or that cannot be read."""
    held = (number for number, one in _descriptors(roots, pid) if one == target and _mode(roots, pid, number) == os.O_RDONLY)
    return next(held, "")


def holds_terminal(roots: Roots, pid: int, number: str) -> bool:
    """Whether a process holds the other end of /dev/pts/`number` (drivers/tty/pty.c, tty-index)."""
    for descriptor, held in _descriptors(roots, pid):
        if held is not None and held.endswith("/ptmx"):
            index = (line for line in _info(roots, pid, descriptor) if line.startswith("tty-index:"))
            if next(index, "").partition(":")[2].strip() == number:
                return True
    return False


def written_files(roots: Roots, pid: int) -> list[str]:
    """Files that a process has open for writing only, as tee(1) has its copies."""
    return [
        number
        for number, target in _descriptors(roots, pid)
        if target is not None and target.startswith("/") and not target.startswith("/dev/")
        and _mode(roots, pid, number) == os.O_WRONLY
    ]  # fmt: skip


def words(roots: Roots, pid: int) -> Sequence[str]:
    """Its command line; empty if it cannot be read."""
    try:
        return [os.fsdecode(word) for word in read_bytes(f"{roots.proc}/{pid}/cmdline", 1 << 16).rstrip(b"\0").split(b"\0")]
    except OSError:
        return []


def _descriptors(roots: Roots, pid: int) -> Iterator[tuple[str, str | None]]:
    try:
        with os.scandir(f"{roots.proc}/{pid}/fd") as entries:
            for count, entry in enumerate(entries):
                if count >= MOST_DESCRIPTORS:
                    return
                try:
                    yield entry.name, link(entry.path)
                except FileNotFoundError:
                    continue
    except OSError:
        yield "", None


def _mode(roots: Roots, pid: int, number: str) -> int:
    try:
        for line in _info(roots, pid, number):
            if line.startswith("flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE
    except (ValueError, IndexError):
        pass
    return -1


def _info(roots: Roots, pid: int, number: str) -> list[str]:
    try:
        return read_text(f"{roots.proc}/{pid}/fdinfo/{number}", 4096).splitlines()
    except OSError:
        return []
