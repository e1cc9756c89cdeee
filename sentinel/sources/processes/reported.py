"""A server that `sentinel exec` reports: one whose library is missing has ended before anybody can look at it in /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sentinel.files.reader import Reader
from sentinel.llama.command_line import decode
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_text, unread
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.containers import container_of
from sentinel.sources.processes.launch import supervision
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.naming import NameClaim, claims
from sentinel.sources.processes.procfs import credentials, read_stat, user_name
from sentinel.sources.processes.server_process import ServerProcess

#: A report of the end comes within a second; one that claims more is ignored. Seconds.
_LONGEST_AGO = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class ExecReport:
    """What the wrapper says. `wrapper` is its own process id, which the kernel vouches for; all else is its word."""

    wrapper: int
    pid: int
    at: float
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str
    log: str
    #: as wait(2) has it; None: it has just begun
    code: int | None = None


def is_child(roots: Roots, report: ExecReport) -> bool:
    """The process id is one of the wrapper's children, so what the kernel says of it is about the server."""
    stat = read_stat(roots, report.pid) if report.pid > 0 else Unknown("it was not started")
    return not isinstance(stat, Unknown) and stat.parent == report.wrapper


def described(roots: Roots, report: ExecReport, choose: Callable[[list[NameClaim], int], str]) -> ServerProcess:
    """The server as its wrapper describes it, with what the kernel says of the wrapper: user, groups, control group."""
    process = roots.proc / str(report.wrapper)
    try:
        user: Value | Unknown = user_name(credentials(read_text(process / "status"))[0])
    except OSError as error:
        user = unread(process / "status", error)
    try:
        member = parse_cgroup(read_text(process / "cgroup"))
    except OSError:
        member = Membership("/", "/", True)
    reader = Reader.of(roots.proc, report.wrapper)
    requested = decode(report.argv, report.environ)
    path = report.log if report.log.startswith("/") else ""
    log = LogSource("file", path, path) if path else _without(member)
    asked = requested.text("model")
    values: dict[str, Value | Unknown] = {
        "server.pid": report.wrapper,
        "server.start_time": report.at,
        **supervision(member, container_of(roots, report.wrapper, member)),
        "server.front_end": "",
        "server.started_by": "sentinel exec",
        "server.argv_readable": True,
        "server.user": user,
        "server.binary": clean(report.argv[0]) if report.argv else "",
        "server.model_path": clean(os.path.normpath(os.path.join(report.cwd, asked))) if asked else "",  # noqa: PTH118
        **requested.signals(""),
        **log.signals(),
    }
    entity = Entity("server", choose(claims(values, member, report.wrapper, reader.user), report.wrapper))
    return ServerProcess(report.wrapper, 0, report.at, entity, requested, member, log, None, 0, values, reader)


def _without(member: Membership) -> LogSource:
    if member.unit:
        field = "_SYSTEMD_USER_UNIT" if member.is_user_unit else "_SYSTEMD_UNIT"
        return LogSource("journal", f"journal of {member.unit}", match=((field, member.unit),))
    return LogSource("none", "sentinel exec", why="it could keep no log", remedy="name one with --log")


def sane(at: float) -> float:
    """A time that can be true."""
    now = time.time()
    return at if now - _LONGEST_AGO < at <= now else now
