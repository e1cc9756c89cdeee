"""A compiled rule knows every signal that any of its parts reads, texts of fixes too: it is evaluated when one changes."""

from __future__ import annotations

from collections.abc import Iterator

from sentinel.engine.rules.ruleset import SCOPES, CompiledFix, CompiledRule, RuleSet


def test_no_part_of_a_shipped_rule_reads_a_signal_that_the_rule_does_not_know(ruleset: RuleSet) -> None:
    for rule in ruleset.rules.values():
        name = f"{rule.rule.scope}.name"
        read = {path for path in _paths(rule) if path.partition(".")[0] in SCOPES and path != name}
        assert read <= rule.signals, rule.rule.id


def test_a_rule_that_rewrites_a_command_for_a_unit_of_a_user_knows_whose_the_unit_is(ruleset: RuleSet) -> None:
    rewritten = {rule.rule.id for rule in ruleset.rules.values() if any(fix.of_user is not None for fix in _fixes(rule))}
    assert rewritten
    assert all("server.user_unit" in ruleset.rules[one].signals for one in rewritten)


def _fixes(rule: CompiledRule) -> Iterator[CompiledFix]:
    for cause in rule.causes:
        yield from cause.fixes


def _paths(rule: CompiledRule) -> Iterator[str]:
    conditions = [*rule.named.values(), rule.when, rule.clear, *(cause.when for cause in rule.causes)]
    conditions += [fix.when for fix in _fixes(rule)]
    for condition in conditions:
        yield from condition.paths if condition is not None else ()
    texts = [rule.summary, *rule.evidence.values(), *(cause.text for cause in rule.causes)]
    for fix in _fixes(rule):
        texts += [fix.do, fix.command, fix.risk, fix.verify, fix.flags, *fix.settings.values()]
    for text in texts:
        yield from text.names
