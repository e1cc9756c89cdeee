"""Texts in the program of a process and in its mapped libraries, found without running it.

A process chooses what it maps and under which names: its libraries are opened as the process could open them, few of them, within
a budget of processor time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sentinel.files.opener import NotRegular, Opener
from sentinel.model.input_limits import MOST_PROGRAM_BYTES, MOST_PROGRAM_FILES
from sentinel.sources.fs import Roots, read_bytes
from sentinel.sources.processes.paths import inside

#: Files are read in chunks, because a program with CUDA has hundreds of megabytes; larger files are not searched.
_PART = 1 << 20
#: Of a processor, for all files of one process: a program with CUDA takes 0.5.
_SECONDS = 2.0
#: Longest text that is searched, at least: chunks overlap by so much.
_OVERLAP = 64
#: where common/arg.cpp ends up: libllama-common today, libcommon in local builds, the server's own library
_COMMON = re.compile(rb" (/[^\n]*/lib(?:llama-common|llama-server-impl|common)\.so[^/\n]*)$", re.MULTILINE)


@dataclass(slots=True)
class ProgramText:
    """The program and the libraries that may parse the command line of one process. `opener` opens files as that process."""

    roots: Roots
    pid: int
    opener: Opener
    _until: float = field(default_factory=lambda: time.thread_time() + _SECONDS)

    def files(self) -> Iterator[tuple[str, Opener]]:
        """The program itself, then its libraries, each with what opens it."""
        yield f"{self.roots.proc}/{self.pid}/exe", Opener()
        try:
            maps = read_bytes(f"{self.roots.proc}/{self.pid}/maps", 8 << 20)
        except OSError:
            return
        for path in sorted({match[1] for match in _COMMON.finditer(maps)})[:MOST_PROGRAM_FILES]:
            yield inside(self.roots, self.pid, os.fsdecode(path)), self.opener

    def found(self, wanted: Sequence[bytes]) -> Iterator[set[bytes]]:
        """Of each file, which of the texts it holds; none if it cannot be read, or the time is over."""
        for path, opener in self.files():
            yield self._in(path, wanted, opener)

    def _in(self, path: str, wanted: Sequence[bytes], opener: Opener) -> set[bytes]:
        left, found, tail, size = set(wanted), set[bytes](), b"", 0
        try:
            with os.fdopen(opener.open(path), "rb", buffering=0) as file:
                while left and size < MOST_PROGRAM_BYTES and time.thread_time() < self._until and (part := file.read(_PART)):
                    size += len(part)
                    part = tail + part
                    found |= {text for text in left if text in part}
                    left -= found
                    tail = part[-_OVERLAP:]
        except (OSError, NotRegular, ValueError):
            return set()
        return found
