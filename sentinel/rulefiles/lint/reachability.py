"""Finds causes that can never be reported: an earlier one always wins, or their condition is never true."""

from __future__ import annotations

import re

from sentinel.engine.rules.cel_syntax import conjuncts, disjuncts, plain
from sentinel.model.rule import RuleDef
from sentinel.rulefiles.toml.tables import Findings

_NAME = re.compile(r"[\w.]+")


def check_reach(rule: RuleDef, findings: Findings) -> None:
    """Note each cause that no values can reach. The first cause whose condition is true is reported."""
    #: conditions that together select an earlier cause, with the id of that cause; empty: always
    earlier: list[tuple[frozenset[str], str]] = []
    for i, cause in enumerate(rule.causes):
        keys = ("cause", i, "when") if cause.when else ("cause", i)
        wanted = _parts(cause.when)
        before = next((at for at in earlier if at[0] <= wanted), None)
        if before is not None:
            why = "is always true" if not before[0] else "is true whenever this one is"
            findings.error(keys, f"can never be reached: the condition of cause '{before[1]:.60}', which comes first, {why}")
        elif "false" in wanted or any(f"!{part}" in wanted for part in wanted if _NAME.fullmatch(part)):
            findings.error(keys, "can never be reached: its condition is never true")
        earlier += [(_parts(one), cause.id) for one in (disjuncts(plain(cause.when)) if cause.when else ("",))]


def _parts(condition: str) -> frozenset[str]:
    """Every operand that must be true for a condition to be true, each in canonical form."""
    if not condition:
        return frozenset()
    whole = plain(condition)
    parts = conjuncts(whole)
    if len(parts) > 1:
        return frozenset().union(*map(_parts, parts))
    return frozenset() if whole == "true" else frozenset({whole})
