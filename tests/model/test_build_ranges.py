"""Arithmetic of ranges of builds, against sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.model.builds import ANY, BuildRange, common

ENDS = st.none() | st.integers(1, 12)
RANGES = st.builds(BuildRange, ENDS, ENDS).filter(lambda one: not one.is_empty)


def members(one: BuildRange) -> set[int]:
    return {build for build in range(14) if build in one}


@given(RANGES, RANGES)
def test_ranges_behave_as_the_sets_of_their_builds(one: BuildRange, other: BuildRange) -> None:
    both = one & other
    assert members(both) == members(one) & members(other)
    assert one.overlaps(other) == other.overlaps(one) == bool(members(one) & members(other)) == (not both.is_empty)
    assert one.covers(other) == (members(other) <= members(one))
    assert common([one, other]) == (None if both.is_empty else both)


@given(RANGES, st.integers(1, 12))
def test_before_and_from_hold_for_every_build_of_a_range(one: BuildRange, build: int) -> None:
    assert one.is_before(build) == all(member < build for member in members(one))
    assert one.is_from(build) == all(member >= build for member in members(one))


@given(RANGES)
def test_what_is_printed_is_read_again(one: BuildRange) -> None:
    assert BuildRange.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "-", "b", "5000-", "b5000", "b5000-6000", "b5000- ", "any build", "b" + "9" * 40 + "-"])
def test_another_text_is_no_range(text: str) -> None:
    assert BuildRange.parse(text) is None


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (ANY, "any build"),
        (BuildRange(5000, None), "b5000 and newer"),
        (BuildRange(None, 5300), "up to b5300"),
        (BuildRange(3942, 5300), "b3942 to b5300"),
        (BuildRange(8650, 8650), "b8650"),
    ],
)
def test_a_range_in_words(one: BuildRange, words: str) -> None:
    assert one.words == words
