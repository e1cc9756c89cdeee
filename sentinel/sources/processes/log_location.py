"""Where a llama-server logs to: ``--log-file``, else the target of its standard error (then output).

llama-server logs everything except level NONE to stderr (common/log.cpp), and to ``--log-file`` as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sentinel.llama.command_line import Requested
from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, file_identity, link, unread
from sentinel.sources.processes.cgroup import Membership

#: the remedy that makes any log readable
CURE = "start llama-server with --log-file FILE, or as a systemd service"


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log to read, or why there is none.

    `kind` ``file``: follow `path` (as sentinel can open it; it may hold surrogate escapes). ``journal``: follow the entries
    that have every field of `match`. ``none``: `why` is the obstacle, `remedy` the fix.
    """

    kind: Literal["file", "journal", "none"]
    where: str
    path: str = ""
    #: ``docker-json``: each line of the file is a JSON object with the text under ``log``
    format: Literal["plain", "docker-json"] = "plain"
    match: tuple[tuple[str, str], ...] = ()
    why: str = ""
    remedy: str = ""

    def signals(self) -> dict[str, Value]:
        """``server.log_readable``: true for a known file; whether it opens is seen later. Absent for a journal: only
        the entries that arrive prove that this server logs there and that they may be read.
        """
        where = self.where if self.kind != "none" else f"{self.where}: {self.why}" + (f": {self.remedy}" if self.remedy else "")
        values: dict[str, Value] = {"server.log_where": clean(where)}
        if self.kind != "journal":
            values["server.log_readable"] = self.kind == "file"
        return values


def inside(roots: Roots, pid: int, path: str) -> str:
    """A path of the process as sentinel can open it: through /proc/PID/root if its mounts differ from ours."""
    process = roots.proc / str(pid)
    through = f"{process}/root{path}"
    try:
        if link(process / "ns/mnt") == link(roots.proc / "self/ns/mnt"):
            return path
        theirs = file_identity(through)
    except OSError:
        return path
    return path if _is_file(path, theirs) else through


def absolute(roots: Roots, pid: int, path: str) -> str:
    """A path as the process resolves it: relative ones start at its working folder."""
    if path.startswith("/"):
        return path
    try:
        cwd = link(roots.proc / str(pid) / "cwd")
    except OSError:
        # the file will be missing, and is then reported with this path
        cwd = "/"
    return os.path.normpath(f"{cwd}/{path}")


def find_log(
    roots: Roots, pid: int, requested: Requested, env: Mapping[str, str], member: Membership, *, in_router: bool = False
) -> LogSource:
    """Find the log of process `pid`. Never raises: obstacles are reported in ``why``."""
    asked = requested.text("log_file")
    if asked:
        return LogSource("file", f"--log-file {asked}", inside(roots, pid, absolute(roots, pid, asked)))
    if in_router:
        return LogSource("none", "its router", why="the router that started it writes the log; sentinel reads it there")
    errors = _behind(roots, pid, 2, env, member)
    if errors.kind != "none":
        return errors
    output = _behind(roots, pid, 1, env, member)
    return errors if output.kind == "none" else output


def _behind(roots: Roots, pid: int, descriptor: int, env: Mapping[str, str], member: Membership) -> LogSource:
    opened = roots.proc / str(pid) / "fd" / str(descriptor)
    name = "standard error" if descriptor == 2 else "standard output"
    try:
        target = link(opened)
    except OSError as error:
        return _unreadable(name, unread(opened, error))
    if target.startswith("socket:"):
        return _socket(target, name, pid, env, member)
    if target.startswith("pipe:"):
        return _container_log(roots, name, member)
    if target.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return LogSource("none", f"{name}, a terminal ({target})", why="sentinel cannot read output on a terminal", remedy=CURE)
    if target == "/dev/null":
        return LogSource("none", f"{name}, /dev/null", why="the log is thrown away", remedy=CURE)
    try:
        path = target if _is_file(target, file_identity(opened)) else str(opened)
    except OSError as error:
        return _unreadable(name, unread(opened, error))
    return LogSource("file", f"{name}, {target}", path)


def _unreadable(name: str, unknown: Unknown) -> LogSource:
    remedy = f"{unknown.remedy}; or {CURE}" if unknown.remedy else CURE
    return LogSource("none", name, why=unknown.why, remedy=remedy)


def _is_file(path: str, identity: tuple[int, int]) -> bool:
    """False for a deleted file and for one in another mount namespace: they are reachable through the descriptor only."""
    try:
        return file_identity(path) == identity
    except OSError:
        return False


def _socket(target: str, name: str, pid: int, env: Mapping[str, str], member: Membership) -> LogSource:
    """systemd connects a service to journald by a socket and exports its device:inode as $JOURNAL_STREAM (systemd.exec(5))."""
    inode = target.removeprefix("socket:[").removesuffix("]")
    to_journal = env.get("JOURNAL_STREAM", "").endswith(f":{inode}")
    if member.unit:
        field = "_SYSTEMD_USER_UNIT" if member.is_user_unit else "_SYSTEMD_UNIT"
        return LogSource("journal", f"journal of {member.unit}", match=((field, member.unit),))
    if to_journal:
        return LogSource("journal", f"journal, entries of process {pid}", match=(("_PID", str(pid)),))
    return LogSource("none", f"{name}, a socket", why="it leads to no journal that sentinel knows", remedy=CURE)


def _container_log(roots: Roots, name: str, member: Membership) -> LogSource:
    if not member.container:
        return LogSource("none", f"{name}, a pipe", why="a pipe can be read by its other end alone", remedy=CURE)
    short = member.container[:12]
    if member.is_podman:
        # conmon writes to journald by default, with the container's id (podman-run(1), --log-driver)
        match = (("CONTAINER_ID_FULL", member.container),)
        return LogSource("journal", f"journal of container {short}", match=match)
    path: Path = roots.docker / member.container / f"{member.container}-json.log"
    try:
        file_identity(path)
    except OSError as error:
        remedy = f"use the json-file log driver, or {CURE}"
        return LogSource("none", f"container {short}", why=unread(path, error).why, remedy=remedy)
    return LogSource("file", f"log of container {short}", str(path), format="docker-json")
