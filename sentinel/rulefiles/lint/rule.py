"""Checks a rule against the signal catalogue, the event definitions and the other rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.compile import compile_rule
from sentinel.engine.rules.expression import Condition
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.engine.rules.template import Template, TemplateError
from sentinel.llama import flags_in_text
from sentinel.model.entity import Unknown, Value
from sentinel.model.event import EventDef
from sentinel.model.problem import Keys, Problem, did_you_mean
from sentinel.model.rule import CaseDef, FixDef, RuleDef
from sentinel.rulefiles.lint.claims import check_claims
from sentinel.rulefiles.lint.cycles import in_order_of_evaluation
from sentinel.rulefiles.lint.events import fits
from sentinel.rulefiles.lint.names import KnownNames
from sentinel.rulefiles.lint.reachability import check_reach
from sentinel.rulefiles.lint.types import check_expression
from sentinel.rulefiles.toml.tables import Findings

_KINDS = ("firing", "quiet", "unknown")


@dataclass(frozen=True, slots=True)
class Undecoded:
    """The parts of a rule's file that could not be decoded: names that it declares, and parts that were left out."""

    names: Collection[str]
    keys: Collection[Keys] = ()


def check_rule(
    rule: RuleDef,
    events: Mapping[str, EventDef],
    rule_ids: Collection[str],
    undecoded: Undecoded | None = None,
    states: Collection[str] | None = None,
) -> tuple[CompiledRule | None, list[Problem]]:
    """All mistakes of one rule; the compiled rule if it is usable.

    `undecoded` is given for a rule that was only partly decoded, which is never used: its undecoded parts are not reported a
    second time, as unknown names or as missing. `states` are those that its tests expect, if the tests were not decoded.
    """
    findings = Findings(rule.path, left_out=undecoded.keys if undecoded is not None else (), names=_called(rule))
    names = KnownNames(rule, events, findings, undecoded.names if undecoded is not None else ())
    for keys, expression in (*in_order_of_evaluation(rule, findings), *_conditions(rule)):
        check_expression(keys, expression, names, findings)
    for keys, text in _texts(rule):
        try:
            for name in Template.parse(text).names:
                names.check(name, keys)
        except TemplateError as error:
            findings.error(keys, str(error))
    _check_evidence(rule, findings)
    for i, other in enumerate(rule.inhibits):
        if other not in rule_ids:
            findings.error(("inhibits", i), f"there is no rule '{other}'{did_you_mean(other, rule_ids)}")
    _check_shape(rule, findings, states)
    for i, cause in enumerate(rule.causes):
        for j, fix in enumerate(cause.fixes):
            for problem in flags_in_text.problems(fix):
                findings.error(("cause", i, "fix", j), problem)
            for key in ("restart", "stop", *fix.settings):
                if rule.scope != "server" and getattr(fix, key):
                    what = f"says what to do with a server, and the rule's scope is '{rule.scope}'; write a command"
                    findings.error(("cause", i, "fix", j, key), what)
    if undecoded is not None or any(p.level == "error" for p in findings.problems):
        return None, findings.problems
    _check_advice(rule, findings)
    check_claims(rule, findings)
    return compile_rule(rule), findings.problems


def _check_evidence(rule: RuleDef, findings: Findings) -> None:
    checks = [check.name for check in rule.checks]
    for said in rule.evidence:
        if said.name not in checks and not any(keys[:1] == ("check",) for keys in findings.left_out):
            findings.error(("evidence", said.name), f"there is no check '{said.name}'{did_you_mean(said.name, checks)}")


def _check_advice(rule: RuleDef, findings: Findings) -> None:
    """An alert without a fix is of no use: whatever else is unknown, each cause must have a fix to show."""
    for i, cause in enumerate(rule.causes):
        # The inputs of the cause's condition are known when the cause is reported.
        known = {f"{rule.scope}.name", *(Condition(cause.when).paths if cause.when else ())}
        sure = [fix.builds for fix in cause.fixes if not fix.when and _shows(fix, known)]
        every = any(b is None or (b.low is None and b.high is None) for b in sure)
        # Two fixes together cover every build, one up to some build and one from there on.
        every = every or ({None} <= {b.low for b in sure if b} and {None} <= {b.high for b in sure if b})
        if cause.fixes and not every:
            what = "has only fixes with conditions: where those are not known it gives no advice"
            findings.warning(("cause", i), f"{what}; end with one that always fits, or add one with otherwise = true")


def _shows(fix: FixDef, known: Collection[str]) -> bool:
    """Every required value of its texts is known."""
    texts = (Template.parse(text) for text in (fix.do, fix.command, fix.verify, fix.flags, *fix.settings.values()))
    return all(name in known for text in texts for name in text.needed)


def _check_shape(rule: RuleDef, findings: Findings, states: Collection[str] | None) -> None:
    seen: set[str] = set()
    for i, cause in enumerate(rule.causes):
        if cause.id in seen:
            findings.error(("cause", i), "is there twice")
        seen.add(cause.id)
    for i, cause in enumerate(rule.causes):
        for j, other in enumerate(cause.also):
            if other not in seen or other == cause.id:
                findings.error(("cause", i, "also", j), f"there is no other cause '{other:.60}'{did_you_mean(other[:60], seen)}")
    check_reach(rule, findings)
    if not rule.causes:
        findings.error(("cause",), "is missing: a rule says why and what to do")
    expected = {expect.state for t in rule.tests for _, expect in t.expectations} if states is None else states
    for kind in _KINDS:
        if kind not in expected:
            findings.error(("test",), f"needs at least one test that expects state = '{kind}'")
    for i, test in enumerate(rule.tests):
        _check_test(("test", i), test, seen, findings)


def _check_test(keys: Keys, test: CaseDef, causes: Collection[str], findings: Findings) -> None:
    for _, expect in test.expectations:
        if expect.cause and expect.cause not in causes:
            findings.error(keys, f"expects cause '{expect.cause}', which is not there{did_you_mean(expect.cause, causes)}")
    _check_given((*keys, "given"), test.given.items(), findings)
    _check_given((*keys, "later"), (pair for _, values in test.later for pair in values.items()), findings)
    for signal, steps in test.series.items():
        known = [(signal, step) for step in steps if step is not None and not isinstance(step, Unknown)]
        _check_given((*keys, "series"), known[:1] or [(signal, None)], findings)
        kinds = {type(step) for _, step in known}
        if len(kinds) > 1 and kinds != {int, float}:
            findings.error((*keys, "series", signal), "mixes types: a signal has one")
    for i, signal in enumerate(test.unknown):
        if signal not in CATALOGUE:
            findings.error((*keys, "unknown", i), f"names unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")


def _check_given(keys: Keys, values: Iterable[tuple[str, Value | None]], findings: Findings) -> None:
    for signal, value in values:
        spec = CATALOGUE.get(signal)
        if spec is None:
            findings.error((*keys, signal), f"gives unknown signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
        elif value is not None and not fits(spec.type, value):
            findings.error((*keys, signal), f"gives {value!r:.60} for '{signal}', which is {spec.type}")


def _called(rule: RuleDef) -> dict[Keys, str]:
    """Names of a rule's parts for people."""
    names: dict[Keys, str] = {("cause", i): f"cause '{cause.id:.60}'" for i, cause in enumerate(rule.causes) if cause.id}
    return names | {("test", i): f"test '{test.name:.120}'" for i, test in enumerate(rule.tests) if test.name}


def _conditions(rule: RuleDef) -> list[tuple[Keys, str]]:
    out: list[tuple[Keys, str]] = [(("alert", "when"), rule.when), (("alert", "clear"), rule.clear)]
    for i, cause in enumerate(rule.causes):
        out.append((("cause", i, "when"), cause.when))
        out += [(("cause", i, "fix", j, "when"), f.when) for j, f in enumerate(cause.fixes)]
    return [(keys, text) for keys, text in out if text]


def _texts(rule: RuleDef) -> list[tuple[Keys, str]]:
    out: list[tuple[Keys, str]] = [(("alert", "summary"), rule.summary)]
    out += [(("evidence", said.name), said.expression) for said in rule.evidence]
    for i, cause in enumerate(rule.causes):
        out.append((("cause", i, "text"), cause.text))
        for j, fix in enumerate(cause.fixes):
            parts = {"do": fix.do, "command": fix.command, "risk": fix.risk, "verify": fix.verify, "flags": fix.flags}
            parts |= fix.settings
            out += [(("cause", i, "fix", j, part), text) for part, text in parts.items()]
    return out
