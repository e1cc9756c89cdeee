"""The catalog shows 4,096 bytes of a field (REPLACE_VAR_MAX, sd-journal.c): all evidence of the shipped rules fits into that."""

from __future__ import annotations

import pytest

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.rulefiles.testing.runner import run_case
from sentinel.sinks.journald import fields

#: Those that have so many checks; of the others' evidence the longest has 2,700 bytes.
_LARGE = 25


def test_the_rules_with_most_checks_show_all_of_their_evidence(ruleset: RuleSet) -> None:
    shown = 0
    for compiled in ruleset.rules.values():
        if len(compiled.checks) < _LARGE:
            continue
        for case in compiled.rule.tests:
            for transition in run_case(compiled, case, ruleset).transitions:
                shown += transition.state == "firing"
                text = dict(fields(transition))["SENTINEL_EVIDENCE_TEXT"]
                assert "more in SENTINEL_JSON" not in text, f"{compiled.rule.id}, {case.name}: {len(transition.evidence)} pieces"
    assert shown > 200


@pytest.mark.parametrize(
    ("case", "cause", "there", "not_there"),
    [
        ("99 layers asked for on a machine without a GPU, at default verbosity", "no-gpu-in-machine", "gpu_asked", "on_windows"),
        ("the container had the GPU and lost it", "container-lost-the-gpu", "had_gpu", "on_windows"),
    ],
)
def test_what_speaks_of_other_causes_is_no_evidence(ruleset: RuleSet, case: str, cause: str, there: str, not_there: str) -> None:
    compiled = ruleset.rules["cpu-fallback"]
    (one,) = [one for one in compiled.rule.tests if one.name == case]
    firing = next(t for t in run_case(compiled, one, ruleset).transitions if t.state == "firing")
    checks = {piece.check for piece in firing.evidence if not hasattr(piece, "line")}
    assert firing.cause is not None
    assert firing.cause.id == cause
    assert there in checks
    assert not_there not in checks
