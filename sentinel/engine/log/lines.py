"""Bytes as they arrive -> complete lines. Sans-IO: whoever reads a file, a pipe or a journal feeds it."""

from __future__ import annotations

import re

from sentinel.model.input_limits import MOST_LINE_BYTES

_NEWLINE = 0x0A
_RETURN = 0x0D
#: Windows logs end lines with \r\n, llama.cpp of 2024 wrote \n\r around its timings (examples/server/server.cpp), and
#: progress bars end a line with \r alone.
_LINE_END = re.compile(rb"\r\n|\n\r|\r|\n")
#: The same except for the one that is already a newline: a chunk with one return took as long as one of returns only.
_OTHER_LINE_END = re.compile(rb"\r\n|\n\r|\r")


class LineSplitter:
    """Cuts a stream of bytes into complete lines, in time proportional to the bytes, in memory of at most `limit` bytes.

    `limit` is the longest line in bytes; of a longer one the first `limit` bytes are kept (fewer if that would split a
    character) and `cut` counts it. llama-server prints whole prompts and templates as one line, so a longer line is normal.
    """

    def __init__(self, limit: int = MOST_LINE_BYTES) -> None:
        if limit < 1:
            raise ValueError(f"limit of a line must be at least 1 byte, not {limit}")
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._dropping = False
        #: the byte that, coming next, belongs to a line end already seen; 0 if none
        self._swallow = 0
        #: lines that were longer than the limit
        self.cut = 0

    @property
    def pending(self) -> int:
        """Bytes of the incomplete last line that are kept."""
        return self._size

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return the lines they complete, each ended by ``\\n``, as valid UTF-8 (maybe empty)."""
        data = self._join_line_ends(data)
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._keep(data)
            return b""
        rest = data[end:]
        if self._dropping:
            first = data.find(b"\n")
            done = self._take() + data[first:end]
        elif self._size:
            self._parts.append(data[:end])
            done = self._take()
        else:
            done = data[:end]
        self._keep(rest)
        return _valid(self._shorten(done))

    def flush(self) -> bytes:
        """End the stream: the unterminated rest without a line end (maybe empty). The splitter is then as new."""
        rest = self._take()
        self._swallow = 0
        return _valid(rest)

    def _join_line_ends(self, data: bytes) -> bytes:
        """Make every line end a single ``\\n``, also where two bytes of one line end arrive in different chunks."""
        if not data:
            return data
        if self._swallow and data[0] == self._swallow:
            data = data[1:]
            self._swallow = 0
            if not data:
                return data
        last = data[-1]
        if b"\r" not in data:
            self._swallow = _RETURN if last == _NEWLINE else 0
            return data
        self._swallow = 0
        if last in (_NEWLINE, _RETURN):
            run = data[len(data.rstrip(b"\r\n")) :]
            end = run[-1:]
            for found in _LINE_END.finditer(run):
                end = found.group()
            if len(end) == 1:
                self._swallow = _RETURN if end == b"\n" else _NEWLINE
        if data.count(b"\r") == data.count(b"\r\n"):
            return data.replace(b"\r\n", b"\n")
        if b"\r\n" not in data:
            # Each return ends a line, with the newline before it or without one.
            return data.replace(b"\n\r", b"\n").replace(b"\r", b"\n")
        # A line end that has a return begins at most one byte before it and ends at most one after it.
        first, beyond = max(data.find(b"\r") - 1, 0), data.rfind(b"\r") + 2
        return data[:first] + _OTHER_LINE_END.sub(b"\n", data[first:beyond]) + data[beyond:]

    def _keep(self, data: bytes) -> None:
        """Add to the incomplete line; what goes beyond the limit is dropped at once, so a long line costs no memory."""
        if not data or self._dropping:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            kept = _shortened(b"".join(self._parts), self._limit)
            self._parts = [kept]
            self._size = len(kept)
            self._dropping = True
            self.cut += 1

    def _take(self) -> bytes:
        line = b"".join(self._parts)
        self._parts = []
        self._size = 0
        self._dropping = False
        return line

    def _shorten(self, lines: bytes) -> bytes:
        """Cut the lines beyond the limit. Looks at one newline in every `limit` bytes while no line is too long."""
        limit = self._limit
        if len(lines) <= limit:
            return lines
        out: list[bytes] = []
        begin = at = 0
        while at < len(lines):
            newline = lines.rfind(b"\n", at, at + limit + 1)
            if newline < 0:
                out.append(lines[begin:at])
                out.append(_shortened(lines[at : at + limit + 1], limit))
                self.cut += 1
                begin = newline = lines.find(b"\n", at + limit)
            at = newline + 1
        if not out:
            return lines
        out.append(lines[begin:])
        return b"".join(out)


def _shortened(line: bytes, limit: int) -> bytes:
    """At most `limit` bytes, not ending within a UTF-8 character (a character has at most 3 continuation bytes)."""
    for end in range(limit, max(limit - 4, 0), -1):
        if line[end] & 0xC0 != 0x80:
            return line[:end]
    return line[:limit]


def _valid(data: bytes) -> bytes:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode("utf-8")
    return data
