"""Where a llama-server logs to: ``--log-file``, else the target of its standard error (then output).

llama-server logs everything except level NONE to stderr (common/log.cpp), and to ``--log-file`` as well. A pipe is followed to
whoever reads it: the program that started the server (Ollama, Lemonade, a supervisor), which copies the lines to its own
output, at most three processes up and not out of a container; ``tee``, which writes them to a file; a container's engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from sentinel.files.opener import NotRegular
from sentinel.files.reader import Reader
from sentinel.llama.command_line import Requested
from sentinel.llama.runtimes import Runtime, of_starter
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_FRONT_END_CONFIG
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, file_identity, link, read_bytes, unread
from sentinel.sources.processes.ancestry import Ancestor, reads_pipe, siblings, words, written_files
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.containers import Container, unread_why
from sentinel.sources.processes.listening import only_port, shares_network

#: `sentinel exec` names the log that it keeps in this variable
EXEC_LOG = "SENTINEL_LOG"
#: the remedy that makes any log readable
CURE = "start llama-server with --log-file FILE, or as a systemd service"
_TO_STDOUT = re.compile(r"(?m)^logToStdout:\s*[\"']?(?:both|upstream)\b")
Format = Literal["plain", "docker-json", "docker-local"]
#: log driver -> how its file is written; every other driver that keeps a file has Docker's cache, in the form of `local`
_FORMATS: Mapping[str, Format] = {"json-file": "docker-json", "local": "docker-local", "k8s-file": "plain"}


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log to read, or why there is none.

    `kind` ``file``: follow `path` (as sentinel can open it; it may hold surrogate escapes). ``journal``: follow the entries
    that have every field of `match`. ``http``: llama-swap on this loopback `port` streams it. ``none``: `why` is the obstacle,
    `remedy` the fix.
    """

    kind: Literal["file", "journal", "http", "none"]
    where: str
    path: str = ""
    #: ``docker-json``: each line of the file is a JSON object with the text under ``log``; ``docker-local``: moby's own frames
    format: Format = "plain"
    match: tuple[tuple[str, str], ...] = ()
    why: str = ""
    remedy: str = ""
    #: the process that writes it, if that is not the server; -1: a container's engine, which the system runs
    writer: int = 0
    #: another program is taken to copy the lines there: only a line of llama-server proves it
    copied: bool = False
    port: int = 0

    def signals(self) -> dict[str, Value]:
        """``server.log_readable``: true for a known file; whether it opens is seen later. Absent for a journal: only
        the entries that arrive prove that this server logs there and that they may be read.
        """
        where = self.where if self.kind != "none" else f"{self.where}: {self.why}" + (f": {self.remedy}" if self.remedy else "")
        values: dict[str, Value] = {"server.log_where": clean(where)}
        if self.kind == "none" or (self.kind == "file" and not self.copied):
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


@dataclass(frozen=True, slots=True)
class _Process:
    """A process whose output is looked at: the server, or one above it that copies the server's lines."""

    pid: int
    env: Mapping[str, str]
    member: Membership
    #: those above it, the nearest first
    above: Sequence[Ancestor]
    container: Container | None
    user: int


def find_log(
    roots: Roots,
    pid: int,
    requested: Requested,
    env: Mapping[str, str],
    member: Membership,
    *,
    in_router: bool = False,
    above: Sequence[Ancestor] = (),
    container: Container | None = None,
    user: int = -1,
) -> LogSource:
    """Find the log of process `pid`. Never raises: obstacles are reported in ``why``."""
    asked = requested.text("log_file")
    if asked:
        return LogSource("file", f"--log-file {asked}", inside(roots, pid, absolute(roots, pid, asked)))
    if kept := env.get(EXEC_LOG, ""):
        return LogSource("file", f"sentinel exec, {kept}", inside(roots, pid, absolute(roots, pid, kept)))
    if in_router:
        return LogSource("none", "its router", why="the router that started it writes the log; sentinel reads it there")
    if container is None and member.container:
        container = Container(member.container, member.engine)
    return _output(roots, _Process(pid, env, member, above, container, user))


def _output(roots: Roots, process: _Process) -> LogSource:
    errors = _behind(roots, process, 2)
    if errors.kind != "none":
        return errors
    output = _behind(roots, process, 1)
    return errors if output.kind == "none" else output


def _behind(roots: Roots, process: _Process, descriptor: int) -> LogSource:
    opened = roots.proc / str(process.pid) / "fd" / str(descriptor)
    name = "standard error" if descriptor == 2 else "standard output"
    starter = of_starter("", [name for one in process.above for name in one.names])
    cure = CURE if starter is None else starter.cure or CURE
    try:
        target = link(opened)
    except OSError as error:
        return _unreadable(name, unread(opened, error))
    if target.startswith("socket:"):
        return _socket(target, name, process)
    if target.startswith("pipe:"):
        return _pipe(roots, process, target.removeprefix("pipe:[").removesuffix("]"), name, cure)
    if target.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return LogSource("none", f"{name}, a terminal ({target})", why="sentinel cannot read output on a terminal", remedy=cure)
    if target == "/dev/null":
        return LogSource("none", f"{name}, /dev/null", why="the log is thrown away", remedy=cure)
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


def _socket(target: str, name: str, process: _Process) -> LogSource:
    """systemd connects a service to journald by a socket and exports its device:inode as $JOURNAL_STREAM (systemd.exec(5))."""
    inode = target.removeprefix("socket:[").removesuffix("]")
    to_journal = process.env.get("JOURNAL_STREAM", "").endswith(f":{inode}")
    member = process.member
    if member.unit:
        field = "_SYSTEMD_USER_UNIT" if member.is_user_unit else "_SYSTEMD_UNIT"
        return LogSource("journal", f"journal of {member.unit}", match=((field, member.unit),))
    if to_journal:
        return LogSource("journal", f"journal, entries of process {process.pid}", match=(("_PID", str(process.pid)),))
    return LogSource("none", f"{name}, a socket", why="it leads to no journal that sentinel knows", remedy=CURE)


def _pipe(roots: Roots, process: _Process, inode: str, name: str, cure: str) -> LogSource:
    """Whoever reads the pipe: a process above that runs as the same user in the same container, tee, a container's engine."""
    for at, one in enumerate(process.above):
        if one.user != process.user or one.member.container != process.member.container:
            break
        row = of_starter("", one.names)
        reads = reads_pipe(roots, one.pid, inode)
        if reads or (reads is None and row is not None and row.log != "own"):
            return _copied(roots, process, at, row)
    if process.above:
        for other in siblings(roots, process.pid, process.above[0].pid):
            if other.name == "tee" and other.user == process.user and reads_pipe(roots, other.pid, inode):
                for number in written_files(roots, other.pid):
                    path = f"{roots.proc}/{other.pid}/fd/{number}"
                    target = link(path)
                    whole = target if _is_file(target, file_identity(path)) else path
                    return LogSource("file", f"{name}, through tee to {target}", whole, writer=other.pid)
    if process.container is not None:
        return _container_log(roots, process.container)
    return LogSource("none", f"{name}, a pipe", why="a pipe can be read by its other end alone", remedy=cure)


def _copied(roots: Roots, process: _Process, at: int, row: Runtime | None) -> LogSource:
    """The log of the process above that reads the server's pipe."""
    one = process.above[at]
    called = one.name if row is None else row.title
    if row is not None and row.log == "http" and not _prints_upstream(roots, one):
        port = only_port(roots, one.pid) if shares_network(roots, one.pid) else None
        if port is None:
            why = "it keeps the lines to itself, and where it serves them cannot be reached from here"
            return LogSource("none", f"a pipe to {called}", why=why, remedy=row.cure)
        return LogSource("http", f"{called}, http://127.0.0.1:{port}/logs/stream", writer=one.pid, port=port)
    env = environment(roots, one.pid)
    found = _output(roots, _Process(one.pid, env, one.member, process.above[at + 1 :], process.container, process.user))
    where = f"what {called} (process {one.pid}) copies to {found.where}"
    if found.kind == "none":
        return replace(found, where=f"a pipe to {called}, {found.where}", remedy=found.remedy if row is None else row.cure)
    return replace(found, where=where, writer=found.writer or one.pid, copied=True)


def _prints_upstream(roots: Roots, swap: Ancestor) -> bool:
    """Whether llama-swap prints the lines of its servers as well (logToStdout in its configuration, internal/server/log.go)."""
    argv = words(roots, swap.pid)
    for word, value in pairwise(argv):
        if word.lstrip("-") == "config":
            try:
                fd = Reader.of(roots.proc, swap.pid).open(inside(roots, swap.pid, absolute(roots, swap.pid, value)))
            except (OSError, NotRegular, ValueError):
                return False
            with os.fdopen(fd, "rb", buffering=0) as file:
                text = (file.read(MOST_FRONT_END_CONFIG) or b"").decode("utf-8", "replace")
            return _TO_STDOUT.search(text) is not None
    return False


def environment(roots: Roots, pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty if it cannot be read."""
    try:
        pairs = read_bytes(f"{roots.proc}/{pid}/environ").split(b"\0")
    except OSError:
        return {}
    decoded = (os.fsdecode(pair).partition("=") for pair in pairs)
    return {name: value for name, equals, value in decoded if equals}


def _container_log(roots: Roots, found: Container) -> LogSource:
    where = f"log of container {found.name or found.id[:12]}"
    if found.log:
        return LogSource("file", where, found.log, _FORMATS.get(found.driver, "docker-local"), writer=found.writer or -1)
    if found.driver == "journald" or (found.engine == "podman" and not found.driver):
        # podman's default, and docker's driver of that name (podman-run(1), --log-driver)
        # Anybody can send this field. journald itself adds the user: that of the daemon, or of the monitor, that writes for it.
        user = Reader.of(roots.proc, found.writer).user if found.writer else 0
        return LogSource("journal", f"journal, {where}", match=(("CONTAINER_ID_FULL", found.id), ("_UID", str(user))))
    why, remedy = unread_why(found, ("json-file", "local", "journald"))
    return LogSource("none", where, why=why, remedy=f"{remedy}, or {CURE}")
