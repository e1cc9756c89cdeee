"""What an expression comes to when its numbers are a stranger's."""

from __future__ import annotations

import pytest

from sentinel.engine.rules.expression import Condition, context


@pytest.mark.parametrize("source", ["big + big", "big * big", "1 / none", "1 % none", "int(huge)", "-big - big"])
def test_numbers_that_cannot_be_computed_are_unknown_and_raise_nothing(source: str) -> None:
    prepared = context({"big": 2**63 - 1, "none": 0, "huge": 1e300})
    assert Condition(source).evaluate(prepared) is None
    assert Condition(f"{source} > 1 || big > 1").evaluate(prepared) is True


@pytest.mark.parametrize("source", ["double(none) / double(none)", "1.0 / double(none)", "-1.0 / double(none)"])
def test_a_quotient_without_a_value_is_unknown(source: str) -> None:
    """A model file of no bytes made one: comparing it raised, and the rule was off for every server."""
    assert Condition(source).evaluate(context({"none": 0})) is None
