"""What is said of a flag that llama-server refused: since when builds take it, until when, how else it is spelt."""

from __future__ import annotations

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.flags import nearest
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines

SERVER = Entity("server", "llama-server")


@pytest.mark.parametrize(
    ("refused", "meant"),
    [
        ("--draft-model", "--model-draft"),
        ("--draft-n-max", "--spec-draft-n-max"),
        ("--ctx-sise", "--ctx-size"),
        ("--mtp-head", ""),
        ("-mqkv", ""),
        ("--ngl", "-ngl"),
        ("-flash-attn", "--flash-attn"),
        ("--", ""),
    ],
)
def test_the_flag_that_was_meant(refused: str, meant: str) -> None:
    assert nearest(refused) == meant


@pytest.mark.parametrize(
    ("line", "since", "until"),
    [
        (b"error: invalid argument: --load-mode", 10434, None),
        (b"error: unknown argument: -hf", 4470, None),
        (b"error: invalid argument: --mlock", 0, 10867),
        (b"error: invalid argument: --nonsense-here", None, None),
    ],
)
def test_builds_that_take_it(ruleset: RuleSet, line: bytes, since: int | None, until: int | None) -> None:
    engine = Engine(ruleset)
    engine.step(LogLines(1.0, "log", SERVER, line))

    def known(signal: str) -> object:
        fact = engine.state.facts.last(SERVER, signal)
        return None if fact is None else fact.value

    assert known("server.refused_flag_from") == since
    assert known("server.refused_flag_to") == until
