"""The sentences of a rule's checks: each belongs to a check, and shows values that the rule may read."""

from __future__ import annotations

import pytest
from sample_rules import GOOD

from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('slwo = "slow"', "there is no check 'slwo'; did you mean 'slow'"),
        ('slow = "{server.no_such} tokens"', "no_such"),
        ('slow = "{speed:.1f"', "a brace without its partner"),
        ("slow = 7", "must be an expression as text"),
    ],
)
def test_a_mistake_in_a_sentence_is_reported_with_its_position(written: str, said: str) -> None:
    ruleset, problems = load(
        {"r.toml": GOOD.replace("[alert]", f"[evidence]\n{written}\n[alert]").encode()}, read([shipped()])[1]
    )

    assert ruleset is None
    (problem,) = [str(one) for one in problems]
    assert said in problem
    assert problem.startswith("r.toml:")
