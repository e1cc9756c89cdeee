"""How a process was started, from /proc alone: command line, environment, unit, container, the programs above it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentinel.files.reader import Reader
from sentinel.llama.command_line import Requested, decode
from sentinel.llama.runtime_table import CRONS, Runtime
from sentinel.llama.runtimes import of_starter, translated
from sentinel.model.cuts import Cuts, words
from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_ARGV_BYTES, MOST_WORDS
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_bytes, read_text, unread
from sentinel.sources.processes.ancestry import Ancestor
from sentinel.sources.processes.ancestry import above as ancestors
from sentinel.sources.processes.ancestry import words as words_of
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.config_files import ConfigFiles, config_files
from sentinel.sources.processes.containers import Container, container_of
from sentinel.sources.processes.environment import environment
from sentinel.sources.processes.identify import runtime_of
from sentinel.sources.processes.procfs import Stat, identity_signals, read_stat, user_name

#: An exec sets the words up within a millisecond of the name; a page of the program may have to be read from a disk first.
_LOOKS, _BETWEEN_LOOKS = 3, 0.002


@dataclass(frozen=True, slots=True)
class Launch:
    """What /proc alone says of a process."""

    pid: int
    stat: Stat
    words: list[str]
    env: Mapping[str, str]
    env_unreadable: str
    #: why its settings cannot be known; empty where they are
    settings_unknown: str
    member: Membership
    above: tuple[Ancestor, ...]
    about: Mapping[str, Value | Unknown]
    binary: str
    row: Runtime | None
    requested: Requested
    #: configuration files of llama.cpp that it has read
    config: ConfigFiles
    container: Container | None
    reader: Reader

    @property
    def key(self) -> tuple[int, int]:
        """The process: its id, and its start, because ids are used again."""
        return self.pid, self.stat.start_ticks

    @property
    def is_other_program(self) -> bool:
        """Another program than llama-server, with options of its own."""
        return self.row is not None and self.row.options is not None

    @property
    def starter(self) -> Runtime | None:
        """The program that people start llama-server with here."""
        if self.row is not None and self.row.name:
            return self.row
        return of_starter(self.binary, [name for one in self.above for name in one.names])


def read_launch(roots: Roots, pid: int, reader: Reader, cuts: Cuts) -> Launch | None:
    """How it was started; None where it has ended or is not there yet.

    May hang: the kernel reads a command line from the process's own memory.
    """
    process = roots.proc / str(pid)
    stat = read_stat(roots, pid)
    if isinstance(stat, Unknown):
        return None
    try:
        # It may have ended after its words were kept (sources/look.py): those that it left behind have none.
        if not (argv := _words(roots, pid, cuts)):
            # Amid its exec: the next poll finds it.
            return None
        member = parse_cgroup(read_text(process / "cgroup"))
    except OSError:
        # it has ended in between: the next poll reports it
        return None
    env, env_unreadable = environment(roots, pid)
    about = identity_signals(roots, pid)
    binary = "" if isinstance(about["server.binary"], Unknown) else str(about["server.binary"])
    row = runtime_of(roots, pid, os.path.basename(binary))  # noqa: PTH119
    is_other = row is not None and row.options is not None
    settings_unknown = env_unreadable
    if row is not None and is_other and not env_unreadable:
        settings_unknown = f"{row.title} takes most of its settings from elsewhere than a command line of llama-server"
    above = ancestors(roots, stat.parent)
    container = container_of(roots, pid, member)
    config = {} if is_other else config_files(roots, pid, env, reader)
    return Launch(
        pid, stat, argv, env, env_unreadable, settings_unknown, member, above, about, binary, row,
        _requested(argv, env, row, config), config, container, reader,
    )  # fmt: skip


def signals_of(roots: Roots, launch: Launch) -> dict[str, Value | Unknown]:
    """Its identity and its settings."""
    starter = launch.starter
    return {
        "server.pid": launch.pid,
        **supervision(launch.member, launch.container),
        "server.front_end": "" if starter is None else starter.name,
        "server.started_by": _started_by(roots, launch),
        "server.argv_readable": not launch.env_unreadable,
        "server.config_files": ", ".join(map(clean, launch.config)),
        **launch.about,
        **launch.requested.signals(launch.settings_unknown),
    }


def supervision(member: Membership, container: Container | None) -> dict[str, Value | Unknown]:
    """Its unit, its container, its control group."""
    return {
        "server.unit": clean(member.unit),
        "server.user_unit": member.is_user_unit,
        "server.container": "" if container is None else container.id,
        "server.container_name": "" if container is None else container.name,
        "server.container_engine": "" if container is None else container.engine,
        "server.compose_service": "" if container is None else container.service,
        "server.cgroup": member.path,
    }


def _requested(argv: Sequence[str], env: Mapping[str, str], row: Runtime | None, config: ConfigFiles) -> Requested:
    """What was asked for. Another program's own options are read as far as they mean the same; it is no router."""
    if row is not None and row.options is not None:
        return replace(decode(translated(argv, row.options), {}), model_by_preset=True)
    subcommand = row is not None and bool(row.subcommand)
    return decode([*argv[:1], *argv[2:]] if subcommand else argv, env, config)


def _words(roots: Roots, pid: int, cuts: Cuts) -> list[str]:
    """Empty while the kernel has its new name and not yet its words (fs/proc/base.c, get_mm_cmdline): without a word it was taken
    for a router, for as long as it lived (seen in a boot that started both at once)."""
    raw = b""
    for _ in range(_LOOKS):
        if raw := read_bytes(f"{roots.proc}/{pid}/cmdline", MOST_ARGV_BYTES):
            break
        time.sleep(_BETWEEN_LOOKS)
    if not raw:
        return []
    found = [os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0", MOST_WORDS + 1)]
    kept = words(found)
    if len(raw) >= MOST_ARGV_BYTES or kept != found:
        user = user_name(Reader.of(roots.proc, pid).user)
        cuts.add(user, "command lines with more or longer words than are read")
    return kept


def _started_by(roots: Roots, launch: Launch) -> str | Unknown:
    """Its parent; cron, where that is the shell of a job's own line (`sh -c LINE`): there the flags are written."""
    if len(launch.above) > 1 and launch.above[1].name in CRONS and words_of(roots, launch.above[0].pid)[1:2] == ["-c"]:
        return launch.above[1].name
    return _name_of(roots, launch.stat.parent)


def _name_of(roots: Roots, pid: int) -> str | Unknown:
    path = f"{roots.proc}/{pid}/comm"
    try:
        return clean(read_text(path, 64).strip())
    except OSError as error:
        return unread(path, error)
