"""What lasts says so on a terminal, and takes it back; a pipe, a file and a program see nothing of it."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import TESTS

from sentinel.cli import output
from sentinel.cli.main import main
from sentinel.cli.output import passing, watched, working

FIXTURES = TESTS / "fixtures"


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


def test_a_part_of_what_lasts_says_nothing_of_its_own() -> None:
    """Two counters would write over each other."""
    with terminal() as other:
        with working("asking forty times", after=0.0), working("asking the daemon", after=0.0):
            said = os.read(other, 1000)
        with working("judging", after=0.0):
            while b"judging" not in said:
                said += os.read(other, 1000)

    assert b"asking forty times" in said
    assert b"asking the daemon" not in said


_ASKED, _RULES = "asking the daemon", "reading the rules"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status"], [_ASKED]),
        (["alerts"], [_ASKED]),
        (["reload"], [_ASKED]),
        (["report"], [_ASKED]),
        (["record"], [_ASKED]),
        (["diagnose", "LOG"], [_RULES, "reading", "reading", "judging 1 line"]),
        (["diagnose", "--share", "LOG"], [_RULES, "reading", "redacting", "reading", "judging 1 line"]),
        (["diagnose", "--html", "page.html", "LOG"], [_RULES, "reading", "reading", "judging 1 line", "drawing the page"]),
        (["replay", str(FIXTURES / "recordings/v1-cpu-fallback.jsonl")], [_RULES, "replaying the recording"]),
        (["preflight", "--", "llama-server", "-m", "none.gguf"], ["looking at the model and the machine"]),
        (["rules", "lint", "RULE"], ["checking the rules"]),
        (["rules", "test", "RULE"], ["checking the rules", "running the tests"]),
        (["rules", "coverage", "RULE"], ["checking the rules", "running the tests"]),
    ],
)
def test_every_verb_says_what_it_may_last_for(
    words: list[str], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the log, drawing the page, and the daemon's answer came without a word."""
    begun: list[str] = []

    def count(what: str, _after: float, _done: threading.Event) -> None:
        begun.append(what)

    monkeypatch.setattr(output, "_count", count)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.log").write_text("srv  load_model: initializing, n_slots = 4\n", encoding="utf-8")
    assert main(["rules", "new", "my-rule"]) == 0
    given = {"LOG": "a.log", "RULE": "my-rule.toml"}
    alone = ["--socket", str(tmp_path / "none")] if words[0] in ("status", "alerts", "reload", "report", "record") else []
    with terminal():
        main([given.get(word, word) for word in (words[0], *alone, *words[1:])])

    assert begun == said
