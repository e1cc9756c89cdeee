"""The program that looks at processes as they start: a child of the daemon, without anything of it but this file.

A process whose library is missing is gone after half a millisecond. In the daemon a thread waits for Python's lock, up to 240 ms
where the thread that holds it has lost its processor to others: at a load of 13 to 25 on two cores 128 of 160 such starts were
looked at in time, by this program 200 of 200. It runs before all others where it may (SCHED_FIFO), some 20 microseconds for each
program that is started, and imports only what is a part of the interpreter: 3.7 MB.

It gets a subscription to the kernel's process events (processes/proc_events.py). Standard output takes what was
seen, standard input brings what to look for, both in frames: four bytes of length, and what `marshal` makes of a tuple. It ends
with its standard input.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import posix
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: files, links, and device and inode of links, by their paths
ProcessReads = tuple[dict[str, bytes], dict[str, str], dict[str, tuple[int, int]]]
#: In the name of every llama-server's program or process (llama/runtime_table.py); what it is exactly, the daemon finds out.
NAMES = ("llama", "kobold")
#: What an ending process loses first comes first (kernel/exit.c: do_exit): its memory, its files, its namespaces.
OUTPUTS = ("fd/2", "fd/1")
#: A process can make these two wait (a page of its own on a file system of its own).
MEMORY = ("cmdline", "environ")
LINKS = ("cwd", "ns/mnt", "ns/user", "ns/net")
FILES = ("status", "stat", "cgroup", "limits")
MOST_BYTES = 1 << 20
#: include/uapi/linux/cn_proc.h; where an event begins, and its own fields
EXEC, EXIT = 0x00000002, 0x80000000
EVENT_AT, FIELDS_AT, WHOLE = 36, 52, 68
#: Events that are read without a pause, in which others get the processor; ends that are kept for whoever asks for them later.
_MOST_AT_ONCE, _MOST_ENDS = 256, 512
#: For what is read of one process. Seconds.
_PATIENCE = 1


def named(process: str, kept: ProcessReads, programs: frozenset[str]) -> bool:
    """Whether it may be a server, by its program's file and its name."""
    files, links, _ = kept
    read_link(process, "exe", links)
    read_file(process, "comm", files)
    program = links.get(f"{process}/exe", "")
    name = program.rpartition("/")[2] + files.get(f"{process}/comm", b"").decode("latin-1")
    return any(word in name for word in NAMES) or program in programs


def keep(process: str, kept: ProcessReads) -> None:
    """Read what else identifies it, in 0.2 ms."""
    files, links, identities = kept
    for name in OUTPUTS:
        read_link(process, name, links)
    for name in MEMORY:
        read_file(process, name, files)
    for name in OUTPUTS:
        try:
            status = posix.stat(f"{process}/{name}")
        except OSError:
            continue
        identities[f"{process}/{name}"] = status.st_dev, status.st_ino
    for name in LINKS:
        read_link(process, name, links)
    for name in FILES:
        read_file(process, name, files)


def read_link(process: str, name: str, links: dict[str, str]) -> None:
    """Its target, where it has one."""
    path = f"{process}/{name}"
    try:
        links[path] = posix.readlink(path)
    except OSError:
        return


def read_file(process: str, name: str, files: dict[str, bytes]) -> None:
    """What it holds, where it can be read."""
    path = f"{process}/{name}"
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return
    data = b""
    try:
        while len(data) < MOST_BYTES and (part := posix.read(descriptor, 1 << 16)):
            data += part
        if data or name != "cmdline":
            # Without words it is amid its exec: whoever asks reads it again.
            files[path] = data
    except OSError:
        return
    finally:
        posix.close(descriptor)


def frame(*what: Any) -> bytes:
    """For a pipe between the daemon and this program."""
    body = marshal.dumps(what)
    return len(body).to_bytes(4, "little") + body


def frames(held: bytearray) -> Iterable[Any]:
    """The whole frames at the beginning of what was read; they are taken out of it."""
    while len(held) >= 4 and len(held) - 4 >= (size := int.from_bytes(held[:4], "little")):
        body = bytes(held[4 : 4 + size])
        del held[: 4 + size]
        yield marshal.loads(body)  # noqa: S302 (of our own daemon or child)


class Lookout:
    """What it has seen, and what it is to look for."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._programs: frozenset[str] = frozenset()
        #: processes whose ends the daemon wants to know
        self._wanted: set[int] = set()
        self._looked: set[int] = set()
        #: how others ended, the last ones
        self._ends: dict[int, int] = {}

    def asked(self, programs: Iterable[str], pids: Iterable[int]) -> bytes:
        """What to look for from now on; the ends of those that were over before."""
        self._programs, self._wanted = frozenset(programs), set(pids)
        return b"".join(frame("end", pid, self._ends.pop(pid)) for pid in self._wanted & self._ends.keys())

    def event(self, data: bytes) -> bytes:
        """One event of the kernel, and what the daemon hears of it."""
        kind = int.from_bytes(data[EVENT_AT : EVENT_AT + 4], sys.byteorder)
        pid = int.from_bytes(data[FIELDS_AT : FIELDS_AT + 4], sys.byteorder)
        if kind == EXEC:
            return self._execed(pid)
        if kind == EXIT and len(data) >= WHOLE:
            return self._ended(pid, int.from_bytes(data[FIELDS_AT + 8 : FIELDS_AT + 12], sys.byteorder))
        return b""

    def _execed(self, pid: int) -> bytes:
        process = f"{self._proc}/{pid}"
        self._ends.pop(pid, None)
        kept: ProcessReads = ({}, {}, {})
        if not named(process, kept, self._programs):
            return b""
        # Whoever makes a read wait ends this program with it; the daemon starts it again.
        _signal.alarm(_PATIENCE)
        keep(process, kept)
        _signal.alarm(0)
        self._looked.add(pid)
        return frame("start", pid, *kept)

    def _ended(self, pid: int, code: int) -> bytes:
        if pid in self._looked or pid in self._wanted:
            self._looked.discard(pid)
            return frame("end", pid, code)
        if len(self._ends) >= _MOST_ENDS:
            del self._ends[next(iter(self._ends))]
        self._ends[pid] = code
        return b""


def at_once() -> None:
    """Before all other programs, where that is allowed: root, or a unit with LimitRTPRIO=. Else by the short slice that it was
    started with (processes/short_slice.py)."""
    try:
        posix.sched_setscheduler(0, posix.SCHED_FIFO | posix.SCHED_RESET_ON_FORK, posix.sched_param(1))
    except OSError:
        return


def write(data: bytes) -> None:
    """All of it, to the daemon."""
    while data:
        data = data[posix.write(1, data) :]


def main(proc: str, subscription: int) -> None:
    """Until the daemon closes its end."""
    at_once()
    events = _socket.socket(fileno=subscription)
    looker, held = Lookout(proc), bytearray()
    wait = select.poll()
    wait.register(0, select.POLLIN)
    wait.register(subscription, select.POLLIN)
    write(frame("ready", posix.getpid()))
    while True:
        ready = {descriptor for descriptor, _ in wait.poll()}
        if 0 in ready:
            part = posix.read(0, 1 << 16)
            if not part:
                return
            held += part
            for programs, pids in frames(held):
                write(looker.asked(programs, pids))
        if subscription in ready:
            _read(events, looker)


def _read(events: _socket.socket, looker: Lookout) -> None:
    for _ in range(_MOST_AT_ONCE):
        try:
            data, (sender, _groups) = events.recvfrom(8192)
        except OSError:
            # Nothing more; or ENOBUFS: the kernel had more to report than the buffer holds. /proc is listed once a second anyway.
            return
        if sender == 0 and len(data) >= FIELDS_AT + 8 and (said := looker.event(data)):
            write(said)
    # A build on many cores: the others get the processor.
    select.poll().poll(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
