"""What lasts says so on a terminal, and takes it back; a pipe, a file and a program see nothing of it."""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sentinel.cli.output import passing, watched, working


@contextmanager
def terminal(*names: str) -> Iterator[int]:
    """The other end of a terminal that these streams go to; no fixture, for pytest sets the streams anew before a test's body."""
    ours, theirs = pty.openpty()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "w") as stream:
        for name in names or ("stdout", "stderr"):
            patch.setattr(sys, name, stream)
        yield ours
    os.close(ours)


def test_what_lasts_is_said_and_taken_back() -> None:
    with terminal() as other:
        with working("judging 3 lines", after=0.0):
            said = os.read(other, 1000)
        said += os.read(other, 1000)

        assert re.fullmatch(rb"(\r\x1b\[Kjudging 3 lines \.\.\. \d+ s)+\r\x1b\[K", said)


def test_what_is_quick_says_nothing() -> None:
    with terminal() as other:
        with working("judging 3 lines", after=3600.0):
            pass
        print("the answer", flush=True)

        assert os.read(other, 100) == b"the answer\r\n"


def test_it_is_taken_back_before_a_mistake_is_reported() -> None:
    with terminal() as other:
        with pytest.raises(ValueError, match="no"), working("judging", after=0.0):
            os.read(other, 1000)
            raise ValueError("no")

        assert os.read(other, 1000).endswith(b"\r\x1b[K")


def test_a_line_in_passing_stands_in_place_of_the_last_one_and_is_escaped() -> None:
    with terminal() as other:
        passing("1 of 2\x1b[31m")

        assert os.read(other, 100) == b"\r\x1b[K1 of 2\\x1b[31m"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_nothing_is_said_where_one_of_the_streams_is_no_terminal(name: str) -> None:
    with terminal(name) as other:
        with working("judging", after=0.0):
            assert not watched()
        print("the end", file=getattr(sys, name), flush=True)

        assert os.read(other, 100) == b"the end\r\n"
