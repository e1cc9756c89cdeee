"""Where a log lies, and which file is which: opens the file at its path, finds one again that was renamed or copied since."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sentinel.engine.log.lines import LineSplitter
from sentinel.files.opener import Denied, Folder, NotRegular, Opener, require_regular
from sentinel.sources.logs import rotation
from sentinel.sources.logs.tail import Tail, bytes_before, digest

#: A look at the folder that took this much of a processor (100,000 names take 0.1 s) is followed by a pause of so many times it.
_LONG, _REST = 0.02, 20.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read; saved as JSON across restarts of the daemon (dataclasses.asdict).

    `offset` counts the bytes of complete lines, `n` is the number of the line that starts there, `tail` the fingerprint of the
    last bytes before it. `ino` is 0 when there was no file. `written` is the file's modification time at the last read, in ns
    since the epoch, 0 when unknown.
    """

    path: str
    dev: int
    ino: int
    offset: int
    n: int
    tail: str
    written: int = 0


class MovedError(Exception):
    """Files are being renamed right now: retry."""


class LogPlace:
    """A path, and the folder around it. `reader` opens files there: as the process that named it could, or as we can where the
    configuration names it."""

    def __init__(self, path: Path, reader: Opener, splitter: LineSplitter) -> None:
        self.reader = reader
        self._path = path
        self._splitter = splitter
        self._folder_mtime = 0
        self._rest_until = 0.0

    @property
    def rests(self) -> bool:
        """The last look at the folder was dear: the next one waits."""
        return time.monotonic() < self._rest_until

    def look_again(self) -> None:
        """Another file is read now: the folder counts as changed."""
        self._folder_mtime = 0

    def find_copy(self, offset: int, mark: str, written: int) -> Tail | None:
        """The first copy of a file that held `mark` before `offset` and was last seen modified at `written` (ns).

        Logs of the same command begin alike: only a file modified since then can be a copy of this one. Raises MovedError.
        """
        if self.rests:
            raise MovedError
        try:
            return self.look(lambda folder: self._copy_in(folder, offset, mark, written), None)
        except Denied:
            # It is open to the process by a descriptor alone.
            return None

    def _copy_in(self, folder: Folder, offset: int, mark: str, written: int) -> Tail | None:
        if (generations := rotation.settled(folder)) is None:
            raise MovedError
        for copy in generations:
            if copy.current or copy.written < written:
                continue
            try:
                fd = folder.open(copy.name)
            except (PermissionError, NotRegular):
                continue
            except FileNotFoundError:
                raise MovedError from None
            if os.fstat(fd).st_ino != copy.inode:
                os.close(fd)
                raise MovedError
            if os.fstat(fd).st_size >= offset and digest(bytes_before(fd, offset)) == mark:
                return Tail(fd, self._splitter)
            os.close(fd)
        return None

    def look(self, look: Callable[[Folder], T], otherwise: T) -> T:
        """What is found in the folder of the log; `otherwise` if there is none."""
        begun = time.thread_time()
        try:
            with self.reader.folder(str(self._path)) as folder:
                return look(folder)
        except (FileNotFoundError, NotADirectoryError):
            return otherwise
        finally:
            took = time.thread_time() - begun
            self._rest_until = time.monotonic() + _REST * took if took > _LONG else 0.0

    def displaced(self, tail: Tail, at: float) -> bool:
        """Whether another file may have succeeded the open one. Cheap: the folder is listed again only when it has changed."""
        try:
            status = self.reader.status(str(self._path))
            if (status.st_ino, status.st_dev) == (tail.ino, tail.dev):
                return False
            require_regular(status)
            if status.st_size:
                return True
        except (FileNotFoundError, NotADirectoryError):
            pass
        changed = self.look(lambda folder: folder.changed, 0)
        if changed in (0, self._folder_mtime):
            return False
        # One timestamp covers several changes within its tick (4 ms, ext4), so a recent one proves nothing yet.
        self._folder_mtime = changed if at - changed / 1e9 > 1 else 0
        return True

    def find_same(self, start: Position) -> Tail | None:
        """The file that a position is in, at its path or renamed since; None if it is gone."""
        try:
            fd = self.look(lambda folder: _opened(folder, rotation.find(folder, start.ino)), None)
        except Denied:
            fd = None
        if fd is None and (fd := self.open()) is None:
            return None
        # ext4 and tmpfs reuse the inode of a deleted file at once: only the content proves that it is the same file.
        same = os.fstat(fd).st_ino == start.ino and os.fstat(fd).st_size >= start.offset
        if same and digest(bytes_before(fd, start.offset)) == start.tail:
            return Tail(fd, self._splitter)
        os.close(fd)
        return None

    def open(self) -> int | None:
        """The file at the path; None if there is none."""
        try:
            return self.reader.open(str(self._path))
        except (FileNotFoundError, NotADirectoryError):
            return None


def holds_the_same(fd: int, tail: Tail) -> bool:
    """Whether a file holds what was just read of the open one: it is a copy of it."""
    return tail.offset > 0 and bytes_before(fd, tail.offset) == tail.tail()


def _opened(folder: Folder, name: str | None) -> int | None:
    return None if name is None else folder.open(name)
