"""The shipped rules, loaded once, and a diagnosis of files as the command does it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from sentinel.diagnosis import Diagnosis, diagnose
from sentinel.parsing.lines import LineSplitter
from sentinel.rulefiles import load_paths, shipped
from sentinel.rules.ruleset import RuleSet
from sentinel.sources.argv import decode

Judge = Callable[..., Diagnosis]


@pytest.fixture(scope="session")
def ruleset() -> RuleSet:
    """The rules as shipped."""
    found, problems = load_paths([shipped()])
    assert found is not None, problems
    return found


def clean(path: Path) -> tuple[str, bytes]:
    """A file as clean lines, as the command reads it."""
    splitter = LineSplitter(65536)
    return path.name, splitter.feed(path.read_bytes()) + splitter.flush()


@pytest.fixture(scope="session")
def judge(ruleset: RuleSet) -> Judge:
    """Diagnose one log file, with the words of a command line and a kernel log where they are known."""

    def run(log: Path, argv: str | None = None, kernel: Path | None = None) -> Diagnosis:
        values = dict(decode(shlex.split(argv), {}).signals()) if argv is not None else {}
        return diagnose(ruleset, [clean(log)], [clean(kernel)] if kernel is not None else [], values)

    return run
