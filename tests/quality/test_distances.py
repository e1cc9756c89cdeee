"""Divergence, intervals and chances: what they must be for cases that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.quality.answer import Answer, Choice, Token
from sentinel.quality.distance import change, divergence, is_cut
from sentinel.quality.resampling import intervals, permutation


def shares(draw: st.DrawFn) -> dict[Hashable, float]:
    weights = draw(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20))
    rest = draw(st.floats(0.0, 1.0))
    keys = draw(st.lists(st.integers(0, 30), min_size=len(weights), max_size=len(weights), unique=True))
    whole = sum(weights) + rest
    return {key: weight / whole for key, weight in zip(keys, weights, strict=True)}


SHARES = st.composite(shares)()


def test_equal_answers_are_zero_apart_and_disjoint_ones_a_bit() -> None:
    assert divergence({1: 0.5, 2: 0.3}, {1: 0.5, 2: 0.3}) == 0.0
    assert divergence({1: 1.0}, {2: 1.0}) == 1.0


def test_a_case_worked_out_by_hand() -> None:
    # p = (0.8, rest 0.2), q = (0.4, rest 0.6), m = (0.6, 0.4)
    by_hand = (
        0.8 * math.log2(0.8 / 0.6) + 0.2 * math.log2(0.2 / 0.4) + 0.4 * math.log2(0.4 / 0.6) + 0.6 * math.log2(0.6 / 0.4)
    ) / 2
    assert divergence({"a": 0.8}, {"a": 0.4}) == pytest.approx(by_hand)


def test_models_without_a_kept_token_in_common_are_far_apart() -> None:
    """One bucket for all that is not common would call them equal."""
    one: dict[Hashable, float] = dict.fromkeys(range(20), 0.049)
    other: dict[Hashable, float] = dict.fromkeys(range(100, 120), 0.049)
    assert divergence({0: 0.9}, {5: 0.9}) > 0.5
    assert divergence(one, other) > 0.8


@settings(max_examples=examples(200), deadline=None)
@given(one=SHARES, other=SHARES, cut=st.booleans())
def test_it_is_symmetric_bounded_and_zero_with_itself(
    one: dict[Hashable, float], other: dict[Hashable, float], cut: bool
) -> None:
    found = divergence(one, other, cut=cut)
    assert 0.0 <= found <= 1.0
    assert found == pytest.approx(divergence(other, one, cut=cut), abs=1e-9)
    assert divergence(one, one, cut=cut) == pytest.approx(0.0, abs=1e-9)


def test_a_first_token_that_is_kept_no_more_has_fallen_at_least_to_the_last_kept() -> None:
    assert change("a", {"a": 0.5}, {"b": 0.6, "c": 0.05}) == pytest.approx(math.log(0.05 / 0.5))
    assert change("a", {"a": 0.5}, {"b": 0.6, "c": 0.38}) == pytest.approx(math.log(0.02 / 0.5))


def test_probabilities_among_the_kept_tokens_alone_are_recognised() -> None:
    def answer(*values: float) -> Answer:
        return Answer(tuple(Choice(Token(at, ""), math.log(value)) for at, value in enumerate(values)))

    assert is_cut({"a": answer(0.7, 0.3), "b": answer(0.999, 0.001)})
    assert not is_cut({"a": answer(0.7, 0.3), "b": answer(0.5, 0.3)})


def test_an_interval_holds_its_mean_and_is_the_same_each_time() -> None:
    values = [0.0, 0.1, 0.5, 0.2, 0.9, 0.0, 0.3]
    (low, high), of_equal = intervals([(value, 1.0) for value in values])
    assert low < sum(values) / len(values) < high
    assert of_equal == (1.0, 1.0)
    assert intervals([(value, 1.0) for value in values]) == [(low, high), of_equal]


def test_a_change_beyond_noise_is_unlikely_and_noise_is_not() -> None:
    assert permutation([(1.0, 0.0, 0.0, 0.0)] * 20) < 0.001
    assert permutation([(0.0, 0.0, 0.0, 0.0)] * 20) == 1.0
    assert 0.2 < permutation([(1.0, 0.0), (0.0, 1.0)] * 10) < 0.8
