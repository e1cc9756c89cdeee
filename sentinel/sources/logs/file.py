"""Follows one log file through rotation, truncation and copying.

inotify is only a hint to poll earlier: inode, size and the bytes before the offset decide. llama-server
truncates its `--log-file` at every start (fopen "w", common/log.cpp) and never reopens it while it runs, so after a rename
by logrotate it keeps writing to the renamed file indefinitely.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from sentinel.engine.log.lines import LineSplitter
from sentinel.files.opener import Denied, Folder, NotRegular, Opener
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_LINE_BYTES
from sentinel.model.reading import LogLines
from sentinel.sources.base import SourceFault
from sentinel.sources.logs import rotation
from sentinel.sources.logs.log_place import LogPlace, MovedError, Position, holds_the_same
from sentinel.sources.logs.tail import CHUNK, Tail, TruncatedError, digest, last_line_start, line_start, printable, reason

#: Bytes read per poll: a backlog of gigabytes must not starve the other sources.
BUDGET = 8 * CHUNK
#: Seconds per poll, likewise; reached where the disk is slow or the lines are hard to split.
SECONDS = 0.25


class LogFile:
    """Polled source of the lines of one log file.

    `start` resumes at a saved position: lines written since then are new. Without it the file's initial content is
    `backlog`, of which the last `max_backlog` bytes are read, or nothing with `from_end`. `limit` is the longest line in bytes.
    """

    interval = 1.0
    blocking = True

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
        limit: int = MOST_LINE_BYTES,
        reader: Opener | None = None,
        name: str | None = None,
    ) -> None:
        self.path = path
        self.entity = entity
        self.name = name or printable(path)
        #: more data is pending: poll again at once
        self.more = False
        #: bytes at the start of a large file that were skipped
        self.skipped_bytes = 0
        #: when the server's own clock was at zero; reset when the file restarts, because that means a new process
        self.elapsed_base = elapsed_base
        self._kind = kind
        self._max_backlog = max_backlog
        self._from_end = from_end
        self._splitter = LineSplitter(limit)
        self._place = LogPlace(path, Opener() if reader is None else reader, self._splitter)
        self._start = start
        #: the file's earlier content is unknown: what it holds at the first poll is backlog
        self._fresh = start is None
        self._backlog_end = 0
        self._tail: Tail | None = None
        self._bytes = 0
        #: modification time at the last read, to distinguish a fresh copy of the file from an older one
        self._read_mtime = 0
        #: inode of the truncated file while its copy is being read, else 0
        self._truncated_ino = 0

    @property
    def reader(self) -> Opener:
        """Opens the file: as the process that named it could, or as we can where the configuration names it."""
        return self._place.reader

    @reader.setter
    def reader(self, reader: Opener) -> None:
        self._place.reader = reader

    @property
    def missing(self) -> bool:
        """There is no file to read (yet). Not a fault: a server creates its log when it starts."""
        return self._tail is None

    @property
    def cut(self) -> int:
        """Lines longer than the limit, which were truncated."""
        return self._splitter.cut

    def poll(self, at: float) -> Sequence[LogLines]:
        """Read new lines. Raises SourceFault if the file cannot be read; lines read before the fault are returned first."""
        found: list[LogLines] = []
        self.more = False
        end, late = self._bytes + BUDGET, time.monotonic() + SECONDS
        try:
            while not self.more and self._advance(at, found):
                self.more = self._bytes >= end or time.monotonic() > late
        except OSError as error:
            if not found:
                self._forget()
                raise self._fault(error) from error
        except NotRegular as error:
            if not found:
                remedy = "start llama-server with --log-file and the name of a regular file"
                raise SourceFault(f"{self.name} is {error}", remedy) from error
        except ValueError as error:
            # a NUL or a lone surrogate in the name
            if not found:
                raise SourceFault(
                    f"{self.name!r} is no name that a file can have ({error}); give llama-server another"
                ) from error
        return found

    def _fault(self, error: OSError) -> SourceFault:
        if isinstance(error, Denied):
            why = f"{self.name} is no file that the llama-server itself may read, so it is not read for it"
            return SourceFault(why, "give it a log of its own")
        return SourceFault(reason(self.name, error))

    def flush(self, at: float) -> Sequence[LogLines]:
        """The last line even if it is unterminated, for example because its writer died."""
        found: list[LogLines] = []
        if self._tail is not None:
            self._add(found, self._tail.rest(), at)
        return found

    def position(self) -> Position:
        """The end of the lines returned so far."""
        if (tail := self._tail) is None:
            return self._start or Position(self.name, 0, 0, 0, 1, digest(b""))
        return Position(self.name, tail.dev, tail.ino, tail.consumed, tail.line, tail.mark(), self._read_mtime)

    def close(self) -> None:
        """Close the file; the next poll resumes at the same position."""
        self._forget()

    def _advance(self, at: float, found: list[LogLines]) -> bool:
        """One step: open, read a batch, restart after truncation, or move to the next file. False when everything is read."""
        if (tail := self._tail) is None:
            try:
                self._tail = self._open_first()
            except MovedError:
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
        """After truncation, continue in the copy that logrotate's copytruncate left, if any, else at the new start of the file.

        Later copies follow that copy in order, as after a rename. False while files are being renamed.
        """
        copy = None
        if tail.consumed > 0:
            try:
                copy = self._place.find_copy(tail.consumed, tail.mark(), self._read_mtime)
            except MovedError:
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
        self._place.look_again()
        return True

    def _move_on(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        """At the end of the open file: switch to its successor. False when there is none."""
        if self._place.rests or not self._place.displaced(tail, at):
            return False
        return self._place.look(lambda folder: self._move_on_in(folder, tail, at, found), otherwise=False)

    def _move_on_in(self, folder: Folder, tail: Tail, at: float, found: list[LogLines]) -> bool:
        later = rotation.successors(folder, tail.ino, self._read_mtime)
        if not later:
            return False
        self._place.look_again()
        # Its writer has switched to the new file, but may have written to the old one between the EOF we saw and the rename.
        if self._read_quietly(tail, at, found):
            return True
        for following in later:
            # One that is gone ends the look: FileNotFoundError.
            fd = folder.open(following.name)
            if os.fstat(fd).st_ino != following.inode:
                # The files were renamed again after they were listed.
                os.close(fd)
                return True
            if following.current or not holds_the_same(fd, tail):
                break
            # A copy of the open file that somebody put beside it.
            os.close(fd)
        else:
            return False
        self._go_over(folder, tail, fd, at, found, later)
        return True

    def _go_over(
        self, folder: Folder, tail: Tail, fd: int, at: float, found: list[LogLines], later: list[rotation.Generation]
    ) -> None:
        """Continue in `fd`, unless it was copied and truncated since `later` was listed: then the copy comes first."""
        copied = os.fstat(fd).st_ino == self._truncated_ino and holds_the_same(fd, tail)
        if not copied:
            self._add(found, tail.rest(), at)
        following = Tail(fd, self._splitter)
        if copied:
            # The copy that we have just read is still being written: the original is not truncated yet.
            following.seek(tail.consumed, tail.line)
        else:
            following.restart()
        written = self._read_mtime
        self._backlog_end = 0
        self.elapsed_base = None
        news: list[LogLines] = []
        begun = self._read(following, at, news) or copied
        if begun and rotation.successors(folder, tail.ino, written) == later:
            found += news
            tail.close()
            self._tail = following
        else:
            following.close()
            self._splitter.flush()
            self._read_mtime = written

    def _read_quietly(self, tail: Tail, at: float, found: list[LogLines]) -> bool:
        try:
            return self._read(tail, at, found)
        except TruncatedError:
            return False

    def _open_first(self) -> Tail | None:
        if self._start is not None and (resumed := self._resume(self._start)) is not None:
            return resumed
        fd = self._place.open()
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
        """Open the file that `start` is a position in: at its path, renamed or copied since; None if it is gone."""
        if start.ino <= 0 or start.offset < 0:
            return None
        tail = self._place.find_same(start)
        if tail is None and start.offset > 0 and start.written > 0:
            tail = self._place.find_copy(start.offset, start.tail, start.written)
        if tail is not None:
            self._read_mtime = start.written
            tail.seek(start.offset, start.n)
        return tail

    def _forget(self) -> None:
        if self._tail is not None:
            self._start = self.position()
            self._tail.close()
            self._tail = None
