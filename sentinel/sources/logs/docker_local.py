"""Docker's log driver ``local``: frames of protocol buffers, as moby writes them (daemon/logger/local, plugins/logdriver).

A frame is its size as four bytes, big-endian, a LogEntry, and the size again. Of a LogEntry the line (field 3) and whether it
is a part of a longer one (field 4) are read. The file is renamed and compressed when it is full, and a new one begun.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from sentinel.engine.log.lines import LineSplitter
from sentinel.files.opener import Denied, NotRegular, Opener
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_DOCKER_BACKLOG, MOST_DOCKER_FRAME, MOST_LINE_BYTES
from sentinel.model.reading import LogLines
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.log_place import Position
from sentinel.sources.logs.tail import CHUNK, digest, printable, reason

_SIZE = struct.Struct(">I")
_LINE, _PARTIAL = 3, 4


class DockerLocal:
    """Polled source of the lines of one log of Docker's driver ``local``; used like a `LogFile`."""

    interval = 1.0
    blocking = True

    def __init__(
        self,
        path: Path,
        entity: Entity,
        *,
        start: Position | None = None,
        elapsed_base: float | None = None,
        name: str | None = None,
        limit: int = MOST_LINE_BYTES,
        reader: Opener | None = None,
    ) -> None:
        self.path = path
        self.entity = entity
        self.name = name or printable(path)
        self.more = False
        self.elapsed_base = elapsed_base
        self.reader = Opener() if reader is None else reader
        self._start = start
        self._splitter = LineSplitter(limit)
        self._fd: int | None = None
        self._offset = 0
        self._line = 1
        self._backlog_end = 0

    @property
    def missing(self) -> bool:
        """There is no file to read (yet)."""
        return self._fd is None

    def poll(self, at: float) -> Sequence[LogLines]:
        """Read new frames. Raises SourceFault if the file cannot be read or is no such log."""
        self.more = False
        try:
            if self._fd is None and not self._open():
                return []
            found = self._read(at)
            if not found and not self.more and self._replaced():
                self.close()
                self._start = None
                self.elapsed_base = None
                if self._open():
                    self._backlog_end = 0
                    found = self._read(at)
        except (Denied, NotRegular) as error:
            self.close()
            what = error if isinstance(error, NotRegular) else "no file that the container itself may read"
            raise SourceFault(f"{self.name} is {what}") from error
        except OSError as error:
            self.close()
            raise SourceFault(reason(self.name, error)) from error
        return found

    def flush(self, at: float) -> Sequence[LogLines]:
        """The last line even if it is unterminated."""
        return self._lines(self._splitter.flush(), at, backlog=False)

    def position(self) -> Position:
        """The end of the frames returned so far."""
        if self._fd is None:
            return self._start or Position(self.name, 0, 0, 0, 1, digest(b""))
        status = os.fstat(self._fd)
        return Position(self.name, status.st_dev, status.st_ino, self._offset, self._line, digest(b""), status.st_mtime_ns)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> bool:
        try:
            self._fd = self.reader.open(str(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        status = os.fstat(self._fd)
        self._offset, self._line, self._backlog_end = 0, 1, status.st_size
        if self._start is not None and self._start.ino == status.st_ino and self._start.offset <= status.st_size:
            self._offset, self._line, self._backlog_end = self._start.offset, self._start.n, 0
        elif status.st_size > MOST_DOCKER_BACKLOG:
            self._offset = self._frame_before(status.st_size, status.st_size - MOST_DOCKER_BACKLOG)
        return True

    def _frame_before(self, end: int, least: int) -> int:
        """The start of the first whole frame behind `least`: the sizes behind the frames lead back from the end."""
        at = end
        while at > least and self._fd is not None:
            data = os.pread(self._fd, 4, at - 4)
            if len(data) < 4:
                # truncated meanwhile
                break
            (size,) = _SIZE.unpack(data)
            before = at - size - 8
            if size > MOST_DOCKER_FRAME or before < least:
                break
            at = before
        return at

    def _replaced(self) -> bool:
        try:
            return self._fd is not None and self.reader.status(str(self.path)).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _read(self, at: float) -> list[LogLines]:
        if self._fd is None:
            return []
        if os.fstat(self._fd).st_size < self._offset:
            self._offset, self._line, self._backlog_end = 0, 1, 0
            self._splitter.flush()
            self.elapsed_base = None
        old = self._offset < self._backlog_end
        data = os.pread(self._fd, CHUNK, self._offset)
        if len(data) == CHUNK and CHUNK < 8 + _SIZE.unpack_from(data)[0] <= MOST_DOCKER_FRAME + 8:
            data = os.pread(self._fd, MOST_DOCKER_FRAME + 8, self._offset)
        text, used = bytearray(), 0
        for entry, used in self._frames(data):  # noqa: B007 - the end of the last whole frame
            text += entry
        self.more = used > 0 and self._offset + used < os.fstat(self._fd).st_size
        self._offset += used
        return self._lines(self._splitter.feed(bytes(text)), at, backlog=old) if text else []

    def _frames(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """The text of each whole frame, and where it ends."""
        at = 0
        while len(data) - at >= 8:
            (size,) = _SIZE.unpack_from(data, at)
            if size > MOST_DOCKER_FRAME:
                raise SourceFault(
                    f"{self.name} is no log of Docker's driver local: at byte {self._offset + at} a frame of {size} bytes"
                )
            end = at + size + 8
            if end > len(data):
                return
            if data[at : at + 4] != data[end - 4 : end]:
                raise SourceFault(f"{self.name} is damaged at byte {self._offset + at}: the two sizes of a frame differ")
            line, partial = _entry(data[at + 4 : end - 4])
            yield line if partial else line + b"\n", end
            at = end

    def _lines(self, data: bytes, at: float, *, backlog: bool) -> list[LogLines]:
        if not data:
            return []
        first, self._line = self._line, self._line + data.count(b"\n")
        return [LogLines(at, self.name, self.entity, data, "llama-server", first, backlog, self.elapsed_base)]


def _entry(data: bytes) -> tuple[bytes, bool]:
    """Line and partial mark of a LogEntry. What is cut short or of another form ends it."""
    at, line, partial = 0, b"", False
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            partial = bool(value) if number == _PARTIAL else partial
        elif kind == 2:
            size, at = _varint(data, at)
            if number == _LINE:
                line = data[at : at + size]
            at += size
        else:
            break
    return line, partial


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
