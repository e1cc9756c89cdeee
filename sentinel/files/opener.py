"""Opens files that somebody else names: regular files only, known before they are opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sentinel.files.walk import open_root, reopen, walk

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe, and reading it would take the lines away from its reader"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotRegular(Exception):
    """What stands at the path is no regular file, and was not opened. The text says what it is: "a directory"."""


class Denied(PermissionError):
    """The process that named the file may not open it."""


def require_regular(status: os.stat_result) -> None:
    """Raises NotRegular for anything but a regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(next((text for test, text in _KINDS if test(status.st_mode)), "not a regular file"))


class Opener:
    """Opens what the configuration or the user of the command names, with our own rights."""

    def open(self, path: str) -> int:
        """A regular file, opened for reading. Raises OSError, NotRegular, ValueError for what is no name."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            return self._regular(fd)
        finally:
            os.close(fd)

    def status(self, path: str) -> os.stat_result:
        """Of what stands at the path. Raises OSError."""
        return os.stat(path)  # noqa: PTH116 - called once a second for each log

    @contextmanager
    def folder(self, path: str) -> Iterator[Folder]:
        """The folder that the file at `path` is really in. Raises OSError."""
        root = open_root()
        try:
            start = os.open(".", os.O_PATH | os.O_CLOEXEC)
            try:
                found = walk(path, root, start, self._search, self._follow, may_be_missing=True)
            finally:
                os.close(start)
        finally:
            os.close(root)
        try:
            yield Folder(found.folder, found.name, self)
        finally:
            found.close()

    def open_in(self, folder: int, name: str) -> int:
        """A regular file in an open folder; no link. Raises OSError, NotRegular."""
        self._search(folder, os.fstat(folder))
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            return self._regular(fd)
        finally:
            os.close(fd)

    def may_list(self, folder: int) -> bool:
        """Whether the names in the folder may be read."""
        del folder
        return True

    def _regular(self, fd: int) -> int:
        status = os.fstat(fd)
        require_regular(status)
        self._read(fd, status)
        try:
            return reopen(fd)
        except OSError as error:
            # without the name, which is that of our descriptor
            raise OSError(error.errno, error.strerror) from None

    def _search(self, fd: int, status: os.stat_result) -> None:
        """Judges a folder in which something is looked up. The kernel does, for us."""

    def _follow(self, fd: int, status: os.stat_result, folder: os.stat_result) -> None:
        """Judges a symbolic link in a folder."""

    def _read(self, fd: int, status: os.stat_result) -> None:
        """Judges a file that is about to be read."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder, and the name in it that was asked for."""

    fd: int
    name: str
    _opener: Opener

    def open(self, name: str) -> int:
        """A regular file in it, opened for reading. Raises OSError, NotRegular."""
        return self._opener.open_in(self.fd, name)

    def status(self, name: str) -> os.stat_result:
        """Of a file in it; of a link itself. Raises OSError."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    @property
    def changed(self) -> int:
        """When a name in it last changed, in ns since the epoch."""
        return os.fstat(self.fd).st_mtime_ns

    def names(self) -> Iterator[str]:
        """The names in it; only the one that was asked for if it may not be listed."""
        if not self._opener.may_list(self.fd):
            yield self.name
            return
        try:
            listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        except PermissionError:
            yield self.name
            return
        try:
            with os.scandir(listed) as entries:
                for entry in entries:
                    yield entry.name
        finally:
            os.close(listed)
