"""Compiles the definition of a rule: its expressions and texts, and what they read."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.already_set import signals_of
from sentinel.engine.rules.cel_syntax import conjuncts
from sentinel.engine.rules.evaluation_order import in_order
from sentinel.engine.rules.expression import Condition
from sentinel.engine.rules.on_gpu import READS as OF_ITS_GPUS
from sentinel.engine.rules.on_gpu import names_a_maker
from sentinel.engine.rules.quick_no import QuickNo
from sentinel.engine.rules.ruleset import SCOPES, CompiledCause, CompiledFix, CompiledRule, Deferred, read_by
from sentinel.engine.rules.runtime import READS
from sentinel.engine.rules.template import Template
from sentinel.llama.flags_in_text import builds_of
from sentinel.model.rule import CauseDef, FixDef, RuleDef

_TABLES = frozenset(SCOPES)
_OF_USER = (
    ("sudo systemctl ", "systemctl --user "),
    ("systemctl show ", "systemctl --user show "),
    ("journalctl -u ", "journalctl --user -u "),
)


def compile_rule(rule: RuleDef, *, valid: bool = False) -> CompiledRule:
    """Compile expressions and texts. Raises ExpressionError or TemplateError, unless the rule is known to be `valid`."""
    values = tuple((v.name, Condition(v.expression, valid=valid)) for v in rule.values)
    checks = tuple((c.name, Condition(c.expression, valid=valid)) for c in rule.checks)
    when = Condition(rule.when, valid=valid)
    named = dict(values + checks)
    steps = tuple((name, named[name]) for name in in_order({name: condition.paths for name, condition in named.items()}))
    clear = Condition(rule.clear, valid=valid) if rule.clear else None
    events = frozenset(b.name for b in rule.events)
    fixes = [fix for cause in rule.causes for fix in cause.fixes]
    asked = dict.fromkeys(source for source in (*(cause.when for cause in rule.causes), *(fix.when for fix in fixes)) if source)
    texts = dict.fromkeys((*(cause.text for cause in rule.causes), *(text for fix in fixes for text in _texts(fix))))
    summary = Template.parse(rule.summary)
    evidence = {said.name: Template.parse(said.expression) for said in rule.evidence}
    # What causes and fixes read, each condition and text once. They are compiled when they are needed.
    of_causes = [Condition(source, valid=valid) for source in asked]
    of_alert = [when, *([clear] if clear else [])]
    conditions = [*named.values(), *of_alert, *of_causes]
    templates = [summary, *evidence.values(), *(Template.parse(text) for text in texts)]
    paths = {p for c in conditions for p in c.paths} | {n for t in templates for n in t.names}
    if any(fix.flags or fix.settings or fix.restart or fix.stop for fix in fixes):
        # how to do that depends on what starts the server
        paths |= set(READS).union(*(signals_of(flags) for flags in dict.fromkeys(fix.flags for fix in fixes)))
    if rule.scope == "server" and any(names_a_maker(f"{fix.do}\n{fix.command}\n{fix.verify}") for fix in fixes):
        paths |= set(OF_ITS_GPUS)
    if any(_of_user(text) != text for fix in fixes for text in (fix.do, fix.command, fix.risk, fix.verify)):
        paths.add("server.user_unit")
    signals = {p for p in paths if p.partition(".")[0] in SCOPES and p != f"{rule.scope}.name"}
    signals |= {w.signal for w in rule.windows}
    for condition in (*(c for _, c in values + checks), *of_alert):
        condition.declare(_TABLES, events)
    bindings = {b.name: b for b in rule.events}
    signal_reads = {s: _read(s) for s in sorted(signals)}
    return CompiledRule(
        rule=rule,
        values=values,
        checks=checks,
        steps=steps,
        named=named,
        when=when,
        clear=clear,
        _causes=Deferred(partial(_causes, rule, events, valid=True)),
        summary=summary,
        evidence=evidence,
        about_causes=frozenset(read_by(named, of_causes) - read_by(named, of_alert) - evidence.keys()),
        signals=frozenset(signals),
        events=frozenset(b.event for b in rule.events),
        windows={w.name: w for w in rule.windows},
        bindings=bindings,
        signal_reads=signal_reads,
        quick=QuickNo(when, named, signal_reads, bindings, _TABLES),
    )


def operands(rule: RuleDef) -> tuple[Condition, ...]:
    """The parts of a valid rule's `when` that must all be true."""
    events = frozenset(b.name for b in rule.events)
    found = tuple(Condition(source, valid=True) for source in conjuncts(rule.when))
    for one in found:
        one.declare(_TABLES, events)
    return found


@cache
def _read(signal: str) -> tuple[float | None, bool]:
    """Its max age and whether it is the host's: the same tuple for each rule."""
    spec = CATALOGUE.get(signal)
    return spec.stale_after if spec is not None else None, signal.startswith("host.")


def _fix(fix: FixDef, events: frozenset[str], *, valid: bool) -> CompiledFix:
    do, command, risk, verify = (_of_user(text) for text in (fix.do, fix.command, fix.risk, fix.verify))
    theirs = replace(fix, do=do, command=command, risk=risk, verify=verify)
    return CompiledFix(
        fix=fix,
        when=_condition(fix.when, events, valid=valid),
        do=Template.parse(fix.do),
        command=Template.parse(fix.command),
        risk=Template.parse(fix.risk),
        verify=Template.parse(fix.verify),
        flags=Template.parse(fix.flags),
        settings={place: Template.parse(text) for place, text in fix.settings.items()},
        verify_builds=builds_of(fix.verify),
        of_user=_fix(theirs, events, valid=True) if theirs != fix else None,
    )


def _texts(fix: FixDef) -> tuple[str, ...]:
    return (fix.do, fix.command, fix.risk, fix.verify, fix.flags, *fix.settings.values())


def _of_user(text: str) -> str:
    """Commands for the system's systemd about the server's unit, rewritten for the user's systemd. Other text is unchanged."""
    if "{server.unit}" not in text:
        return text
    for system, own in _OF_USER:
        text = text.replace(system, own)
    return text


def _causes(rule: RuleDef, events: frozenset[str], *, valid: bool) -> tuple[CompiledCause, ...]:
    return tuple(_cause(cause, events, valid=valid) for cause in rule.causes)


def _cause(cause: CauseDef, events: frozenset[str], *, valid: bool) -> CompiledCause:
    fixes = Deferred(partial(_fixes, cause, events, valid=valid))
    return CompiledCause(cause, _condition(cause.when, events, valid=valid), Template.parse(cause.text), fixes)


def _fixes(cause: CauseDef, events: frozenset[str], *, valid: bool) -> tuple[CompiledFix, ...]:
    return tuple(_fix(fix, events, valid=valid) for fix in cause.fixes)


def _condition(source: str, events: frozenset[str], *, valid: bool) -> Condition | None:
    if not source:
        return None
    condition = Condition(source, valid=valid)
    condition.declare(_TABLES, events)
    return condition
