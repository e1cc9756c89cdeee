"""A sparkline has its width, its newest value at the right, and blanks where nothing is known."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.terminal.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([], 4, "    "),
        ([0.0, 0.0], 4, "  ▁▁"),
        ([1.0, 2.0, 3.0, 4.0], 4, "▃▅▇█"),
        ([None, 8.0, None], 5, "   █ "),
        ([8.0, 1.0, 1.0, 8.0, 1.0, 1.0], 2, "██"),
        ([8.0, 1.0, 1.0, 1.0, 1.0], 2, "█▂"),
        ([5.0, 5.0], 0, ""),
    ],
)
def test_examples(values: list[float | None], width: int, shown: str) -> None:
    assert sparkline(values, width) == shown


def test_the_scale_may_be_given() -> None:
    assert sparkline([5.0], 1, most=10.0) == "▅"
    assert sparkline([50.0], 1, most=10.0) == "█"


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=200), st.integers(1, 80), st.booleans())
@settings(max_examples=examples(200))
def test_whatever_comes_it_has_its_width(values: list[float | None], width: int, plain: bool) -> None:
    shown = sparkline(values, width, plain=plain)
    assert len(shown) == width
    assert not plain or shown.isascii()
    # With a whole number of values to a column, or fewer values than columns, the last column is the last values'.
    per = -(-len(values) // width) or 1
    if values:
        assert (shown[-1] == " ") is all(value is None for value in values[-per:])
