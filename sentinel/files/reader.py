"""Opens files that a process names, with its rights, where it sees them.

The service may read every file (CAP_DAC_READ_SEARCH), and any user may start a llama-server with ``--log-file /etc/shadow``, a
path below somebody's private home, or somebody's named pipe: what the process could not open itself is not opened for it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sentinel.files.opener import Denied, Folder, Opener
from sentinel.files.rights import READ, SEARCH, Rights
from sentinel.files.walk import Found, open_root, walk
from sentinel.model.input_limits import MOST_DESCRIPTORS

_STICKY_FOR_ALL = stat.S_ISVTX | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Reader(Opener):
    """Opens what a process names, as it could itself: with its rights, in its mount namespace, below its root folder.

    `process` is /proc/PID; `started` its start in clock ticks, to distinguish it from a later one with the same id. A path below
    ``/proc/PID/root`` or of ``/proc/PID/fd`` is what the process sees there. After its end paths are those of our own namespace.
    """

    process: Path
    rights: Rights
    started: bytes = b""
    #: its root folder and mounts are ours
    here: bool = True

    @classmethod
    def of(cls, proc: Path, pid: int) -> Reader:
        """The process with this id, as it is now."""
        process = proc / str(pid)
        return cls(process, Rights.of(process), _started(process), _sees_the_same(process))

    @property
    def user(self) -> int:
        """Its user; -1 if unknown."""
        return self.rights.user

    def open(self, path: str) -> int:
        """See Opener. Raises Denied for what the process may not open."""
        if (descriptor := self._descriptor(path)) is not None:
            return self._open_descriptor(descriptor)
        try:
            with self._found(path) as found:
                if found.fd < 0:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                return self._regular(found.fd)
        except Denied:
            if (descriptor := self._held(path)) is None:
                raise
            return self._open_descriptor(descriptor)

    def status(self, path: str) -> os.stat_result:
        """See Opener."""
        if self._descriptor(path) is not None:
            return os.stat(path)  # noqa: PTH116
        try:
            with self._found(path) as found:
                return found.status
        except Denied:
            if (descriptor := self._held(path)) is not None:
                return os.stat(f"{self.process}/fd/{descriptor}")  # noqa: PTH116
            if _started(self.process) != self.started:
                raise FileNotFoundError(errno.ENOENT, "the process has ended", path) from None
            raise

    @contextmanager
    def folder(self, path: str) -> Iterator[Folder]:
        """See Opener. What only a descriptor leads to has none: FileNotFoundError."""
        if self._descriptor(path) is not None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        with self._found(path, may_be_missing=True) as found:
            yield Folder(found.folder, found.name, self)

    def listing(self, path: str, most: int) -> list[str]:
        """Names in a folder, so many at most; none if the process may not list it. Raises OSError."""
        with self._found(path) as found:
            return list(islice(Folder(found.fd, "", self).names(), most)) if found.fd >= 0 and self.may_list(found.fd) else []

    def may_list(self, folder: int) -> bool:
        """See Opener."""
        return self.rights.may(folder, os.fstat(folder), READ)

    @contextmanager
    def _found(self, path: str, *, may_be_missing: bool = False) -> Iterator[Found]:
        root, inner = self._root(path)
        try:
            found = walk(inner, root, root, self._search, self._follow, may_be_missing=may_be_missing)
        finally:
            os.close(root)
        try:
            yield found
        finally:
            found.close()

    def _root(self, path: str) -> tuple[int, str]:
        """The folder in which the path begins, opened, and the path from there."""
        through = f"{self.process}/root/"
        inner = path.removeprefix(through.rstrip("/")) if path.startswith(through) else path
        if self.here and inner == path:
            return open_root(), path
        with suppress(OSError):
            root = os.open(f"{self.process}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if _started(self.process) == self.started:
                return root, inner
            os.close(root)
        if inner != path:
            raise FileNotFoundError(errno.ENOENT, "the process has ended", path)
        return open_root(), path

    def _descriptor(self, path: str) -> str | None:
        name = path.removeprefix(f"{self.process}/fd/")
        return name if name != path and name.isdecimal() else None

    def _open_descriptor(self, number: str) -> int:
        fd = os.open(self.process / "fd" / number, os.O_PATH | os.O_CLOEXEC)
        try:
            if _started(self.process) != self.started:
                raise FileNotFoundError(errno.ENOENT, "the process has ended", number)
            return self._regular(fd)
        finally:
            os.close(fd)

    def _search(self, fd: int, status: os.stat_result) -> None:
        if not self.rights.may(fd, status, SEARCH):
            raise Denied(errno.EACCES, os.strerror(errno.EACCES))

    def _follow(self, fd: int, status: os.stat_result, folder: os.stat_result) -> None:
        # fs.protected_symlinks: in a folder like /tmp it follows its own links and those of the folder's owner only.
        if folder.st_mode & _STICKY_FOR_ALL == _STICKY_FOR_ALL and status.st_uid not in (self.user, folder.st_uid):
            raise Denied(errno.EACCES, os.strerror(errno.EACCES))

    def _read(self, fd: int, status: os.stat_result) -> None:
        if not self.rights.may(fd, status, READ) and not self._holds(status):
            raise Denied(errno.EACCES, os.strerror(errno.EACCES))

    def _holds(self, status: os.stat_result) -> bool:
        """Whether it has the file open: for reading, or as its output, for example after a redirection in a root shell."""
        wanted = (status.st_dev, status.st_ino)
        for descriptor in self._descriptors():
            with suppress(OSError, ValueError):
                held = os.stat(f"{self.process}/fd/{descriptor}")  # noqa: PTH116
                if (held.st_dev, held.st_ino) == wanted and self._opened(descriptor):
                    return True
        return False

    def _held(self, path: str) -> str | None:
        """The descriptor in which it has the file of this name open, although it may not look it up."""
        for descriptor in self._descriptors():
            with suppress(OSError, ValueError):
                if os.readlink(f"{self.process}/fd/{descriptor}") == path and self._opened(descriptor):  # noqa: PTH115
                    return descriptor
        return None

    def _descriptors(self) -> list[str]:
        try:
            with os.scandir(self.process / "fd") as entries:
                found = [entry.name for _, entry in zip(range(MOST_DESCRIPTORS), entries, strict=False)]
        except OSError:
            return []
        return found if _started(self.process) == self.started else []

    def _opened(self, descriptor: str) -> bool:
        with (self.process / "fdinfo" / descriptor).open("rb") as file:
            flags = next((int(line.split()[1], 8) for line in file if line.startswith(b"flags:")), os.O_PATH)
        if flags & os.O_PATH:
            return False
        return flags & os.O_ACCMODE != os.O_WRONLY or descriptor in ("1", "2")


def _started(process: Path) -> bytes:
    """When it was started, in clock ticks since the boot (proc(5), 22); empty if it has ended."""
    try:
        with (process / "stat").open("rb") as file:
            text = file.read(4096)
        return text[text.rfind(b")") + 2 :].split()[19]
    except (OSError, IndexError):
        return b""


def _sees_the_same(process: Path) -> bool:
    """Whether its root folder and mounts are ours; true where that cannot be seen."""
    ours = process.parent / "self"
    try:
        mounts, root = (os.readlink(one / "ns/mnt") for one in (process, ours)), Path("/").stat()  # noqa: PTH115
        theirs = os.stat(f"{process}/root")  # noqa: PTH116
        return len(set(mounts)) == 1 and (theirs.st_dev, theirs.st_ino) == (root.st_dev, root.st_ino)
    except OSError:
        return True
