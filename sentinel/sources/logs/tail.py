"""Reads one open log file from an offset to its end: complete lines, line numbers, a fingerprint that detects truncation.

Synchronous: it runs on a thread, because the disk or the network file system may take its time.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from sentinel.engine.log.lines import LineSplitter

#: Bytes before the offset that are kept to distinguish "grew" from "was truncated and has regrown past the offset".
FINGERPRINT = 256
#: Bytes per read, and so the size of one batch of lines. If each line is an event, the readings of a batch take many times its
#: size until they are consumed: 200,000 such lines cost 55 MB with batches of 1 MiB, 13 MB with these (measured).
CHUNK = 1 << 17
_SCAN = 1 << 16


class TruncatedError(Exception):
    """The file no longer holds what was read from it: it was truncated, and may have grown again since."""


def printable(path: Path) -> str:
    """A path as text that every encoder accepts: bytes that are not UTF-8 are escaped."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # a surrogate that escapes no byte
        return str(path).encode("utf-8", "backslashreplace").decode()


def reason(name: str, error: OSError) -> str:
    """Why the log `name` cannot be read and how to fix it, as one sentence."""
    where = printable(Path(error.filename)) if error.filename else name
    if isinstance(error, PermissionError):
        return (
            f"cannot read the log {where}: permission denied; "
            f"give sentinel's user read access to it and to its folders, for example: setfacl -m u:sentinel:r {where!r}"
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"cannot read the log {where}: no file descriptor is left; it is tried again"
    if error.errno == errno.ENAMETOOLONG:
        return f"cannot read the log {where[:80]}...: the name is too long; start llama-server with a shorter --log-file"
    return f"cannot read the log {where}: {error.strerror}; check the disk and the mount it is on, it is tried again"


def digest(tail: bytes) -> str:
    """Fingerprint of the last bytes before an offset, as stored in a saved position: 32 hex digits."""
    return hashlib.blake2b(tail, digest_size=16).hexdigest()


def bytes_before(fd: int, offset: int) -> bytes:
    """The last bytes before `offset`, at most FINGERPRINT of them, fewer where the file is shorter. Raises OSError."""
    start = max(0, offset - FINGERPRINT)
    return os.pread(fd, offset - start, start)


def line_start(fd: int, offset: int) -> int:
    """Offset of the first line that starts at or after `offset`; the end of the file when none does. Raises OSError."""
    if offset <= 0:
        return 0
    at = offset - 1
    while block := os.pread(fd, _SCAN, at):
        if (found := block.find(b"\n")) >= 0:
            return at + found + 1
        at += len(block)
    return at


def last_line_start(fd: int, size: int) -> int:
    """Start of the unterminated line at the end of a file of `size` bytes; `size` itself when unknown."""
    start = max(0, size - _SCAN)
    block = os.pread(fd, size - start, start)
    found = block.rfind(b"\n")
    if found >= 0:
        return start + found + 1
    return 0 if start == 0 else size


def _next_data(fd: int, offset: int) -> int | None:
    """Where the next bytes begin that were written, at `offset` or behind it; None if only a hole follows. Raises OSError."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.EINVAL:
            # a file system without holes
            return offset
        if error.errno != errno.ENXIO:
            raise
        return None


class Tail:
    """Reads one open file. Takes ownership of `fd`; `close` closes it."""

    def __init__(self, fd: int, splitter: LineSplitter) -> None:
        status = os.fstat(fd)
        self.fd = fd
        self.dev = status.st_dev
        self.ino = status.st_ino
        self._splitter = splitter
        self._begin(0, 1, b"")

    def _begin(self, offset: int, line: int, before: bytes) -> None:
        #: bytes read; the part after `consumed` is an unterminated line
        self.offset = offset
        #: bytes of complete lines
        self.consumed = offset
        #: number of the next line
        self.line = line
        self._read_before = before
        self._consumed_before = before
        self._splitter.flush()
        self._at_end: tuple[int, int] | None = None
        self._in_hole = offset == 0

    def seek(self, offset: int, line: int) -> None:
        """Continue at `offset`, the start of line number `line`. Raises OSError."""
        self._begin(offset, line, bytes_before(self.fd, offset))

    def restart(self) -> None:
        """Continue at the start of the same file after it was truncated.

        A writer that did not open its log for appending (llama-server's --log-file: fopen "w", common/log.cpp) continues at its
        old offset after copytruncate: the file then begins with a hole of up to gigabytes of NUL, which is skipped.
        """
        self._begin(0, 1, b"")
        if (start := _next_data(self.fd, 0)) is not None:
            self.offset = self.consumed = start

    def mark(self) -> str:
        """Fingerprint of the last bytes before `consumed`."""
        return digest(self._consumed_before)

    def tail(self) -> bytes:
        """The last bytes before `offset`, as they were read."""
        return self._read_before

    def read(self, most: int = CHUNK) -> tuple[bytes, int] | None:
        """New complete lines and the number of the first; None at the end of the file.

        The lines may be empty although something was read. Reads at most `most` bytes. Raises TruncatedError, OSError.
        """
        status = os.fstat(self.fd)
        state = (status.st_size, status.st_mtime_ns)
        if state == self._at_end:
            return None
        if status.st_size < self.offset:
            raise TruncatedError
        # One pread for the fingerprint and the new data behind it: a separate check would leave a gap in which the file
        # can be truncated.
        overlap = len(self._read_before)
        raw = os.pread(self.fd, overlap + most, self.offset - overlap)
        if not raw.startswith(self._read_before):
            raise TruncatedError
        if len(raw) == overlap:
            self._at_end = state
            return None
        if raw.count(b"\0", overlap) == len(raw) - overlap:
            # Nothing of a line has been read: these bytes belong to none.
            self._in_hole = self._in_hole or self.consumed == self.offset
            if self._skip_hole(status.st_size):
                return b"", self.line
        return self._take(raw, overlap)

    def _skip_hole(self, size: int) -> bool:
        """Continue behind the hole at the offset; False if what stands there was written.

        A file of 200 GB that takes no block on the disk (`truncate -s +200G`) is skipped in one step.
        """
        data = _next_data(self.fd, self.offset)
        data = size if data is None else data
        if data <= self.offset:
            return False
        if self.consumed == self.offset:
            self.consumed = data
            self._consumed_before = bytes_before(self.fd, data)
        self.offset = data
        self._read_before = bytes_before(self.fd, data)
        return True

    def _take(self, raw: bytes, overlap: int) -> tuple[bytes, int]:
        # A lone \r ends a line too, as in LineSplitter.
        end = max(raw.rfind(b"\n", overlap), raw.rfind(b"\r", overlap)) + 1
        if end:
            self.consumed = self.offset + end - overlap
            self._consumed_before = raw[max(0, end - FINGERPRINT) : end]
        news = raw[overlap:]
        self.offset += len(news)
        self._read_before = raw[-FINGERPRINT:]
        if self._in_hole:
            news = news.lstrip(b"\0")
            self._in_hole = not news
            if self._in_hole:
                self.consumed, self._consumed_before = self.offset, self._read_before
        return self._numbered(self._splitter.feed(news))

    def rest(self) -> tuple[bytes, int] | None:
        """The unterminated last line; None when there is none."""
        self.consumed = self.offset
        self._consumed_before = self._read_before
        data = self._splitter.flush()
        return self._numbered(data) if data else None

    def _numbered(self, data: bytes) -> tuple[bytes, int]:
        first = self.line
        self.line += data.count(b"\n") + (not data.endswith(b"\n") if data else 0)
        return data, first

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)
