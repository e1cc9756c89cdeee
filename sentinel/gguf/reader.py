"""Reads a GGUF file through one window, with bounds: numbers, strings and values of the metadata.

Files are untrusted: every length is checked against the file before it is used, memory stays at one window whatever the file
says, and the file is not mapped (truncating a mapped file kills the reader).
"""

from __future__ import annotations

import os
import struct
import time
from typing import Literal

from sentinel.model.input_limits import (
    MOST_HEADER_BYTES,
    MOST_HEADER_TEXT,
    MOST_LAYERS,
    MOST_NUMBERS_KEPT,
    MOST_STRING_BYTES,
    MOST_STRINGS,
)

_WINDOW = 1 << 18
#: GGUF value types with a fixed size (gguf.md); 8 is a string, 9 an array
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
#: The clock is looked at after so many strings.
_OFTEN = (1 << 14) - 1
#: Reading that has taken this much of a processor pauses for so long after as many strings. Seconds.
_LONG, _PAUSE = 0.4, 0.005


#: `missing`: cannot be opened; `denied`: not by this user; `no file`: a folder, pipe, device; `damaged`: truncated, or not GGUF;
#: `unread`: anything else that stops the reading
FaultKind = Literal["missing", "denied", "no file", "damaged", "unread"]


class GgufError(Exception):
    """The file cannot be read as GGUF. The text is one sentence: which file, what is wrong."""

    def __init__(self, text: str, kind: FaultKind = "unread") -> None:
        super().__init__(text)
        self.kind: FaultKind = kind


class ReadBudget:
    """What reading one model may cost, all its splits together: bytes, entries, seconds of a processor.

    A sparse file of 28 KB can claim 28 million strings; the largest vocabularies take 0.3 s.
    """

    def __init__(self, seconds: float = 2.0, entries: int = 1 << 23, size: int = 512 << 20) -> None:
        begun = time.thread_time()
        self._until, self._long = begun + seconds, begun + _LONG
        self._entries, self._size = entries, size

    def spend(self, entries: int = 0, size: int = 0) -> None:
        """Raises GgufError when it is spent."""
        self._entries -= entries
        self._size -= size
        now = time.thread_time()
        if now > self._long and entries > 1:
            # Two such threads without a pause made a request wait a second for the interpreter.
            time.sleep(_PAUSE)
        if self._entries < 0 or self._size < 0 or now > self._until:
            raise GgufError("the header is larger than that of any model, and is not read to its end")


class GgufReader:
    """A position in a file. `order` and `wide` are set by the caller that reads the version."""

    def __init__(self, descriptor: int, size: int, path: str, budget: ReadBudget | None = None) -> None:
        self.descriptor, self.size, self.path = descriptor, size, path
        self.budget = ReadBudget() if budget is None else budget
        self.buffer, self.base, self.at = b"", 0, 0
        self.order, self.wide = "<", "Q"
        self.kept = 0

    @property
    def position(self) -> int:
        return self.base + self.at

    def fail(self, what: str, kind: FaultKind = "unread") -> GgufError:
        return GgufError(f"{self.path}: {what} (at byte {self.base + self.at})", kind)

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.buffer):
            self._refill(count)
        taken = self.buffer[self.at : self.at + count]
        self.at += count
        return taken

    def skip(self, count: int) -> None:
        self.at += count
        if self.base + self.at > min(self.size, MOST_HEADER_BYTES):
            raise self.fail("a length in the header reaches beyond the end of the file")

    def number(self, code: str) -> int:
        return int(struct.unpack(self.order + code, self.take(struct.calcsize(code)))[0])

    def count(self, limit: int, what: str) -> int:
        number = self.number(self.wide)
        if number > limit:
            raise self.fail(f"it claims {number} {what}, more than {limit}")
        return number

    def string(self, limit: int = MOST_STRING_BYTES) -> bytes:
        length = self.count(limit, "bytes in a string")
        if length > self.size - self.base - self.at:
            raise self.fail("a string reaches beyond the end of the file")
        return self.take(length)

    def skip_strings(self, count: int) -> None:
        """The vocabulary: one loop without a call per string, 0.06 s for 256k of them."""
        width = struct.calcsize(self.wide)
        unpack = struct.Struct(self.order + self.wide).unpack_from
        for number in range(count):
            if not number & _OFTEN:
                self.budget.spend(min(count - number, _OFTEN + 1))
            if self.at + width > len(self.buffer):
                self._refill(width)
            length = unpack(self.buffer, self.at)[0]
            if length > MOST_STRING_BYTES:
                raise self.fail(f"it claims {length} bytes in a string, more than {MOST_STRING_BYTES}")
            self.at += width + length
        self.skip(0)

    def _refill(self, count: int) -> None:
        self.base += self.at
        self.at = 0
        if self.base + count > min(self.size, MOST_HEADER_BYTES):
            self.buffer = b""
            raise self.fail("the file ends inside its header: it is truncated or no GGUF file", "damaged")
        self.budget.spend(0, max(count, _WINDOW))
        self.buffer = os.pread(self.descriptor, max(count, _WINDOW), self.base)
        if len(self.buffer) < count:
            raise self.fail("the file ends inside its header: it is truncated", "damaged")


def read_value(reader: GgufReader, kind: int, *, wanted: bool) -> int | float | str | tuple[int, ...] | None:
    """One value; None if not wanted. Arrays are skipped, except wanted ones with one number per layer."""
    code = _SCALARS.get(kind)
    if code is not None:
        raw = reader.take(struct.calcsize("<" + code))
        value: int | float = struct.unpack(reader.order + code, raw)[0]
        return value if wanted else None
    if kind == 8:
        text = reader.string()
        return text.decode("utf-8", "replace") if wanted and len(text) <= MOST_HEADER_TEXT else None
    if kind != 9:
        raise reader.fail(f"value type {kind} is not known")
    inner = reader.number("I")
    code = _SCALARS.get(inner)
    if code is not None:
        count = reader.count(reader.size, "values in an array")
        if wanted and code in "BbHhIiQq?" and count <= MOST_LAYERS and reader.kept + count <= MOST_NUMBERS_KEPT:
            reader.kept += count
            return tuple(reader.number(code) for _ in range(count))
        reader.skip(struct.calcsize("<" + code) * count)
    elif inner == 8:
        reader.skip_strings(reader.count(MOST_STRINGS, "strings in an array"))
    else:
        raise reader.fail(f"arrays of value type {inner} are not known")
    return None
