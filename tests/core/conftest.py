"""The shipped rules, loaded once."""

from __future__ import annotations

import pytest

from sentinel.rulefiles import load_paths, shipped
from sentinel.rules.ruleset import RuleSet


@pytest.fixture(scope="session")
def ruleset() -> RuleSet:
    rules, problems = load_paths([shipped()])
    assert rules is not None, [str(p) for p in problems]
    return rules
