"""Whether a process itself may read the file that it names as its log.

The service may read every file (CAP_DAC_READ_SEARCH), and any user may start a llama-server with ``--log-file /etc/shadow``:
what the process's owner cannot read must not leak through sentinel's socket.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sentinel.sources.fs import file_identity, link, read_text
from sentinel.sources.processes.procfs import credentials

#: Opens the path only (O_PATH), which needs no read permission (open(2)).
_O_PATH = os.O_PATH


@dataclass(frozen=True, slots=True)
class Reader:
    """Credentials of a process when it was checked. `user` is -1 when unreadable: it may read what everyone may."""

    process: Path
    user: int
    groups: frozenset[int]

    @classmethod
    def of(cls, proc: Path, pid: int) -> Reader:
        """The process with this id."""
        process = proc / str(pid)
        try:
            return cls(process, *credentials(read_text(process / "status")))
        except OSError:
            return cls(process, -1, frozenset())

    def may_read(self, fd: int, path: Path) -> bool:
        """Whether it may read the open file `fd`, found at `path`: by owner and mode of the file and its folders, or because it
        holds the file open itself, as after a redirection in a root shell. ACLs are ignored.
        """
        # A process with sentinel's own user gains nothing through it; root's processes may read anything.
        return self.user in (0, os.geteuid()) or self._by_mode(fd, path) or self._holds(fd)

    def _by_mode(self, fd: int, path: Path) -> bool:
        real = Path(link(f"/proc/self/fd/{fd}"))
        try:
            if file_identity(real) != _identity(fd):
                real = path
        except OSError:
            # deleted, or in a mount namespace of its own
            real = path
        try:
            return self._allowed(os.fstat(fd), 4) and all(self._allowed(folder.stat(), 1) for folder in real.absolute().parents)
        except OSError:
            return False

    def _allowed(self, status: os.stat_result, bit: int) -> bool:
        shift = 6 if status.st_uid == self.user else 3 if status.st_gid in self.groups else 0
        return bool(status.st_mode >> shift & bit)

    def _holds(self, fd: int) -> bool:
        wanted = _identity(fd)
        return any(identity == wanted for identity in self._held())

    def _held(self) -> Iterator[tuple[int, int]]:
        try:
            names = [entry.name for entry in (self.process / "fd").iterdir()]
        except OSError:
            return
        for name in names:
            try:
                flags = next(line for line in read_text(self.process / "fdinfo" / name).splitlines() if line.startswith("flags:"))
                if not int(flags.split()[1], 8) & _O_PATH:
                    yield file_identity(self.process / "fd" / name)
            except (OSError, StopIteration, ValueError, IndexError):
                continue


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
