"""Bytes in any chunking give the same lines as a reference that sees them all at once."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.engine.log.lines import LineSplitter

_BYTES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"\n\r", b"a", b"line of text", b"\x00", b"\xff\xfe", "é→😀".encode(), b"\xf0\x9f", b"."]
    ),
    max_size=40,
).map(b"".join)


def naive(data: bytes, limit: int) -> tuple[bytes, bytes, int]:
    """Complete lines, rest, and how many lines were cut; quadratic and obvious."""
    *lines, rest = re.split(rb"\r\n|\n\r|\r|\n", data)
    cut = 0
    out = []
    for line in [*lines, rest]:
        if len(line) > limit:
            cut += 1
            end = limit
            while end > max(limit - 4, 0) and line[end] & 0xC0 == 0x80:
                end -= 1
            line = line[:end] if end > max(limit - 4, 0) else line[:limit]
        out.append(line.decode("utf-8", "replace").encode())
    return b"".join(line + b"\n" for line in out[:-1]), out[-1], cut


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    out, at = [], 0
    for size in sizes:
        out.append(data[at : at + size])
        at += size
    return [*out, data[at:]]


@given(_BYTES, st.lists(st.integers(0, 7), max_size=60), st.sampled_from([3, 8, 20, 65536]))
def test_any_chunking_gives_the_lines_of_the_reference(data: bytes, sizes: list[int], limit: int) -> None:
    splitter = LineSplitter(limit)
    lines = b"".join(splitter.feed(chunk) for chunk in chunks(data, sizes))
    expected, rest, cut = naive(data, limit)
    assert lines == expected
    # A rest that begins with the second half of a line end has swallowed it, as the reference has.
    assert splitter.pending <= limit
    assert splitter.flush() == rest
    assert splitter.cut == cut


@given(_BYTES, st.integers(1, 9))
def test_the_output_is_valid_utf8_with_newlines_as_the_only_line_ends(data: bytes, size: int) -> None:
    splitter = LineSplitter()
    parts = [splitter.feed(data[at : at + size]) for at in range(0, len(data), size)]
    for part in parts:
        assert b"\r" not in part
        assert part == b"" or part.endswith(b"\n")
        part.decode("utf-8")


def test_the_timings_of_2024_with_newline_and_return_make_no_empty_lines() -> None:
    splitter = LineSplitter()
    text = (
        b"slot print_timing: id  0 | task 0 | \n\rprompt eval time = 1 ms\n\r       eval time = 2 ms\n\r      total time = 3 ms\n"
    )
    assert splitter.feed(text).count(b"\n") == 4


def test_a_line_end_split_over_two_chunks_is_one() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\r") == b"one\n"
    assert splitter.feed(b"\ntwo\n") == b"two\n"
    assert splitter.feed(b"\rthree\n") == b"three\n"


def test_a_complete_line_is_given_at_once_and_the_rest_is_kept() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"done\n......") == b"done\n"
    assert splitter.pending == 6
    assert splitter.flush() == b"......"
    assert splitter.pending == 0


def test_a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"x" * 25 + b"\nnext\n") == b"x" * 10 + b"\nnext\n"
    assert splitter.cut == 1


def test_a_cut_does_not_split_a_character() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed("abcé\n".encode()) == b"abc\n"


def test_ten_megabytes_without_a_line_end_cost_linear_time_and_bounded_memory() -> None:
    splitter = LineSplitter()
    begin = time.process_time()
    for _ in range(10_000):
        assert splitter.feed(b"y" * 1000) == b""
        assert splitter.pending <= 65536
    assert len(splitter.feed(b"\nafter\n")) == 65536 + len(b"\nafter\n")
    assert splitter.cut == 1
    assert time.process_time() - begin < 2.0


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte, not 0"):
        LineSplitter(0)
