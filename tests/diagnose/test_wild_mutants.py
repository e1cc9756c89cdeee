"""Of a part of a log nothing is said that the whole log contradicts. A few here; `python eval/wild_mutants.py` tries all."""

from __future__ import annotations

import pytest

from eval.wild_case import chosen, load
from eval.wild_mutants import contradictions
from sentinel.engine.rules.ruleset import RuleSet


@pytest.mark.parametrize(
    ("name", "mutations"),
    [
        # the start is cut off: a server that serves did not fail to start
        ("fresh-07-vulkan-device-lost-two-vendors", ("last 5 lines", "head cut by two thirds")),
        ("dies-illegal-access-mtp-daily", ("last 5 lines", "without dates")),
        # the list of devices lacks its beginning: the model does not run on the CPU
        ("dies-dflash-second-request-assert", ("last 20 lines",)),
        # healthy ones stay so
        ("upnotwell-h-draft", ("even lines", "tail cut by half", "Windows paths")),
        ("gpuuse-h2-two-like-cards", ("odd lines", "last 20 lines")),
        ("start-healthy-control-vector", ("first line missing", "last line missing")),
    ],
)
def test_a_part_of_a_log_does_not_contradict_the_whole(name: str, mutations: tuple[str, ...], ruleset: RuleSet) -> None:
    (case,) = chosen(load(), [name])
    assert list(contradictions(ruleset, case, mutations)) == []
