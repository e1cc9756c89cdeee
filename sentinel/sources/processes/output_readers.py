"""Who reads what a server prints through a pipe, a named pipe or a terminal, and the file that it writes.

A program above it (Ollama, a supervisor, script, screen), one beside it (tee, svlogd, a shell's `cat`), one below it
(`exec > >(tee log)`), or any other of the same user (s6-log has another parent). A program reads it if it holds the other end.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.input_limits import MOST_READERS
from sentinel.sources.fs import Roots, link
from sentinel.sources.processes.ancestry import (
    Ancestor,
    children,
    holds_terminal,
    process_of,
    reads,
    siblings,
    written_files,
)
from sentinel.sources.processes.procfs import process_ids

#: Of the processor, for looking at the processes of a user: 300 with 50 descriptors each take 30 ms, 512 with 4,096 seconds.
_SECONDS = 0.25
#: What svlogd, multilog and s6-log call the file that they write; they hold a lock and a state beside it.
_PRESENT_LOG = "current"
#: Marks of which stream a file holds, in the names that supervisors give them.
_OF_ERRORS = ("stderr", "err")


@dataclass(frozen=True, slots=True)
class OutputReader:
    """A process that reads a server's output, and with which of its descriptors."""

    process: Ancestor
    number: str

    @property
    def is_filter(self) -> bool:
        """It takes it as its standard input: what it makes of it goes to its standard output."""
        return self.number == "0"


def readers_of(opened: str | Path, user: int) -> frozenset[int]:
    """Whose program may read what a server of this user prints into the pipe `opened`: his own, and root's into a pipe that root
    made and nobody else may write into.

    A stranger opened the named pipe of a logger of root's (0622), and what that logger kept for root alone was read and quoted as
    his server's. Any program of root's that takes a descriptor of him would do as well: the pipe is his then.
    """
    try:
        pipe = os.stat(opened)  # noqa: PTH116
    except OSError:
        return frozenset({user})
    return frozenset({user, 0}) if pipe.st_uid == 0 and not pipe.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else frozenset({user})


def reader_beside(
    roots: Roots, pid: int, parent: int, target: str, users: frozenset[int], container: str, above: Sequence[Ancestor]
) -> OutputReader | None:
    """A process of these users that is not above the server and reads `target` (``pipe:[4711]``, or the path of a named pipe)."""
    near = [*children(roots, pid), *siblings(roots, pid, parent)]
    seen = {pid, os.getpid(), *(one.pid for one in near), *(one.pid for one in above)}
    for one in (*near, *_others(roots, users, seen, target)):
        if one.user in users and one.member.container == container and (number := reads(roots, one.pid, target)):
            return OutputReader(one, number)
    return None


def _others(roots: Roots, users: frozenset[int], seen: set[int], target: str) -> Iterator[Ancestor]:
    """Processes of those users that read `target`."""
    looked, until = 0, time.thread_time() + _SECONDS
    for pid in sorted(process_ids(roots) - seen, reverse=True):
        try:
            owner = os.stat(f"{roots.proc}/{pid}").st_uid  # noqa: PTH116 - called for each process of the machine
        except OSError:
            continue
        if owner not in users:
            continue
        if (looked := looked + 1) > MOST_READERS or time.thread_time() > until:
            return
        if reads(roots, pid, target) and (one := process_of(roots, pid)) is not None:
            yield one


def terminal_holder(roots: Roots, target: str, user: int, above: Sequence[Ancestor]) -> Ancestor | None:
    """The process above that holds the other end of a terminal (``/dev/pts/7``): script, screen, tmux, a terminal emulator."""
    number = target.rpartition("/")[2]
    return next((one for one in above if one.user == user and holds_terminal(roots, one.pid, number)), None)


def file_of(roots: Roots, reader: int, hint: str = "", *, errors: bool = True) -> str | None:
    """The one regular file that a process writes the lines to, as a path below /proc; None where that is not known.

    `hint` is what the supervisor calls the server: it is in the name of its file, where several have one. `errors`: its standard
    error is a stream of its own.
    """
    files = [path for number in written_files(roots, reader) if _is_regular(path := f"{roots.proc}/{reader}/fd/{number}")]
    names = {path: _name(path) for path in files}
    if present := [path for path in files if names[path] == _PRESENT_LOG]:
        return present[0] if len(present) == 1 else None
    if hint:
        own = [path for path in files if hint in names[path]]
        for_errors = [path for path in own if any(mark in names[path].replace(hint, "") for mark in _OF_ERRORS)]
        chosen = for_errors if errors and for_errors else [path for path in own if path not in for_errors]
        return chosen[0] if len(chosen) == 1 else None
    return files[0] if len(files) == 1 else None


def _name(path: str) -> str:
    try:
        return link(path).rpartition("/")[2]
    except OSError:
        return ""


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return False
