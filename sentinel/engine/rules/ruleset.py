"""Compiled rules and the index that says which rules a reading touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.cel_syntax import conjuncts
from sentinel.engine.rules.evaluation_order import in_order
from sentinel.engine.rules.expression import Condition
from sentinel.engine.rules.runtime import READS
from sentinel.engine.rules.template import Template
from sentinel.llama.flags_in_text import builds_of
from sentinel.model.alert import fingerprint
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Entity
from sentinel.model.event import EventDef
from sentinel.model.rule import CauseDef, EventBinding, FixDef, OverrideDef, RuleDef, WindowDef

SCOPES = ("server", "host", "gpu")
_TABLES = frozenset(SCOPES)


T = TypeVar("T")


class Deferred(Generic[T]):
    """Computed on first use and cached: causes and fixes are needed only while their rule fires.

    Computing those of all shipped rules in advance took 2 MB in an idle daemon (measured).
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []

    def get(self) -> T:
        """The same object each time."""
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: how it is computed, not what came of it."""
        return Deferred, (self._make,)


@dataclass(frozen=True, slots=True)
class CompiledFix:
    """A fix with its condition and texts compiled."""

    fix: FixDef
    when: Condition | None
    do: Template
    command: Template
    risk: Template
    verify: Template
    flags: Template
    settings: Mapping[str, Template]
    #: builds that accept the flags of `verify`
    verify_builds: BuildRange | None
    #: the same for a unit of a user's own systemd, if it names the unit
    of_user: CompiledFix | None = None


@dataclass(frozen=True, slots=True)
class CompiledCause:
    """A cause with its condition and text compiled."""

    cause: CauseDef
    when: Condition | None
    text: Template
    _fixes: Deferred[tuple[CompiledFix, ...]]

    @property
    def fixes(self) -> tuple[CompiledFix, ...]:
        """Its fixes, in file order."""
        return self._fixes.get()


@dataclass(frozen=True, slots=True)
class Premise:
    """An operand of the outermost `&&` of a rule's `when`, and the values and checks that it reads, in order."""

    condition: Condition
    steps: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A compiled rule. `signals` and `events` are all it reads, in any of its parts."""

    rule: RuleDef
    values: tuple[tuple[str, Condition], ...]
    checks: tuple[tuple[str, Condition], ...]
    #: values and checks in the order of evaluation
    steps: tuple[tuple[str, Condition], ...]
    premises: tuple[Premise, ...]
    #: the steps that `when` and `clear` read
    deciding: tuple[tuple[str, Condition], ...]
    when: Condition
    clear: Condition | None
    _causes: Deferred[tuple[CompiledCause, ...]]
    summary: Template
    #: by check, its sentence for people
    evidence: Mapping[str, Template]
    signals: frozenset[str]
    events: frozenset[str]
    windows: Mapping[str, WindowDef]
    bindings: Mapping[str, EventBinding]
    #: each signal with its max age (seconds, None for no limit) and whether it is the host's
    reads: tuple[tuple[str, float | None, bool], ...]
    #: the same by signal
    signal_reads: Mapping[str, tuple[float | None, bool]]

    @property
    def causes(self) -> tuple[CompiledCause, ...]:
        """Its causes, in file order."""
        return self._causes.get()

    def fingerprint(self, entity: Entity) -> str:
        """Identity of this rule's alert for an entity."""
        return fingerprint(self.rule.id, entity)

    @property
    def depends_on_time(self) -> bool:
        """A window or an event that ages out can change the verdict without a new reading."""
        return bool(self.windows) or any(b.over is not None for b in self.bindings.values())


def compile_rule(rule: RuleDef, *, valid: bool = False) -> CompiledRule:
    """Compile expressions and texts. Raises ExpressionError or TemplateError, unless the rule is known to be `valid`."""
    values = tuple((v.name, Condition(v.expression, valid=valid)) for v in rule.values)
    checks = tuple((c.name, Condition(c.expression, valid=valid)) for c in rule.checks)
    when = Condition(rule.when, valid=valid)
    named = dict(values + checks)
    steps = tuple((name, named[name]) for name in in_order({name: condition.paths for name, condition in named.items()}))
    premises = tuple(_premise(Condition(source, valid=valid), steps) for source in conjuncts(rule.when))
    clear = Condition(rule.clear, valid=valid) if rule.clear else None
    events = frozenset(b.name for b in rule.events)
    # Made once to validate them and to find what they read; then again when they are needed.
    causes = _causes(rule, events, valid=valid)
    summary = Template.parse(rule.summary)
    conditions = [c for _, c in values + checks] + [when]
    conditions += [c for c in (clear, *(cause.when for cause in causes)) if c is not None]
    conditions += [f.when for cause in causes for f in cause.fixes if f.when is not None]
    evidence = {said.name: Template.parse(said.expression) for said in rule.evidence}
    texts = [summary, *evidence.values(), *(cause.text for cause in causes)]
    fixes = [f for cause in causes for f in cause.fixes]
    texts += [t for f in fixes for t in (f.do, f.command, f.risk, f.verify, f.flags, *f.settings.values())]
    paths = {p for c in conditions for p in c.paths} | {n for t in texts for n in t.names}
    if any(f.fix.flags or f.settings or f.fix.restart or f.fix.stop for f in fixes):
        # how to do that depends on what starts the server
        paths |= set(READS)
    if any(f.of_user is not None for f in fixes):
        paths.add("server.user_unit")
    signals = {p for p in paths if p.partition(".")[0] in SCOPES and p != f"{rule.scope}.name"}
    signals |= {w.signal for w in rule.windows}
    for condition in (*(c for _, c in values + checks), when, *([clear] if clear else []), *(p.condition for p in premises)):
        condition.declare(_TABLES, events)
    return CompiledRule(
        rule=rule,
        values=values,
        checks=checks,
        steps=steps,
        premises=premises,
        deciding=_needed({*when.paths, *(clear.paths if clear else ())}, steps),
        when=when,
        clear=clear,
        _causes=Deferred(partial(_causes, rule, events, valid=True)),
        summary=summary,
        evidence=evidence,
        signals=frozenset(signals),
        events=frozenset(b.event for b in rule.events),
        windows={w.name: w for w in rule.windows},
        bindings={b.name: b for b in rule.events},
        reads=tuple((s, _max_age(s), s.startswith("host.")) for s in sorted(signals)),
        signal_reads={s: (_max_age(s), s.startswith("host.")) for s in signals},
    )


def _premise(condition: Condition, steps: tuple[tuple[str, Condition], ...]) -> Premise:
    return Premise(condition, _needed(set(condition.paths), steps))


def _needed(names: set[str], steps: tuple[tuple[str, Condition], ...]) -> tuple[tuple[str, Condition], ...]:
    """The steps that these names depend on, in order."""
    needed = set(names)
    # Backwards: a step reads only steps before it.
    for name, step in reversed(steps):
        if name in needed:
            needed |= set(step.paths)
    return tuple((name, step) for name, step in steps if name in needed)


def _max_age(signal: str) -> float | None:
    spec = CATALOGUE.get(signal)
    return spec.stale_after if spec is not None else None


_OF_USER = (
    ("sudo systemctl ", "systemctl --user "),
    ("systemctl show ", "systemctl --user show "),
    ("journalctl -u ", "journalctl --user -u "),
)


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


@dataclass(frozen=True)
class RuleSet:
    """All active rules and event definitions, indexed by what they read."""

    rules: Mapping[str, CompiledRule]
    events: Mapping[str, EventDef]
    by_signal: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by_event: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: the compiled events, by source
    extractors: Mapping[str, Extractor] = field(default_factory=dict)
    overrides: tuple[OverrideDef, ...] = ()

    @classmethod
    def build(
        cls,
        rules: Iterable[CompiledRule],
        events: Iterable[EventDef],
        extractors: Mapping[str, Extractor] | None = None,
        overrides: Iterable[OverrideDef] = (),
    ) -> RuleSet:
        """Index rules by signal and event. `extractors` come from another set with the same events, so already compiled.

        Not those with which the events were checked: RE2 keeps the memory that their examples needed, 10 MB (measured).
        """
        by_name = {e.name: e for e in events}
        if extractors is None:
            sources = dict.fromkeys(e.source for e in by_name.values())
            extractors = {source: Extractor([e for e in by_name.values() if e.source == source]) for source in sources}
        by_id = {r.rule.id: r for r in rules}
        by_signal: dict[str, list[str]] = {}
        by_event: dict[str, list[str]] = {}
        for rule_id, compiled in sorted(by_id.items()):
            for signal in compiled.signals:
                by_signal.setdefault(signal, []).append(rule_id)
            for event in compiled.events:
                by_event.setdefault(event, []).append(rule_id)
        return cls(
            rules=by_id,
            events=by_name,
            by_signal={k: tuple(v) for k, v in by_signal.items()},
            by_event={k: tuple(v) for k, v in by_event.items()},
            extractors=extractors,
            overrides=tuple(overrides),
        )
