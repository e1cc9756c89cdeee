"""Notices that a known program is being started: inotify reports each exec(2) of a file as an open.

For machines on which the kernel's process events are not to be had (proc_events.py). It takes no right but to read the file, and
says neither who starts it nor how that ends: what is new in /proc is looked at right away, several times, because the file is
opened before the process has become the program.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator, Mapping

from sentinel.model.input_limits import MOST_WATCHED_PROGRAMS
from sentinel.sources.base import NotHere
from sentinel.sources.processes.identify import is_server_name
from sentinel.sources.processes.unit_files import UNIT_FOLDERS, commands

#: inotify(7)
_IN_OPEN = 0x20
_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK


class ProgramFiles:
    """Watches on program files. Raises NotHere where inotify is not to be had."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(_CLOEXEC_NONBLOCK)
        if self._fd < 0:
            raise NotHere(f"programs cannot be watched for starts ({os.strerror(ctypes.get_errno())})")
        self._watched: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, path: str) -> None:
        """Watch a program; nothing happens where it is not there, cannot be read, or is watched already."""
        try:
            status = os.stat(path)  # noqa: PTH116 - may be a path through /proc/PID/root
        except (OSError, ValueError):
            return
        key = (status.st_dev, status.st_ino)
        if key in self._watched or len(self._watched) >= MOST_WATCHED_PROGRAMS:
            return
        if self._libc.inotify_add_watch(self._fd, os.fsencode(path), _IN_OPEN) >= 0:
            self._watched.add(key)

    def fileno(self) -> int:
        """For select(2)."""
        return int(self._fd)

    def read(self) -> bool:
        """Whether a program was opened since. A reader of the file (cp, sha256sum) opens it as well: it costs one look."""
        found = False
        while True:
            try:
                found = bool(os.read(self._fd, 4096)) or found
            except OSError:
                return found

    def close(self) -> None:
        """End all watches."""
        os.close(self._fd)


def installed(environ: Mapping[str, str], unit_folders: Iterable[str] = UNIT_FOLDERS) -> Iterator[str]:
    """llama-servers of this machine that may be started: on the search path, and those that units name."""
    folders = [*environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin"]
    for folder in dict.fromkeys(folder for folder in folders if folder.startswith("/")):
        try:
            with os.scandir(folder) as entries:
                yield from (entry.path for entry in entries if is_server_name(entry.name))
        except OSError:
            continue
    for _unit, words in commands(unit_folders):
        yield from (word for word in words if word.startswith("/") and is_server_name(word.rpartition("/")[2]))
