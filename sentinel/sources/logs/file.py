"""A log file that is followed through everything that happens to log files.

inotify is only a hint to look earlier: what counts is the inode and the size, and the bytes before the offset. llama-server
truncates its `--log-file` at every start (fopen "w", common/log.cpp) and never opens it again while it runs, so after a rename
by logrotate it goes on writing to the renamed file, however long.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentinel.engine.log.lines import LineSplitter
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines
from sentinel.sources.base import SourceFault
from sentinel.sources.logs import rotation
from sentinel.sources.logs.permission import Reader
from sentinel.sources.logs.tail import (
    CHUNK,
    Tail,
    TruncatedError,
    bytes_before,
    digest,
    last_line_start,
    line_start,
    open_regular,
    printable,
    reason,
)

#: Bytes taken in one poll: a backlog of gigabytes must not keep the other sources waiting.
BUDGET = 8 * CHUNK


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been read; survives a restart of the daemon as JSON (dataclasses.asdict).

    `offset` counts the bytes of complete lines, `n` is the number of the line that starts there, `tail` the fingerprint of the
    last bytes before it. `ino` is 0 when there was no file. `written` is its modification time when it was last read, in ns
    since the epoch, 0 where that is not known.
    """

    path: str
    dev: int
    ino: int
    offset: int
    n: int
    tail: str
    written: int = 0


class _MovedError(Exception):
    """Files are being renamed at this very moment: look again."""


class LogFile:
    """Polled source of the lines of one log file.

    `start` resumes where a saved position ends: lines written meanwhile are news. Without it what the file holds at first is
    `backlog`, of which the last `max_backlog` bytes are read, or nothing with `from_end`. `limit` is the longest line in bytes.
    """

    interval = 1.0
    blocking = False

    def __init__(
        self,
        path: Path,
        entity: Entity,
        *,
        kind: str = "llama-server",
        start: Position | None = None,
        from_end: bool = False,
        max_backlog: int = 64 << 20,
        elapsed_base: float | None = None,
        limit: int = 65536,
        reader: Reader | None = None,
        name: str | None = None,
    ) -> None:
        self.path = path
        self.entity = entity
        self.name = name or printable(path)
        #: there is more to read: poll again at once
        self.more = False
        #: bytes at the start of a large file that were never read
        self.skipped_bytes = 0
        #: when the server's own clock stood at zero; forgotten when the file begins anew, for that means a new process
        self.elapsed_base = elapsed_base
        #: who must be able to read the file too, where somebody else than the configuration named it
        self.reader = reader
        self._kind = kind
        self._max_backlog = max_backlog
        self._from_end = from_end
        self._splitter = LineSplitter(limit)
        self._start = start
        #: nothing is known yet of what the file held before: what it holds at the first look is backlog
        self._fresh = start is None
        self._backlog_end = 0
        self._tail: Tail | None = None
        self._bytes = 0
        #: modification time of the file when it was last read, for telling a fresh copy of it from an older one
        self._read_mtime = 0
        self._folder_mtime = 0
        #: inode of the file that was truncated while a copy of it is being read, 0 where none is
        self._truncated_ino = 0

    @property
    def missing(self) -> bool:
        """There is no file to read (yet), which is not a fault: a server opens its log when it starts."""
        return self._tail is None

    @property
    def cut(self) -> int:
        """Lines that were longer than the limit and lost their end."""
        return self._splitter.cut

    def poll(self, at: float) -> Sequence[LogLines]:
        """Read what is new. Raises SourceFault where the file cannot be read; lines read before that are returned first."""
        found: list[LogLines] = []
        self.more = False
        end = self._bytes + BUDGET
        try:
            while not self.more and self._advance(at, found):
                self.more = self._bytes >= end
        except OSError as error:
            if not found:
                self._forget()
                raise SourceFault(reason(self.name, error)) from error
        except ValueError as error:
            # a NUL or a lone surrogate in the name
            if not found:
                raise SourceFault(
                    f"{self.name!r} is no name that a file can have ({error}); give llama-server another"
                ) from error
        except SourceFault:
            if not found:
                raise
        return found

    def flush(self, at: float) -> Sequence[LogLines]:
        """The last line although it has no end, for example because its writer is dead."""
        found: list[LogLines] = []
        if self._tail is not None:
            self._add(found, self._tail.rest(), at)
        return found

    def position(self) -> Position:
        """Where the lines returned so far end."""
        if (tail := self._tail) is None:
            return self._start or Position(self.name, 0, 0, 0, 1, digest(b""))
        return Position(self.name, tail.dev, tail.ino, tail.consumed, tail.line, tail.mark(), self._read_mtime)

    def close(self) -> None:
        """Give the file back; the next poll would go on at the same place."""
        self._forget()

    def _advance(self, at: float, found: list[LogLines]) -> bool:
        """One step: open, read a batch, restart after truncation, or move to the next file. False when all is read."""
        if (tail := self._tail) is None:
            try:
                self._tail = self._open_first()
            except _MovedError:
                return False
            self._fresh = False
            return self._tail is not None
        try:
            if self._read(tail, at, found):
                return True
        except TruncatedError:
            return self._finish_truncated(tail, at, found)
        return self._move_on(tail, at, found)

    def _read(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        begin = tail.offset
        old = begin < self._backlog_end
        status = os.fstat(tail.fd)
        lines = tail.read(min(CHUNK, self._backlog_end - begin) if old else CHUNK)
        self._read_mtime = status.st_mtime_ns
        if lines is None:
            return False
        self._bytes += tail.offset - begin
        self._add(found, lines, min(at, status.st_mtime) if old else at, backlog=old)
        return True

    def _add(self, found: list[LogLines], lines: tuple[bytes, int] | None, at: float, *, backlog: bool = False) -> None:
        if lines is None or not lines[0]:
            return
        data, first = lines
        found.append(LogLines(at, self.name, self.entity, data, self._kind, first, backlog, self.elapsed_base))

    def _finish_truncated(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        """Go on in the copy of what was truncated away, where logrotate's copytruncate left one, else at the new beginning.

        What was copied and truncated after that copy comes after it, as after a rename. False while files are being renamed.
        """
        copy = None
        if tail.consumed > 0:
            try:
                copy = self._find_copy(tail.consumed, tail.mark(), self._read_mtime)
            except _MovedError:
                return False
        if copy is not None:
            self._truncated_ino = tail.ino
            copy.seek(tail.consumed, tail.line)
            tail.close()
            self._tail = copy
        else:
            self._add(found, tail.rest(), at)
            tail.restart()
            self.elapsed_base = None
        self._backlog_end = 0
        self._folder_mtime = 0
        return True

    def _find_copy(self, offset: int, mark: str, written: int) -> Tail | None:
        """The first copy that was made of a file that held `mark` before `offset` and was last seen written to at `written` (ns).

        Logs of the same command begin alike: only what was written to since can be a copy of this file. Raises _MovedError.
        """
        if (generations := rotation.settled(self.path)) is None:
            raise _MovedError
        for copy in generations:
            if copy.current or copy.written < written:
                continue
            try:
                fd = self._open(copy.file)
            except (PermissionError, SourceFault):
                continue
            if fd is None or os.fstat(fd).st_ino != copy.inode:
                if fd is not None:
                    os.close(fd)
                raise _MovedError
            if os.fstat(fd).st_size >= offset and digest(bytes_before(fd, offset)) == mark:
                return Tail(fd, self._splitter)
            os.close(fd)
        return None

    @staticmethod
    def _holds_the_same(fd: int, tail: Tail) -> bool:
        return tail.offset > 0 and bytes_before(fd, tail.offset) == tail.tail()

    def _move_on(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        """At the end of the open file: go over to the file that came after it. False when there is none."""
        if not self._displaced(tail, at) or not (later := rotation.successors(self.path, tail.ino, self._read_mtime)):
            return False
        self._folder_mtime = 0
        # Its writer has gone over to the new file, but between the end we saw and the rename it wrote to the old one.
        if self._read_quietly(tail, at, found):
            return True
        for following in later:
            fd = self._open(following.file)
            if fd is None:
                return False
            if os.fstat(fd).st_ino != following.inode:
                # The names have moved on since they were listed.
                os.close(fd)
                return True
            if following.current or not self._holds_the_same(fd, tail):
                break
            # A copy of the open file that somebody put beside it.
            os.close(fd)
        else:
            return False
        self._go_over(tail, fd, at, found, later)
        return True

    def _go_over(self, tail: Tail, fd: int, at: float, found: list[LogLines], later: list[rotation.Generation]) -> None:
        """Read on in `fd`, unless it was copied and truncated since `later` was listed: then the copy comes first."""
        copied = os.fstat(fd).st_ino == self._truncated_ino and self._holds_the_same(fd, tail)
        if not copied:
            self._add(found, tail.rest(), at)
        following = Tail(fd, self._splitter)
        if copied:
            # The copy that we have just read is still being made: it is not truncated yet.
            following.seek(tail.consumed, tail.line)
        else:
            following.restart()
        written = self._read_mtime
        self._backlog_end = 0
        self.elapsed_base = None
        news: list[LogLines] = []
        begun = self._read(following, at, news) or copied
        if begun and rotation.successors(self.path, tail.ino, written) == later:
            found += news
            tail.close()
            self._tail = following
        else:
            following.close()
            self._splitter.flush()
            self._read_mtime = written

    def _displaced(self, tail: Tail, at: float) -> bool:
        """Another file may have come after the open one. Cheap: the folder is listed again only when it has changed."""
        try:
            status = self.path.stat()
            if (status.st_ino, status.st_dev) == (tail.ino, tail.dev):
                return False
            if status.st_size:
                return True
        except (FileNotFoundError, NotADirectoryError):
            pass
        try:
            folder = Path(os.path.realpath(self.path)).parent.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if folder.st_mtime_ns == self._folder_mtime:
            return False
        # A time stamp is good for several changes within its tick (4 ms, ext4), so a young one says nothing yet.
        self._folder_mtime = folder.st_mtime_ns if at - folder.st_mtime > 1 else 0
        return True

    def _read_quietly(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        try:
            return self._read(tail, at, found)
        except TruncatedError:
            return False

    def _open_first(self) -> Tail | None:
        if self._start is not None and (resumed := self._resume(self._start)) is not None:
            return resumed
        fd = self._open(self.path)
        if fd is None:
            return None
        tail = Tail(fd, self._splitter)
        size = os.fstat(fd).st_size
        begin = 0
        if self._fresh and self._from_end:
            begin = last_line_start(fd, size)
        elif size > self._max_backlog:
            begin = line_start(fd, size - self._max_backlog)
            self.skipped_bytes += begin
        if begin:
            tail.seek(begin, 1)
        else:
            tail.restart()
        self._backlog_end = size if self._fresh else 0
        return tail

    def _resume(self, start: Position) -> Tail | None:
        """The file that `start` is a position of, at its path, renamed or copied since, opened there; None when it is gone."""
        if start.ino <= 0 or start.offset < 0:
            return None
        tail = self._same_file(start)
        if tail is None and start.offset > 0 and start.written > 0:
            tail = self._find_copy(start.offset, start.tail, start.written)
        if tail is not None:
            self._read_mtime = start.written
            tail.seek(start.offset, start.n)
        return tail

    def _same_file(self, start: Position) -> Tail | None:
        if (file := rotation.find(self.path, start.ino)) is None or (fd := self._open(file)) is None:
            return None
        # The inode of a deleted file is given to the next new one at once (ext4, tmpfs): only the content proves it the same.
        same = os.fstat(fd).st_ino == start.ino and os.fstat(fd).st_size >= start.offset
        if same and digest(bytes_before(fd, start.offset)) == start.tail:
            return Tail(fd, self._splitter)
        os.close(fd)
        return None

    def _open(self, path: Path) -> int | None:
        fd = open_regular(path)
        if fd is not None and self.reader is not None and not self.reader.may_read(fd, path):
            os.close(fd)
            where = printable(path)
            raise SourceFault(
                f"{where} is no file that the llama-server itself may read, so it is not read for it", "give it a log of its own"
            )
        return fd

    def _forget(self) -> None:
        if self._tail is not None:
            self._start = self.position()
            self._tail.close()
            self._tail = None
