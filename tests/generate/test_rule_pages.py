"""The page of a rule is a runbook: meaning, impact, diagnosis, mitigation, with an anchor for each cause that stays the same."""

from __future__ import annotations

import re

import pytest

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.generate.links import anchors
from sentinel.generate.reference import pages


@pytest.fixture(scope="module")
def made(ruleset: RuleSet) -> dict[str, str]:
    """Every page of a rule, by the rule's id."""
    return {name[6:-3]: text for name, text in pages(ruleset).items() if name.startswith("rules/")}


def test_every_cause_of_every_rule_has_its_anchor_and_it_is_the_causes_id(ruleset: RuleSet, made: dict[str, str]) -> None:
    missing = [
        f"{rule_id}#{cause.id}"
        for rule_id, compiled in ruleset.rules.items()
        for cause in compiled.rule.causes
        if cause.id not in anchors(made[rule_id])
    ]
    assert sum(len(compiled.rule.causes) for compiled in ruleset.rules.values()) > 300
    assert missing == []


def test_no_two_headings_of_a_page_are_equal(made: dict[str, str]) -> None:
    """A cause named as another heading would have the anchor that ends with -1."""
    doubled = {
        name: found for name, text in made.items() if len(set(re.findall(r"(?m)^#+ (.+)$", text))) < len(found := anchors(text))
    }
    assert doubled == {}


def test_the_order_is_that_of_a_runbook_and_expressions_come_last(made: dict[str, str]) -> None:
    for name, text in made.items():
        assert re.findall(r"(?m)^## (.+)$", text) == ["Meaning", "Impact", "Diagnosis", "Mitigation", "The rule itself"], name
        assert "```cel" not in text[: text.index("## The rule itself")], name


def test_every_shipped_rule_says_what_it_costs(ruleset: RuleSet) -> None:
    assert [rule_id for rule_id, compiled in ruleset.rules.items() if not compiled.rule.impact] == []


def test_optional_parts_are_in_brackets_and_no_marks_are_left(made: dict[str, str]) -> None:
    assert [
        name
        for name, text in made.items()
        if re.search(r"\[\?|\?\](?!\()", re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL))
    ] == []
    assert r"\[" in made["server-wedged"]
