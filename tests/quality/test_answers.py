"""What llama-servers of each era answer, and what none answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_llama import Fake

from sentinel.quality.answer import Answer, NoAnswer, parse


def answered(form: str) -> Answer:
    found = parse(Fake(form=form).completion({"prompt": "The capital of"})[1])
    assert found is not None
    return found


def test_every_era_says_the_same() -> None:
    now = answered("logprob")
    for form in ("2024", "prob"):
        then = answered(form)
        assert [c.token.text for c in then.choices] == [c.token.text for c in now.choices]
        assert [c.logprob for c in then.choices] == pytest.approx([c.logprob for c in now.choices])
    assert now.first.token.id is not None
    assert answered("2024").first.token.id is None


def body(*rows: object, key: str = "top_logprobs") -> dict[str, Any]:
    return {"content": "", "completion_probabilities": [{key: list(rows)}]}


def test_null_and_nan_are_no_numbers() -> None:
    for value in (None, math.nan, math.inf):
        found = parse(body({"id": 1, "token": "a", "logprob": value}))
        assert found is not None
        assert not found.is_number


def test_tokens_that_samplers_removed_are_left_out() -> None:
    found = parse(body({"tok_str": "a", "prob": 1.0}, {"tok_str": "b", "prob": 0.0}, key="probs"))
    assert found is not None
    assert [(c.token.text, c.logprob) for c in found.choices] == [("a", 0.0)]


def test_a_probability_of_zero_is_left_out_however_a_build_writes_its_logarithm() -> None:
    """The lowest 32-bit number, in every build since December 2024; and integers of any length from what lies."""
    for nothing in (-3.4028234663852886e38, -701, -(10**400)):
        found = parse(body({"id": 1, "token": "a", "logprob": -0.1}, {"id": 2, "token": "b", "logprob": nothing}))
        assert found is not None
        assert [c.token.id for c in found.choices] == [1]
    found = parse(body({"id": 1, "token": "a", "logprob": -3.4028234663852886e38}))
    assert found is not None
    assert not found.is_number


def test_half_a_character_is_no_answer_in_old_builds() -> None:
    assert parse({"content": "", "completion_probabilities": []}) is None
    assert parse({"content": ""}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        [], "text", {}, {"content": "", "completion_probabilities": {"a": 1}}, {"content": "", "completion_probabilities": [1]},
        body(), body(1), body({"id": 1, "logprob": -1}), body({"id": True, "token": "a", "logprob": -1}),
        body({"id": -1, "token": "a", "logprob": -1}), body({"id": 1 << 40, "token": "a", "logprob": -1}),
        body({"id": 1, "token": "a", "logprob": "x"}), body({"id": 1, "token": "a", "logprob": 2.0}),
        body({"id": 1, "token": "a", "logprob": True}),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(wrong: object) -> None:
    with pytest.raises(NoAnswer):
        parse(wrong)


def test_an_answer_in_which_all_tokens_are_equally_likely_is_flat() -> None:
    rows = [{"id": at, "token": str(at), "logprob": -12.5} for at in range(20)]
    found = parse(body(*rows))
    assert found is not None
    assert found.is_flat
    assert not answered("logprob").is_flat
