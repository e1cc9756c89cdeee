"""Reads the log files that are to be diagnosed: whatever they are, within bounds of bytes, lines and time.

A text may come from anybody: 5 MB of line ends took 19 s and 1.2 GB, 50 MB of first lines of a server 23 s and 402 MB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sentinel.engine.log.lines import LineSplitter
from sentinel.model.fault import Fault
from sentinel.model.input_limits import MOST_JUDGED_BYTES, MOST_JUDGED_LINES, MOST_LINE_BYTES, MOST_READ_BYTES
from sentinel.model.text import escape, size

_CHUNK = 1 << 16
#: Of what may be judged, the share of the beginning, where a server says what it is: one of eight.
_HEAD = 8
#: What is judged takes a third of that at most. Seconds of the processor.
MOST_SECONDS = 60.0


class TooLong(BaseException):
    """The judgement takes too long; nothing in it may hold this up."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The lines of a file, clean. Beyond the bounds `jump` lines are missing after the first `head` ones."""

    name: str
    data: bytes
    head: int = 0
    jump: int = 0
    bytes: int = 0

    def cut(self) -> str:
        """What was left out, as a sentence; empty: nothing was."""
        if not self.jump:
            return ""
        first, last = self.head + 1, self.head + self.jump
        return (
            f"{escape(self.name)} has {size(self.bytes)}, more than is judged at once: lines {first} to {last} were left out; "
            f"for these, give a part of it (`sed -n {first},{last}p`)"
        )


def read_all(names: Sequence[str]) -> list[Taken]:
    """All files, within the bounds together: what small ones leave is for those after them. Raises OSError and Fault."""
    taken: list[Taken] = []
    for number, name in enumerate(names):
        left = len(names) - number
        lines = sum(one.data.count(b"\n") for one in taken)
        taken.append(
            _read(name, (MOST_JUDGED_BYTES - sum(len(one.data) for one in taken)) // left, (MOST_JUDGED_LINES - lines) // left)
        )
    return taken


def jumps(taken: Sequence[Taken]) -> Mapping[str, tuple[int, int]]:
    """By name: after how many lines the numbers jump, and by how much."""
    return {one.name: (one.head, one.jump) for one in taken if one.jump}


@contextlib.contextmanager
def within_time() -> Iterator[None]:
    """Raises TooLong after so many seconds of the processor."""

    def end(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _read(name: str, most_bytes: int, most_lines: int) -> Taken:
    """Any encoding, any line end, long lines cut."""
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            _require_log(name, stream)
            return _kept(name, stream, most_bytes, most_lines)
    except OSError as error:
        # An error of open names the file, one of read does not.
        raise OSError(error.errno, error.strerror, "standard input" if name == "-" else name) from error


def _require_log(name: str, stream: BinaryIO) -> None:
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size > MOST_READ_BYTES:
        raise _too_large(name)
    is_device = stat.S_ISBLK(status.st_mode) or (stat.S_ISCHR(status.st_mode) and not stream.isatty())
    if is_device and status.st_rdev != Path(os.devnull).stat().st_rdev:
        raise Fault(f"{escape(name)} is a device and no log", "name a file, or - for standard input")


def _too_large(name: str) -> Fault:
    part = f"tail -c {MOST_JUDGED_BYTES >> 20}M FILE | sentinel diagnose -"
    return Fault(f"{escape(name)} is larger than {MOST_READ_BYTES >> 30} GiB, and is not read", f"give the end of it: `{part}`")


def _kept(name: str, stream: BinaryIO, most_bytes: int, most_lines: int) -> Taken:
    """The beginning and the end, as much as may be; what lies between is only counted."""
    splitter = LineSplitter(MOST_LINE_BYTES)
    head: list[bytes] = []
    tail: deque[tuple[bytes, int]] = deque()
    first = lines = held = read = jump = 0
    kept = 0
    is_begun = False
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if read > MOST_READ_BYTES:
            raise _too_large(name)
        piece = splitter.feed(chunk)
        count = piece.count(b"\n")
        is_begun = is_begun or kept + len(piece) > most_bytes // _HEAD or first + count > most_lines // _HEAD
        if not is_begun:
            head.append(piece)
            kept, first = kept + len(piece), first + count
            continue
        tail.append((piece, count))
        held, lines = held + len(piece), lines + count
        while tail and (held > most_bytes - kept or lines > most_lines - first):
            gone, count = tail.popleft()
            held, lines, jump = held - len(gone), lines - count, jump + count
    return Taken(name, b"".join((*head, *(piece for piece, _ in tail), splitter.flush())), first, jump, read)
