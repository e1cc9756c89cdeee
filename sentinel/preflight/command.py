"""The command to be judged, from words or from a process; its user and its limits."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.files.opener import Opener
from sentinel.files.reader import Reader
from sentinel.llama.command_line import Requested, decode
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.words import ASSIGNMENT, split
from sentinel.sources.fs import Roots, link, read_bytes, read_text, reason, unread
from sentinel.sources.processes import requirement
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.cgroup import parse as parse_cgroup
from sentinel.sources.processes.environment import environment
from sentinel.sources.processes.forecast import unreclaimable_bytes
from sentinel.sources.processes.identify import ProcessKind, classify, is_server_name
from sentinel.sources.processes.paths import absolute, inside
from sentinel.sources.processes.procfs import credentials, memlock_limit, memory_signals

#: Enough for any command line; the kernel allows 128 KiB a word and 2 MiB in all.
_MOST_WORDS = 4096


class NoCommand(Exception):
    """There is no command to judge. The text is one sentence: what is wrong, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Place:
    """Who runs it and which limits apply. `lock_limit` is in bytes, -1 for none; `member` is None if unknown."""

    user: int
    groups: frozenset[int]
    member: Membership | None
    lock_limit: int | Unknown
    unit: str = ""
    #: memory limits that the unit sets itself, by property; its group may not exist yet
    unit_limits: Mapping[str, int] = field(default_factory=dict)
    #: the unit has a /dev of its own without the GPU's nodes (PrivateDevices=)
    private_devices: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and its environment. `argv[0]` is the program as written; `pid` is 0 unless it is running.

    `may_ask`: the program may be run to query it, if that is safe (`safe_program`), and with `ask_anyway` even if not.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    binary: Path | None
    place: Place
    pid: int = 0
    env_unreadable: str = ""
    may_ask: bool = False
    ask_anyway: bool = False
    #: a running process was started with these words and accepted all of them
    runs: bool = False
    #: what precedes the program and is not examined: numactl, sudo, docker run
    wrapper: tuple[str, ...] = ()
    #: variables that the words set themselves, to be kept in a suggestion
    assigned: Mapping[str, str] = field(default_factory=dict)

    @property
    def requested(self) -> Requested:
        """The settings it requests."""
        return decode(self.argv, self.env)

    def opener(self, roots: Roots) -> Opener:
        """Opens the files of the command line: as the process could, or as we can."""
        return Reader.of(roots.proc, self.pid) if self.pid else Opener()

    def path(self, roots: Roots, text: str) -> str:
        """A file of the command line as this process can open it."""
        return inside(roots, self.pid, absolute(roots, self.pid, text)) if self.pid else str(self.folder / text)


def from_words(words: Sequence[str], env: Mapping[str, str], roots: Roots | None = None) -> Command:
    """What a person typed after ``--``. Raises NoCommand."""
    roots = Roots() if roots is None else roots
    if len(words) > _MOST_WORDS:
        raise NoCommand(f"the command has {len(words)} words, more than {_MOST_WORDS}: give the llama-server command alone")
    at, assigned = split(words)
    if at is None:
        raise NoCommand("no program after `--`: write sentinel preflight -- llama-server -m model.gguf -c 4096")
    argv = tuple(words[at:])
    binary = _executable(argv[0], env)
    if not is_server_name(os.path.basename(argv[0])):  # noqa: PTH119 - a word, not yet a path
        # it would be run to query it, and other programs may do anything with these words
        raise NoCommand(f"{clean(argv[0])!r:.200} is not named llama-server: write sentinel preflight -- llama-server ...")
    whole = {**env, **assigned}
    return Command(
        argv,
        whole,
        Path.cwd(),
        binary,
        _own_place(roots),
        may_ask=binary is not None,
        wrapper=tuple(word for word in words[:at] if word not in assigned and ASSIGNMENT.match(word) is None),
        assigned=assigned,
    )


def from_process(pid: int, roots: Roots | None = None) -> Command:
    """A running process, from /proc. Raises NoCommand."""
    roots = Roots() if roots is None else roots
    process = roots.proc / str(pid)
    try:
        words = [os.fsdecode(word) for word in read_bytes(process / "cmdline").removesuffix(b"\0").split(b"\0")]
        comm = read_text(process / "comm", 64)
        member = parse_cgroup(read_text(process / "cgroup"))
        user, groups = credentials(read_text(process / "status"))
    except FileNotFoundError:
        raise NoCommand(f"there is no process {pid}: `pgrep -a llama` lists those that run") from None
    except OSError as error:
        raise NoCommand(reason(process, error)) from None
    if classify(roots, pid, comm) in (ProcessKind.OTHER, ProcessKind.LATER):
        raise NoCommand(f"process {pid} is {clean(comm)!r}, no llama-server: `pgrep -a llama` lists those that run")
    if words == [""]:
        raise NoCommand(f"process {pid} has no command line: it has ended, or it is a thread of the kernel")
    env, unreadable = environment(roots, pid)
    try:
        binary: Path | None = Path(link(process / "exe").removesuffix(" (deleted)"))
        folder = Path(link(process / "cwd"))
    except OSError:
        binary, folder = None, Path("/")
    lock = requirement.lock_limit(roots, pid, memlock_limit(roots, pid))
    return Command(
        tuple(words),
        env,
        folder,
        binary,
        Place(user, groups, member, lock, member.unit),
        pid=pid,
        env_unreadable=unreadable,
        runs=True,
        may_ask=_same_root(roots, pid) and user == os.geteuid() and binary is not None,
    )


def held_firmly(roots: Roots, pid: int) -> int | Unknown:
    """The process's unreclaimable bytes: available to its replacement, in addition to the headroom."""
    path = roots.proc / str(pid) / "status"
    try:
        values = memory_signals(read_text(path, 1 << 16))
    except OSError as error:
        return unread(path, error)
    return unreclaimable_bytes(values)


def _executable(word: str, env: Mapping[str, str]) -> Path | None:
    try:
        found = shutil.which(word, path=env.get("PATH"))
    except ValueError:
        return None
    return None if found is None else Path(found).absolute()


def _own_place(roots: Roots) -> Place:
    """Our own, which is the shell's: a command started from it gets the same groups and limits."""
    pid = os.getpid()
    try:
        member: Membership | None = parse_cgroup(read_text(roots.proc / "self/cgroup"))
    except OSError:
        member = None
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = -1 if soft == resource.RLIM_INFINITY else soft
    groups = frozenset({os.getegid(), *os.getgroups()})
    return Place(os.geteuid(), groups, member, requirement.lock_limit(roots, pid, limit))


def _same_root(roots: Roots, pid: int) -> bool:
    """The process sees the same files as we do: it is not in a container."""
    try:
        theirs, ours = (os.stat(f"{roots.proc}/{one}/root") for one in (pid, "self"))  # noqa: PTH116
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
