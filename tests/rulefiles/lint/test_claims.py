"""A cause says no more than is known, and a guess does not begin with what cannot be undone."""

from __future__ import annotations

import pytest
from sample_rules import GOOD

from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load

LAST = 'id = "other"\ntext = "not known"\n[[cause.fix]]\ndo = "look"\n'


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('id = "other"\nconfidence = "high"\ntext = "the disk is full"\n[[cause.fix]]\ndo = "look"\n', "no other cause fits"),
        ('id = "other"\ntext = "sentinel has no cause for it"\n[[cause.fix]]\ndo = "look"\n', "then its confidence is 'low'"),
        ('id = "other"\nconfidence = "low"\ntext = "perhaps"\n[[cause.fix]]\ndo = "Reinstall it"\n', "is a guess"),
        (
            'id = "other"\nconfidence = "low"\ntext = "perhaps"\n[[cause.fix]]\ndo = "Build it"\nwhen = "slow"\n'
            'command = "cmake -B build"\n[[cause.fix]]\ndo = "look"\n',
            "is a guess",
        ),
        (
            'id = "other"\nconfidence = "low"\ntext = "perhaps"\n[[cause.fix]]\ndo = "see"\n[[cause.fix]]\ndo = "Reinstall it"\n',
            "",
        ),
        ('id = "other"\nconfidence = "high"\ntext = "at {speed} tokens"\n[[cause.fix]]\ndo = "look"\n', ""),
        (LAST, ""),
    ],
    ids=["a sure catch-all", "admits it", "drastic", "drastic where it fits", "drastic later", "shows its value", "as it is"],
)
def test_a_claim_that_is_too_large_is_reported(written: str, said: str) -> None:
    assert LAST in GOOD
    _, problems = load({"r.toml": GOOD.replace(LAST, written).encode()}, read([shipped()])[1])

    found = [str(one) for one in problems if "cause 'other'" in str(one)]
    assert len(found) == bool(said)
    assert all(said in one for one in found)


def test_no_shipped_rule_claims_too_much() -> None:
    _, problems = load(*read([shipped()])[:2])
    assert [str(one) for one in problems] == []
