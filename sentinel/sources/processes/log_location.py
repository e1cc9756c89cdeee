"""Where a llama-server logs to: ``--log-file``, else the target of its standard error (then output).

llama-server logs everything except level NONE to stderr (common/log.cpp), and to ``--log-file`` as well. A pipe is followed to
whoever reads it: the program that started the server (Ollama, Lemonade, a supervisor), which copies the lines to its own
output, at most three processes up and not out of a container; ``tee``, which writes them to a file; a container's engine.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from sentinel.files.opener import NotRegular
from sentinel.files.reader import Reader
from sentinel.llama.command_line import Requested
from sentinel.llama.runtime_table import CRONS, Runtime
from sentinel.llama.runtimes import of_starter
from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_FRONT_END_CONFIG
from sentinel.sources.fs import Roots, file_identity, link, unread
from sentinel.sources.processes.ancestry import Ancestor, above, reads_pipe, words
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.container_log import container_log
from sentinel.sources.processes.containers import Container
from sentinel.sources.processes.environment import environment
from sentinel.sources.processes.listening import only_port, shares_network
from sentinel.sources.processes.log_source import CURE, LogSource
from sentinel.sources.processes.output_readers import OutputReader, file_of, reader_beside, readers_of, terminal_holder
from sentinel.sources.processes.paths import absolute, inside, is_file
from sentinel.sources.processes.procfs import read_stat

#: `sentinel exec` names the log that it keeps in this variable
EXEC_LOG = "SENTINEL_LOG"
#: supervisord, and pm2's daemon, name what they started in its environment (supervisor/process.py; pm2: lib/God/ForkMode.js)
_OF_SUPERVISORD, _OF_PM2 = "SUPERVISOR_PROCESS_NAME", ("pm_err_log_path", "pm_out_log_path")
#: Programs that give their children sockets where others give pipes.
_WITH_SOCKETS = frozenset({"node", "bun", "deno"})
#: tee is started beside the server (`exec > >(tee log)`), Node opens its files in the background: both later than the server is
#: looked at, which may be over within 20 ms. Seconds.
_PAUSES = (0.005, 0.02, 0.05)
#: cronie and dcron: each job has one of root's above it, with the pipe of what the job prints. Debian's cron takes a file without
#: a name instead, which is read by its descriptor.
_MAILED = (
    "cron keeps it for a mail that it sends once the server has ended",
    "end its line in the crontab with `>>FILE 2>&1`, or start it as a systemd service",
)
#: How many programs of a pipeline are followed, one after the other.
_FILTERS = 3
_TO_STDOUT = re.compile(r"(?m)^logToStdout:\s*[\"']?(?:both|upstream)\b")


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
    #: how many programs are between it and the server
    depth: int = 0


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
    printing = _Process(pid, env, member, above, container, user)
    for pause in _PAUSES:
        if not (found := _output(roots, printing)).unopened:
            return _with_user(roots, found)
        time.sleep(pause)
    return _with_user(roots, _output(roots, printing))


def _with_user(roots: Roots, found: LogSource) -> LogSource:
    """With whose program writes it now: it may go on as one of root's."""
    return replace(found, writer_user=Reader.of(roots.proc, found.writer).user) if found.writer > 0 else found


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
        return _socket(roots, target, name, process)
    if target.startswith("pipe:"):
        return _pipe(roots, process, opened, target, f"{name}, a pipe", cure)
    if target.startswith(("/dev/pts/", "/dev/tty", "/dev/console")):
        return _terminal(roots, process, target, name, cure)
    if target == "/dev/null":
        return LogSource("none", f"{name}, /dev/null", why="the log is thrown away", remedy=cure)
    if _is_named_pipe(opened) or _is_named_pipe(target):
        return _pipe(roots, process, opened, target, f"{name}, the named pipe {target}", cure)
    try:
        path = target if is_file(target, file_identity(opened)) else str(opened)
    except OSError as error:
        return _unreadable(name, unread(opened, error))
    return LogSource("file", f"{name}, {target}", path)


def _is_named_pipe(path: str | Path) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - the target may hold surrogate escapes
    except OSError:
        return False


def _terminal(roots: Roots, process: _Process, target: str, name: str, cure: str) -> LogSource:
    """script(1) and screen -L keep what is printed on their terminals."""
    holder = terminal_holder(roots, target, process.user, process.above)
    if holder is not None and (path := file_of(roots, holder.pid)) is not None:
        return _file_of(path, f"{name}, a terminal of {holder.name}, kept in ", holder.pid, copied=True)
    return LogSource("none", f"{name}, a terminal ({target})", why="sentinel cannot read output on a terminal", remedy=cure)


def _file_of(path: str, where: str, writer: int, *, copied: bool) -> LogSource:
    """The file that another process writes, by a path of its descriptors."""
    target = link(path)
    return LogSource(
        "file", where + target, target if is_file(target, file_identity(path)) else path, writer=writer, copied=copied
    )


def _unreadable(name: str, unknown: Unknown) -> LogSource:
    remedy = f"{unknown.remedy}; or {CURE}" if unknown.remedy else CURE
    return LogSource("none", name, why=unknown.why, remedy=remedy)


def _socket(roots: Roots, target: str, name: str, process: _Process) -> LogSource:
    """systemd connects a service to journald by a socket and exports its device:inode as $JOURNAL_STREAM (systemd.exec(5))."""
    inode = target.removeprefix("socket:[").removesuffix("]")
    to_journal = process.env.get("JOURNAL_STREAM", "").endswith(f":{inode}")
    member = process.member
    parent = process.above[0] if process.above else None
    if not to_journal and parent is not None and parent.names[1] in _WITH_SOCKETS:
        # Node gives its children sockets for pipes. pm2 says in their environment which files it copies them to. In a child of
        # another user (pm2 can start it so; a Node that is the first process of a container gets orphans) the child says it.
        own = parent.user == process.user
        kept = next((process.env[key] for key in _OF_PM2 if process.env.get(key, "").startswith("/")), "")
        if kept:
            path = inside(roots, parent.pid, kept)
            return LogSource("file", f"what pm2 copies to {kept}", path, writer=parent.pid if own else 0, copied=True)
        if own:
            return _copied(roots, process, 0, of_starter("", parent.names))
    if member.unit:
        field = "_SYSTEMD_USER_UNIT" if member.is_user_unit else "_SYSTEMD_UNIT"
        return LogSource("journal", f"journal of {member.unit}", match=((field, member.unit),))
    if to_journal:
        return LogSource("journal", f"journal, entries of process {process.pid}", match=(("_PID", str(process.pid)),))
    return LogSource("none", f"{name}, a socket", why="it leads to no journal that sentinel knows", remedy=CURE)


def _pipe(roots: Roots, process: _Process, opened: Path, target: str, name: str, cure: str) -> LogSource:
    """Whoever reads it: a process above or beside that runs as the same user in the same container, a container's engine."""
    at, row = next(_reading_above(roots, process, target), (-1, None))
    reader = None
    if process.above and (at < 0 or row is None) and process.depth < _FILTERS:
        # Of runsv and its svlogd, both of which hold it, the log is with the second.
        parent, container = process.above[0].pid, process.member.container
        users = readers_of(opened, process.user)
        reader = reader_beside(roots, process.pid, parent, target, users, container, process.above)
        if reader is not None and (found := _read_by(roots, process, reader, name)) is not None:
            return found
    if at >= 0 and process.above[at].name not in CRONS:
        return _copied(roots, process, at, row)
    if cron := next((one.name for one in process.above if one.name in CRONS), ""):
        return LogSource("none", f"{name} to {cron}", why=_MAILED[0], remedy=_MAILED[1])
    if process.container is not None:
        return container_log(roots, process.container)
    why = "a pipe can be read by its other end alone"
    return LogSource("none", name, why=why, remedy=cure, unopened=reader is not None)


def _reading_above(roots: Roots, process: _Process, target: str) -> Iterator[tuple[int, Runtime | None]]:
    for at, one in enumerate(process.above):
        if one.user != process.user or one.member.container != process.member.container:
            return
        row = of_starter("", one.names)
        holds = reads_pipe(roots, one.pid, target)
        if holds or (holds is None and row is not None and row.log != "own"):
            yield at, row


def _read_by(roots: Roots, process: _Process, reader: OutputReader, name: str) -> LogSource | None:
    """Where a program beside the server puts its lines; None where that is not known."""
    one = reader.process
    through = f"{name}, through {one.name} (process {one.pid}) to "
    if one.name == "logger":
        # It hands each line to journald, or to a syslog daemon.
        return LogSource("journal", through + "the journal", match=(("_PID", str(one.pid)),), copied=True)
    if (path := file_of(roots, one.pid)) is not None:
        # tee alone copies every byte.
        return _file_of(path, through, one.pid, copied=one.name != "tee")
    if not reader.is_filter or isinstance(stat_ := read_stat(roots, one.pid), Unknown):
        return None
    further = _Process(
        one.pid, process.env, one.member, above(roots, stat_.parent), process.container, process.user, process.depth + 1
    )
    found = _behind(roots, further, 1)
    return (
        None if found.kind == "none" else replace(found, where=through + found.where, writer=found.writer or one.pid, copied=True)
    )


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
    where = f"what {called} (process {one.pid}) copies to "
    if (name := process.env.get(_OF_SUPERVISORD, "")) and one.name == "supervisord":
        errors = _target(roots, process.pid, 1) != _target(roots, process.pid, 2)
        if (path := file_of(roots, one.pid, name, errors=errors)) is not None:
            return _file_of(path, where, one.pid, copied=True)
    env, _ = environment(roots, one.pid)
    found = _output(
        roots,
        _Process(one.pid, env, one.member, process.above[at + 1 :], process.container, process.user, process.depth + 1),
    )
    if found.kind == "none":
        if row is None and (path := file_of(roots, one.pid)) is not None:
            return _file_of(path, where, one.pid, copied=True)
        remedy = found.remedy if row is None else row.cure
        return replace(found, where=f"a pipe to {called}, {found.where}", remedy=remedy, unopened=row is None)
    return replace(found, where=where + found.where, writer=found.writer or one.pid, copied=True)


def _target(roots: Roots, pid: int, descriptor: int) -> str:
    try:
        return link(f"{roots.proc}/{pid}/fd/{descriptor}")
    except OSError:
        return ""


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
