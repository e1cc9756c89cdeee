"""Notices that a known program is being started: inotify reports each exec(2) of a file as an open.

For machines on which the kernel's process events are not to be had (proc_events.py). It takes no right but to read the file, and
says neither who starts it nor how that ends: what is new in /proc is looked at right away, several times, because the file is
opened before the process has become the program.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sentinel.sources.base import NotHere
from sentinel.sources.processes.identify import is_server_name

#: inotify(7)
_IN_OPEN = 0x20
_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
#: A machine has a handful of builds; each takes a watch and nothing else.
_MOST = 64
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/user")
_EXEC_START = re.compile(r"^ExecStart=[-@:+!|]*\s*(/\S+)", re.MULTILINE)
_UNIT_BYTES = 64 << 10


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
        if key in self._watched or len(self._watched) >= _MOST:
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


def installed(environ: Mapping[str, str], unit_folders: Iterable[str] = _UNIT_FOLDERS) -> Iterator[str]:
    """llama-servers of this machine that may be started: on the search path, and those that units name."""
    folders = [*environ.get("PATH", "").split(":"), "/usr/local/bin", "/usr/bin"]
    for folder in dict.fromkeys(folder for folder in folders if folder.startswith("/")):
        try:
            with os.scandir(folder) as entries:
                yield from (entry.path for entry in entries if is_server_name(entry.name))
        except OSError:
            continue
    for folder in unit_folders:
        try:
            files = [path for path in Path(folder).glob("*.service") if path.is_file()]
        except OSError:
            continue
        for file in files:
            try:
                with file.open(encoding="utf-8", errors="replace") as stream:
                    found = _EXEC_START.findall(stream.read(_UNIT_BYTES))
            except OSError:
                continue
            yield from (path for path in found if is_server_name(path.rpartition("/")[2]))
