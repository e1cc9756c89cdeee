"""The rules as shipped, compiled once in a process: that takes two seconds."""

from __future__ import annotations

from functools import cache

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.files import load_paths, shipped


@cache
def shipped_rules() -> RuleSet:
    """For what is made when a module is imported; tests take the fixture `ruleset`."""
    found, problems = load_paths([shipped()])
    assert found is not None, [str(problem) for problem in problems]
    return found
