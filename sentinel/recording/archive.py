"""Recordings as files: stored around alerts in a folder of bounded size, and read back line by line.

A file is gzip, made of concatenated members (RFC 1952), so that data compressed in memory is written as it is.
Nothing here raises on disk errors while recording: `fault` holds the sentence, and the next alert tries again.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sentinel.model.input_limits import MOST_ROW_BYTES, MOST_UNPACKED_BYTES
from sentinel.recording import RecordingError

#: Files and bytes that are kept; the oldest go first. A file is at most some 4 MB.
KEEP_FILES = 20
KEEP_BYTES = 32 << 20
_ENDING = ".jsonl.gz"
_PART = ".part"
_NAME = re.compile(r"\d{8}T\d{6}Z[a-z0-9-]{0,100}\.jsonl\.gz\Z")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the folder. `name` has the start time (UTC) and which rule fired; `written` is seconds since the epoch."""

    name: str
    size: int
    written: float


class Archive:
    """The folder. One recording is written at a time."""

    def __init__(self, folder: Path, files: int = KEEP_FILES, size: int = KEEP_BYTES) -> None:
        self.folder = folder
        #: why recordings are not stored; empty if they are
        self.fault = ""
        self._files = files
        self._size = size
        self._writing: Path | None = None
        self._stream: BinaryIO | None = None

    def adopt(self) -> None:
        """Keep the unfinished file of an earlier run: it was killed, perhaps by what it was recording."""
        try:
            for path in sorted(self.folder.glob(f"*{_PART}")):
                path.rename(path.with_suffix(""))
            self._prune()
        except OSError as error:
            self._failed(error)

    def begin(self, at: float, rule: str) -> bool:
        """Open a new file. False, with the reason in `fault`, if the disk refuses."""
        self.abandon()
        stamp = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
        name = f"{stamp}-{re.sub('[^a-z0-9-]', '-', rule)[:80]}"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"{name}{_ENDING}"
            for number in range(2, 100):
                if not path.exists():
                    break
                path = self.folder / f"{name}-{number}{_ENDING}"
            writing = path.with_name(path.name + _PART)
            # Readable by the daemon's user, and through the daemon's socket.
            self._stream = os.fdopen(os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb", 0)
        except OSError as error:
            return self._failed(error)
        self._writing = writing
        return True

    def write(self, data: bytes) -> bool:
        """Append to the open file; if the disk refuses, abandon the file and return False."""
        if self._stream is None:
            return False
        try:
            view = memoryview(data)
            while view:
                view = view[self._stream.write(view) or 0 :]
        except OSError as error:
            self._failed(error)
            self.abandon()
            return False
        return True

    def finish(self) -> None:
        """Complete the open file: give it its name, and delete the oldest files beyond the limits."""
        if self._stream is None or self._writing is None:
            return
        try:
            self._stream.close()
            self._writing.rename(self._writing.with_suffix(""))
            self._prune()
            self.fault = ""
        except OSError as error:
            self._failed(error)
        self._stream = self._writing = None

    def abandon(self) -> None:
        """Abandon the open file, if there is one: half a recording on a full disk is of no use."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        if self._writing is not None:
            with contextlib.suppress(OSError):
                self._writing.unlink()
        self._stream = self._writing = None

    def kept(self) -> list[Kept]:
        """Complete files, the oldest first."""
        out = []
        try:
            for path in sorted(self.folder.iterdir()):
                if _NAME.match(path.name):
                    status = path.lstat()
                    out.append(Kept(path.name, status.st_size, status.st_mtime))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._failed(error)
        return out

    def read(self, name: str) -> bytes | None:
        """A complete file as it is on disk; None if there is none of that name. Raises OSError."""
        if not _NAME.match(name):
            return None
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _prune(self) -> None:
        kept = self.kept()
        total = sum(k.size for k in kept)
        while kept and (len(kept) > self._files or total > self._size):
            oldest = kept.pop(0)
            total -= oldest.size
            (self.folder / oldest.name).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> bool:
        self.fault = f"recordings are not kept: {self.folder}: {error.strerror or error}"
        return False


def lines(name: str) -> Iterator[bytes]:
    """The lines of a recording, packed or not; ``-`` is standard input. Raises RecordingError, with the line's number.

    A packed file that is cut short ends here as if it were complete: its recording lacks its end line, which the reader notices.
    """
    number = 0
    try:
        with contextlib.ExitStack() as stack:
            raw = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
            head = raw.peek(2) if hasattr(raw, "peek") else b""
            stream = gzip.GzipFile(fileobj=raw) if head[:2] == _GZIP else raw
            unpacked = 0
            while line := stream.readline(MOST_ROW_BYTES + 1):
                number += 1
                unpacked += len(line)
                if unpacked > MOST_UNPACKED_BYTES:
                    raise RecordingError(f"line {number}: larger than {MOST_UNPACKED_BYTES >> 30} GiB")
                yield line
    except EOFError:
        return
    except (gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"line {number + 1}: the compressed data is damaged ({error})") from error
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}") from error
