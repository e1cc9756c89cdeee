"""Probes of what sentinel needs: its files, its daemon, the llama-servers it watches and their logs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sentinel.api import client
from sentinel.cli.doctor.capability import INSTALL, JOURNAL_GROUP, Capability, ProbeInput
from sentinel.cli.rules import kept_rules
from sentinel.cli.rules.loading import of_config
from sentinel.daemon.systemd import is_booted
from sentinel.model.entity import HOST, Unknown
from sentinel.model.text import counted, escape
from sentinel.rulefiles.files import shipped
from sentinel.sources.base import SourceFault
from sentinel.sources.gpu import usage
from sentinel.sources.logs.file import LogFile
from sentinel.sources.logs.journal import JournalUnit
from sentinel.sources.processes.log_source import CURE
from sentinel.sources.processes.server_process import ServerProcess

#: Other users' processes that are tried; one readable process is enough.
_TRIES = 50
#: name of the row about what other users start
OTHER_USERS = "other-users"

#: Kernel names of the first process of a machine.
_INITS = frozenset({"systemd", "init", "openrc-init", "runit", "s6-svscan", "dinit"})
#: What each of the service's capabilities lets it read (systemd/sentinel.service).
_RIGHTS = {
    "cap_sys_ptrace": "environment, open files and libraries of other users' servers are not seen, so neither where their "
    "logs go nor what they hold on a GPU",
    "cap_dac_read_search": "logs and models in folders that are closed to others are not read",
    "cap_syslog": "the kernel's log is read from the journal, not from /dev/kmsg",
}
_GIVE_BACK = (
    "if that is not what you want: sudo rm /etc/systemd/system/sentinel.service.d/no-capabilities.conf && "
    "sudo systemctl daemon-reload && sudo systemctl restart sentinel"
)


def rules(machine: ProbeInput) -> Sequence[Capability]:
    """Whether every rule file loads, the user's own included."""
    files = of_config(machine.config)
    kept = kept_rules.of_user(os.environ)
    found = (None if kept is None else kept.find(files)) or files.load()
    mistakes = [str(p) for p in found.errors]
    if found.ruleset is None:
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        return [Capability("rules", "fails", f"{mistakes[0]}{more}", "sentinel rules lint shows every mistake")]
    own = f" and {len(found.files)} of yours" if found.files else ""
    counts = f"{len(found.ruleset.rules)} rules, {len(found.ruleset.events)} events"
    return [Capability("rules", "works", f"{counts} from {shipped()}{own}")]


def state(machine: ProbeInput) -> Sequence[Capability]:
    """Whether the folder for history and positions is writable, or can be created."""
    folder = machine.config.state_dir
    near = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if os.access(near, os.W_OK | os.X_OK) and near.is_dir():
        return [Capability("state", "works", f"{folder} can be " + ("written" if near == folder else "made"))]
    wrong = "cannot be written" if near.is_dir() else "is not a folder"
    why = f"{near} {wrong}: after a restart sentinel would not know which alerts it has sent"
    return [Capability("state", "fails", why, "set state_dir in the configuration to a folder of your own")]


def daemon(machine: ProbeInput) -> Sequence[Capability]:
    """Whether a daemon answers. No running daemon is no fault: nothing here needs one."""
    own = machine.config.socket
    paths = (str(own),) if machine.config.file is not None else tuple(dict.fromkeys((*client.socket_paths(), str(own))))
    try:
        code, answer = client.get("/v1/status", paths)
    except client.DaemonUnreachable as error:
        there = any(os.path.lexists(path) for path in paths)
        return [Capability("daemon", "fails" if there else "absent", error.why, error.remedy or "journalctl -u sentinel")]
    if code != 200:
        said = escape(client.refusal(code, answer))
        return [Capability("daemon", "fails", f"it answers: {said}", "journalctl -u sentinel")]
    alerts = counted(len(answer.get("alerts", ())), "open alert")
    works = Capability("daemon", "works", f"sentinel {answer.get('version')} answers, {alerts}")
    return [works, *_of_daemon(answer)]


def _of_daemon(answer: Mapping[str, Any]) -> Iterator[Capability]:
    """What the daemon cannot read: its permissions differ from those of the user who runs doctor."""
    for source in answer.get("sources", ()):
        if source["health"] == "failed":
            why, remedy = _apart(source, "why")
            yield Capability(f"daemon:{source['name']}", "fails", f"the daemon says: {why}", remedy or "sentinel status")
    state = answer.get("state", {})
    for what, one in (("state", state), *((sink["name"], sink) for sink in answer.get("sinks", ()))):
        if one.get("fault"):
            why, remedy = _apart(one, "fault")
            yield Capability(f"daemon:{what}", "fails", f"the daemon says: {why}", remedy or "journalctl -u sentinel")


def _apart(row: Mapping[str, Any], key: str) -> tuple[str, str]:
    """What failed and the remedy, for separate columns. A daemon of an earlier version has one sentence for both."""
    remedy = str(row.get("remedy", ""))
    return str(row[key]).removesuffix(f"; {remedy}") if remedy else str(row[key]), remedy


def service(machine: ProbeInput) -> Sequence[Capability]:
    """Whether the systemd unit is installed and runs."""
    if not is_booted(machine.roots.proc.parent):
        return [Capability("service", "absent", "systemd does not run this machine", "sentinel run")]
    command = ["systemctl", "show", "sentinel.service", "--property=LoadState,ActiveState,UnitFileState,AmbientCapabilities"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Capability("service", "fails", f"systemctl does not answer ({error})", "systemctl status sentinel")]
    unit = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    active, enabled = unit.get("ActiveState", "unknown"), unit.get("UnitFileState", "")
    if unit.get("LoadState") != "loaded":
        return [Capability("service", "absent", "the unit sentinel.service is not installed", INSTALL)]
    if active != "active":
        fix = "journalctl -u sentinel; sudo systemctl enable --now sentinel"
        return [Capability("service", "fails", f"sentinel.service is installed and {active}", fix)]
    fix = "" if enabled == "enabled" else "sudo systemctl enable sentinel: it would not start at boot"
    rows = [Capability("service", "works", f"sentinel.service is active, {enabled or 'not enabled'}", fix)]
    held = unit.get("AmbientCapabilities", "").split()
    given_up = [f"{name.upper()}: {lost}" for name, lost in _RIGHTS.items() if name not in held]
    if given_up:
        return [*rows, Capability("service-rights", "fails", f"the service does without {'; '.join(given_up)}", _GIVE_BACK)]
    return [*rows, Capability("service-rights", "works", "servers, logs and kernel messages of every user can be read")]


def processes(machine: ProbeInput) -> Sequence[Capability]:
    """Open files and environment of every llama-server; of other users' processes if they run no llama-server."""
    hidden = []
    for server in machine.servers:
        nodes = usage.open_nodes(machine.roots, server.pid)
        # One that has ended meanwhile needs no right.
        if isinstance(nodes, Unknown) and (machine.roots.proc / str(server.pid)).is_dir():
            hidden.append(f"{escape(server.entity.name)}: {escape(nodes.why)}")
    fix = f"run sentinel as the server's own user, or as a service, which holds CAP_SYS_PTRACE: {INSTALL}"
    if hidden:
        return [Capability("processes", "fails", "; ".join(hidden), fix)]
    found = f"{counted(len(machine.servers), 'llama-server')} found"
    if not machine.servers and _is_alone(machine.roots.proc):
        why = "sentinel is in a container with processes of its own: a llama-server outside it is never seen"
        return [Capability("processes", "fails", why, "docker run --pid=host, and what docs/container.md names beside it")]
    rows = [Capability("processes", "works", found)]
    others = list(islice(_of_others(machine), _TRIES))
    if not others:
        return [Capability("processes", "works", f"{found}; no other user runs anything here")]
    if any(not isinstance(usage.open_nodes(machine.roots, pid), Unknown) for pid in others):
        return [*rows, Capability(OTHER_USERS, "works", "processes of every user can be looked into")]
    why = (
        "of a llama-server that another user starts, the command line and the end are seen; "
        "its environment, a log that goes to a file, and what it holds on a GPU are not"
    )
    return [*rows, Capability(OTHER_USERS, "absent", why, fix)]


def _is_alone(proc: Path) -> bool:
    """In a PID namespace without an init: a container of one program, and not a machine, or one of LXC or nspawn."""
    try:
        return (proc / "1/comm").read_text().strip() not in _INITS and (proc / "2/comm").read_text().strip() != "kthreadd"
    except FileNotFoundError:
        # Process 2 is gone, or nothing is known of process 1.
        return (proc / "1/comm").exists() and (proc / "1/comm").read_text().strip() not in _INITS
    except OSError:
        return False


def _of_others(machine: ProbeInput) -> Iterator[int]:
    for path in machine.roots.proc.glob("[0-9]*"):
        try:
            if path.stat().st_uid != os.geteuid():
                yield int(path.name)
        except (FileNotFoundError, ProcessLookupError):
            continue


def logs(machine: ProbeInput) -> Sequence[Capability]:
    """The log of each llama-server, opened as the daemon would open it."""
    found = [_log(machine, server) for server in machine.servers]
    for given in machine.config.servers:
        name = f"log:{given.name}"
        found.append(_file(machine, name, given.log) if given.log is not None else _unit(machine, name, given.unit, None))
    return found or [Capability("logs", "absent", "no llama-server runs here, so there is no log to read")]


def _log(machine: ProbeInput, server: ServerProcess) -> Capability:
    name, log = f"log:{escape(server.entity.name)}", server.log
    if log.kind == "none":
        by_router = log.where == "its router"
        text = escape(f"{log.where}: {log.why}")
        return Capability(name, "absent" if by_router else "fails", text, "" if by_router else log.remedy or CURE)
    if log.kind == "file":
        return _file(machine, name, Path(log.path), log.where)
    match = dict(log.match)
    unit = match.get("_SYSTEMD_USER_UNIT") or match.get("_SYSTEMD_UNIT", "")
    try:
        uid = (machine.roots.proc / str(server.pid)).stat().st_uid if "_SYSTEMD_USER_UNIT" in match else None
    except FileNotFoundError:
        return Capability(name, "absent", "the server has ended meanwhile")
    return _unit(machine, name, unit, uid, runs=True)


def _file(machine: ProbeInput, name: str, path: Path, where: str = "") -> Capability:
    file = LogFile(path, HOST, from_end=True)
    try:
        file.poll(machine.now)
        missing = file.missing
    except SourceFault as fault:
        return Capability(name, "fails", escape(str(fault)), f"let your user read it, or run sentinel as a service: {INSTALL}")
    finally:
        file.close()
    log = escape(where or str(path))
    if missing:
        return Capability(name, "absent", f"{log}: there is no such file yet; it is read as soon as there is")
    return Capability(name, "works", log)


def _unit(machine: ProbeInput, name: str, unit: str, uid: int | None, *, runs: bool = False) -> Capability:
    try:
        heard = asyncio.run(JournalUnit(unit, HOST, uid=uid).holds_any())
    except SourceFault as fault:
        return Capability(name, "fails", escape(fault.why), JOURNAL_GROUP)
    log = f"journal of {escape(unit)}"
    if heard or not runs:
        return Capability(name, "works", log + ("" if heard else ", silent so far"))
    # systemd writes an entry when it starts a unit
    why = f"{log}: it has no entry of it, although the server runs; a container may have a journal of its own"
    return Capability(name, "fails", why, "run sentinel in that container, or start llama-server with --log-file FILE")
