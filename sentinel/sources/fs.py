"""Locations of the kernel's files, and bounded reads of them that return a value or the reason there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_FILE_BYTES
from sentinel.model.text import clean
from sentinel.sources import look


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots of the file systems a source reads."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    #: where Docker keeps what belongs to containers, if their mounts do not say it
    docker: Path = Path("/var/lib/docker/containers")
    #: where the kubelet links the logs of its containers
    pods: Path = Path("/var/log/containers")


class ProcessMoment:
    """What was read of a process (``/proc/PID``) in one moment: its name and program, which is all that most are looked at for;
    and then the rest."""

    def __init__(self, process: str, kept: look.ProcessReads | None = None) -> None:
        self._process = process
        self._kept: look.ProcessReads = kept or ({}, {}, {})
        self.files, self.links, self.identities = self._kept
        if kept is None:
            look.read_link(process, "exe", self.links)
            look.read_file(process, "comm", self.files)

    @property
    def comm(self) -> str:
        """Its kernel name; empty if it was gone."""
        return self.files.get(f"{self._process}/comm", b"").decode("utf-8", "replace").strip()

    @property
    def program(self) -> str:
        """Its program's file; empty if that could not be read."""
        return self.links.get(f"{self._process}/exe", "")

    def keep(self) -> None:
        """Read what else identifies it, in 0.2 ms."""
        look.keep(self._process, self._kept)


class _Recalled(threading.local):
    moment: ProcessMoment | None = None


_recalled = _Recalled()


@contextlib.contextmanager
def recall(moment: ProcessMoment | None) -> Iterator[None]:
    """Answer this thread's reads of the process from what was kept of it."""
    before, _recalled.moment = _recalled.moment, moment
    try:
        yield
    finally:
        _recalled.moment = before


def read_bytes(path: str | Path, limit: int = MOST_FILE_BYTES) -> bytes:
    """At most `limit` bytes of a file of the kernel. Raises OSError.

    Unbuffered: half the time, and these reads are most of the daemon's cost at rest.
    """
    if _recalled.moment is not None and (known := _recalled.moment.files.get(str(path))) is not None:
        return known[:limit]
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        parts, size = [], 0
        # /proc returns whole records: a short read is not the end of the file, an empty one is.
        while size < limit and (part := os.read(descriptor, min(limit - size, 1 << 16))):
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def link(path: str | Path) -> str:
    """Target of a symbolic link, as text that may hold surrogate escapes. Raises OSError.

    ``os.readlink``: link targets in /proc (``pipe:[4711]``, ``/a (deleted)``) are not paths for pathlib to normalise.
    """
    if _recalled.moment is not None and (known := _recalled.moment.links.get(str(path))) is not None:
        return known
    return os.readlink(path)  # noqa: PTH115


def file_identity(path: str | Path) -> tuple[int, int]:
    """Device and inode. Raises OSError."""
    if _recalled.moment is not None and (known := _recalled.moment.identities.get(str(path))) is not None:
        return known
    status = os.stat(path)  # noqa: PTH116 - a Path for each descriptor would cost more than the call
    return status.st_dev, status.st_ino


def read_text(path: str | Path, limit: int = MOST_FILE_BYTES) -> str:
    """The file as text, stripped; bytes that are not UTF-8 are replaced. Raises OSError."""
    return read_bytes(path, limit).decode("utf-8", "replace").strip()


def unread(path: str | Path, error: OSError) -> Unknown:
    """Why a read failed, with the remedy if there is one."""
    what = os.strerror(error.errno) if error.errno else str(error)
    why = f"{path} cannot be read ({what})"
    if error.errno not in (errno.EACCES, errno.EPERM):
        return Unknown(why)
    if "/sys/" in str(path) or "/dev/" in str(path):
        return Unknown(why, "let sentinel's user read it")
    return Unknown(why, "run sentinel as the server's own user, or with CAP_SYS_PTRACE")


def reason(path: str | Path, error: OSError) -> str:
    """`unread` as one sentence."""
    found = unread(path, error)
    return f"{found.why}: {found.remedy}" if found.remedy else found.why


def read_number(path: str | Path) -> int | Unknown:
    """A file that holds one integer; anything else, including an empty file, is Unknown and never 0."""
    try:
        text = read_text(path, 4096)
    except OSError as error:
        return unread(path, error)
    try:
        return int(text)
    except ValueError:
        return Unknown(f"{path} holds {clean(text[:40])!r}, which is no number")
