"""`sentinel doctor`: what sentinel can read on this machine and how to enable the rest. Needs no daemon, changes nothing."""

from __future__ import annotations

import argparse
import os
import pwd
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sentinel.cli.doctor import in_container, probes, probes_gpu, probes_host
from sentinel.cli.doctor.capability import INSTALL, Capability, Probe, ProbeInput, RunningProbe
from sentinel.cli.doctor.probes import OTHER_USERS
from sentinel.cli.garbage import uncollected
from sentinel.cli.main import OK, WARNING
from sentinel.cli.output import emit, style, working
from sentinel.daemon.config import Config, default_socket, load
from sentinel.files.xdg import state_folder
from sentinel.model.problem import ConfigError
from sentinel.model.text import counted, escape
from sentinel.sources.fs import Roots
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.terminal.style import CYAN, DIM, Style, wrap

#: The limit for all probes together: they run concurrently. The slowest, rocm-smi, times out after 10 seconds.
_SECONDS = 15.0

#: In the order of the table.
PROBES: tuple[tuple[str, Probe], ...] = (
    ("rules", probes.rules),
    ("state", probes.state),
    ("daemon", probes.daemon),
    ("service", probes.service),
    ("processes", probes.processes),
    ("logs", probes.logs),
    ("journald", probes_host.journald),
    ("journal", probes_host.journal),
    ("kernel-log", probes_host.kernel_log),
    ("memory", probes_host.host),
    ("cgroup", probes_host.cgroups),
    ("inotify", probes_host.inotify),
    ("starts", probes_host.starts),
    ("udev", probes_host.udev),
    ("gpu", probes_gpu.gpus),
    ("gpu-nodes", probes_gpu.nodes),
    ("amdgpu", probes_gpu.amdgpu),
    ("kfd", probes_gpu.kfd),
    ("rocm-smi", probes_gpu.rocm_smi),
    ("nvidia", probes_gpu.nvidia),
)
#: Columns that the table's sentences need beside the names.
_NARROWEST = 30
_WORDS = {"works": "works", "fails": "fails", "absent": "not here"}


def main(arguments: argparse.Namespace) -> int:
    """Run every probe; 0 if all that is present works, 1 if something does not."""
    with working("looking at this machine"), uncollected():
        found = list(examine(Path(arguments.config) if arguments.config else None))
    failed = sum(row.state == "fails" for row in found)
    if arguments.json:
        rows = [{"id": row.id, "state": row.state, "why": row.why, "fix": row.fix} for row in found]
        emit({"api_version": 1, "capabilities": rows})
        return WARNING if failed else OK
    look = style()
    print("\n".join(_screen(found, look, verbose=arguments.verbose)))
    if failed and os.geteuid() != 0 and in_container.VARIABLE not in os.environ:
        advice = f"You are {_user()}. Root sees more, and the service has rights of its own: sudo sentinel doctor"
        print("\n".join(["", *wrap(advice, look.prose)]))
    return WARNING if failed else OK


def _screen(found: Sequence[Capability], look: Style, *, verbose: bool) -> Iterator[str]:
    """What does not work and what to do about it, then what works by name; every sentence with `verbose`."""
    failed = [row for row in found if row.state == "fails"]
    beside = [row for row in found if row.id in ("daemon", OTHER_USERS) and row.state == "absent"]
    state = "fails" if failed else "works"
    without = {row.id for row in beside}
    whose = "yours" if OTHER_USERS in without else "here"
    what = f"{counted(len(failed), 'thing')} to do" if failed else f"sentinel can see all that is {whose}"
    ended = "; the daemon is not running" if "daemon" in without else ""
    yield from (look.by_state(line, state) for line in wrap(f"{look.mark(state)} {what}{ended}", look.prose, "", "  "))
    if verbose:
        yield ""
        yield from _table(found, look.prose)
        return
    for row in (*failed, *beside):
        yield ""
        head, *rest = wrap(escape(f"{row.id}: {row.why}"), look.prose, "  ")
        mark = look.by_state(look.mark(row.state), row.state)
        yield f"{mark} {head.strip()}"
        yield from rest
        if row.fix:
            yield from _to_do(row.fix, look)
    for word, rows in (
        ("Works:   ", [row.id for row in found if row.state == "works"]),
        ("Not here:", [row.id for row in found if row.state == "absent" and row not in beside]),
    ):
        if rows:
            yield ""
            first, *rest = wrap(escape(", ".join(rows)), look.prose, " " * 10)
            yield look.paint(f"{word} ", DIM) + first.strip()
            yield from rest
    yield ""
    yield look.paint("What each of them is: sentinel doctor --verbose", DIM)


def _to_do(fix: str, look: Style) -> Iterator[str]:
    """A remedy, not wrapped, so that commands can be copied; a command at the end of a sentence has its own line."""
    sentence, command, _ = fix.partition(INSTALL)
    if sentence and command:
        yield from wrap(escape(f"do: {sentence.rstrip()}"), look.prose, "  ", "    ")
        yield f"      $ {look.paint(command, CYAN)}"
    else:
        yield f"  do: {look.paint(escape(fix), CYAN)}"


def examine(file: Path | None) -> Iterator[Capability]:
    """Every row of the table. An invalid configuration is one row; the other probes then use the defaults."""
    config, about = configuration(file)
    yield about
    now = time.time()
    roots = Roots(proc=config.proc, sys=config.sys, dev=config.dev)
    found: list[ServerProcess] = []

    def search() -> Sequence[Capability]:
        servers = Servers(roots)
        servers.poll(now)
        found.extend(servers.servers)
        return ()

    yield from RunningProbe("servers", search).result(_SECONDS)
    machine = ProbeInput(config, roots, tuple(found), now)
    running = [RunningProbe(name, lambda probe=probe: probe(machine)) for name, probe in PROBES]  # type: ignore[misc]
    deadline = time.monotonic() + _SECONDS
    for each in running:
        rows = each.result(deadline - time.monotonic())
        yield from map(in_container.translated, rows) if in_container.VARIABLE in os.environ else rows


def configuration(file: Path | None) -> tuple[Config, Capability]:
    """The configuration, or the defaults, with a row that says what is wrong."""
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        why = "; ".join(str(problem) for problem in error.problems)
        config = Config(None, state_folder(os.environ), default_socket(os.environ))
        return config, Capability("configuration", "fails", why, "correct the file: sentinel does not start with it")
    where = str(config.file) if config.file is not None else "no file: servers and their logs are found without one"
    return config, Capability("configuration", "works", where)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _table(found: Sequence[Capability], columns: int) -> Iterator[str]:
    width = max(len(escape(row.id)) for row in found)
    pad = " " * (width + 14)
    # On a narrow terminal the sentence starts below its name.
    narrow = columns < len(pad) + _NARROWEST
    for row in found:
        name, word = escape(row.id), _WORDS[row.state]
        lines = wrap(escape(row.why), columns, "      " if narrow else pad)
        head = f"  {name}: {word}" if narrow else f"  {name:<{width}}  {word:<10}"
        yield head if narrow else head + lines.pop(0).removeprefix(pad)
        yield from lines
        if row.fix:
            # not wrapped, so that commands can be copied
            yield f"{'      ' if narrow else pad}do: {escape(row.fix)}"
