"""Compiled rules and the index that says which rules a reading touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.expression import Condition
from sentinel.engine.rules.quick_no import QuickNo
from sentinel.engine.rules.template import Template
from sentinel.model.alert import fingerprint
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Entity
from sentinel.model.event import EventDef
from sentinel.model.rule import CauseDef, EventBinding, FixDef, OverrideDef, RuleDef, WindowDef

SCOPES = ("server", "host", "gpu")


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
class CompiledRule:
    """A compiled rule. `signals` and `events` are all it reads, in any of its parts."""

    rule: RuleDef
    values: tuple[tuple[str, Condition], ...]
    checks: tuple[tuple[str, Condition], ...]
    #: values and checks, each after those that it reads
    steps: tuple[tuple[str, Condition], ...]
    #: the same by name
    named: Mapping[str, Condition]
    when: Condition
    clear: Condition | None
    _causes: Deferred[tuple[CompiledCause, ...]]
    summary: Template
    #: by check, its sentence for people
    evidence: Mapping[str, Template]
    #: checks without a sentence that only causes and fixes ask for, not the verdict
    about_causes: frozenset[str]
    signals: frozenset[str]
    events: frozenset[str]
    windows: Mapping[str, WindowDef]
    bindings: Mapping[str, EventBinding]
    #: the max age of each signal (seconds, None for no limit) and whether it is the host's
    signal_reads: Mapping[str, tuple[float | None, bool]]
    quick: QuickNo

    @property
    def causes(self) -> tuple[CompiledCause, ...]:
        """Its causes, in file order."""
        return self._causes.get()

    def fingerprint(self, entity: Entity) -> str:
        """Identity of this rule's alert for an entity."""
        return fingerprint(self.rule.id, entity)

    def aging(self) -> tuple[str, ...]:
        """The events that can change the verdict without a new reading: they age out, or their age is compared."""
        conditions = [*self.named.values(), self.when, *([] if self.clear is None else [self.clear])]
        compared = {path for one in conditions for path in one.paths if path.endswith(".age")}
        return tuple(b.event for b in self.bindings.values() if b.over is not None or f"{b.name}.age" in compared)


def read_by(named: Mapping[str, Condition], conditions: Iterable[Condition]) -> set[str]:
    """The values and checks that these conditions read, by themselves and through others."""
    found: set[str] = set()
    unread = list(conditions)
    while unread:
        names = {name for name in unread.pop().paths if name in named} - found
        found |= names
        unread += (named[name] for name in names)
    return found


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

    def extractor(self, source: str, wanted: Callable[[EventDef], object]) -> Extractor:
        """Finds some of the events of a source."""
        whole = self.extractors.get(source)
        return Extractor([]) if whole is None else whole.only(wanted)

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
