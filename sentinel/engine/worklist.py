"""Which rules to evaluate for which entity: at once after a change, and later when time alone can change the verdict."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from sentinel.engine.alerts import flapping
from sentinel.engine.alerts.book import Book, Record
from sentinel.engine.alerts.inhibition import Inhibition
from sentinel.engine.alerts.lifecycle import Timing, deadline
from sentinel.engine.facts.state import EngineState
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.model.entity import HOST, Entity, Scope

#: With more entities than this a sweep takes so many ticks, as many as lie between two sweeps.
_AT_ONCE, _PARTS = 40, 10


def timing(compiled: CompiledRule, record: Record, state: EngineState) -> Timing:
    """The rule's times; longer while the alert flaps."""
    rule, clear_after = compiled.rule, compiled.rule.clear_after
    if rule.clear_after_by_hand is not None and state.is_by_hand(record.entity):
        clear_after = rule.clear_after_by_hand
    return flapping.stretched(Timing(rule.hold, rule.keep_firing_for, clear_after), record.flaps)


class Worklist:
    """Pairs of rule and entity, each once, in the order in which they were marked; and timers."""

    def __init__(self, ruleset: RuleSet, state: EngineState, book: Book, inhibition: Inhibition) -> None:
        self._state = state
        self._book = book
        self._inhibition = inhibition
        self._timers: list[tuple[float, str, Scope, str]] = []
        self._dirty: dict[tuple[str, Entity], None] = {}
        self.use(ruleset)

    def use(self, ruleset: RuleSet) -> None:
        """Switch to another rule set; marks stay."""
        self.ruleset = ruleset
        self._restless = tuple(rule_id for rule_id, r in ruleset.rules.items() if r.depends_on_time)

    def __bool__(self) -> bool:
        """There is something to evaluate at once."""
        return bool(self._dirty)

    def take(self) -> list[tuple[str, Entity]]:
        """Return what to evaluate at once, causes before their effects, and clear the list."""
        due, self._dirty = list(self._dirty), {}
        rank = self._inhibition.rank
        return sorted(due, key=lambda one: rank.get(one[0], 0)) if rank else due

    # --- at once ---

    def mark(self, rule_id: str, entity: Entity) -> None:
        """One rule for one entity, if the scope fits, and if it can still come to fire there."""
        rule = self.ruleset.rules[rule_id].rule
        if rule.scope == entity.scope and (rule.outlives_server or not self._over(rule_id, entity)):
            self._dirty[(rule_id, entity)] = None

    def _over(self, rule_id: str, entity: Entity) -> bool:
        """Its server ended, and the rule had nothing to say of it: 200 such servers took 6 % of a core (measured)."""
        run = self._state.runs.get(entity)
        return run is not None and run.gone and self._book.peek(rule_id, entity) is None

    def touch(self, signal: str, entity: Entity) -> None:
        """A signal changed: mark its readers. Rules about servers and GPUs read the host's signals too."""
        self._mark_about(self.ruleset.by_signal.get(signal, ()), entity)

    def mark_entity(self, entity: Entity) -> None:
        """Every rule for one entity; for the host every rule of every entity."""
        self._mark_about(self.ruleset.rules, entity)

    def mark_all(self) -> None:
        """Every rule for every entity."""
        self._mark_about(self.ruleset.rules, HOST)

    def sweep(self, at: float) -> None:
        """Every rule for every entity; of a machine with many servers a part at each tick, because one step of the engine holds
        up all else: 200 servers took 0.4 s at once."""
        known = list(self._state.facts.entities())
        if len(known) <= _AT_ONCE:
            self.mark_all()
            return
        for rule_id, compiled in self.ruleset.rules.items():
            if compiled.rule.scope != "server":
                for one in self._judged(compiled, known):
                    self.mark(rule_id, one)
        self._sweep_part(known, at)

    def _sweep_part(self, known: list[Entity], at: float) -> None:
        if len(known) > _AT_ONCE:
            for entity in known[int(at) % _PARTS :: _PARTS]:
                if entity.scope == "server":
                    self.mark_entity(entity)

    def mark_open(self) -> None:
        """Every open alert."""
        for record in self._book.open():
            self.mark(record.rule, record.entity)

    def mark_restless(self, at: float) -> None:
        """Rules whose verdict time alone can change, and the next part of a sweep."""
        known = list(self._state.facts.entities())
        self._sweep_part(known, at)
        for rule_id in self._restless:
            compiled = self.ruleset.rules[rule_id]
            for entity in self._judged(compiled, known):
                if compiled.windows or any(
                    self._happened(entity, b.event) for b in compiled.bindings.values() if b.over is not None
                ):
                    self.mark(rule_id, entity)

    def entities(self, compiled: CompiledRule) -> list[Entity]:
        """The entities that a rule is evaluated for."""
        return self._judged(compiled, self._state.facts.entities())

    def _mark_about(self, rules: Iterable[str], entity: Entity) -> None:
        """Mark these rules for an entity; for the host, which all entities share, for each of them."""
        known = list(self._state.facts.entities()) if entity == HOST else []
        for rule_id in rules:
            for one in self._judged(self.ruleset.rules[rule_id], known) if entity == HOST else [entity]:
                self.mark(rule_id, one)

    def _judged(self, compiled: CompiledRule, facts_of: Iterable[Entity]) -> list[Entity]:
        scope = compiled.rule.scope
        if scope == "host":
            return [HOST]
        known = [e for e in facts_of if e.scope == scope]
        # A GPU that is gone, or that only the kernel's log named, has no facts. Its events may come to matter by time alone (a
        # hang that no reset follows), and its alert must end some day.
        happened = self._state.log.entities({b.event for b in compiled.bindings.values()}) if compiled.bindings else ()
        named = {e for e in happened if e.scope == scope} | {r.entity for r in self._book.open() if r.rule == compiled.rule.id}
        return known + sorted(named.difference(known), key=lambda e: e.name)

    def _happened(self, entity: Entity, event: str) -> bool:
        """An event that never happened cannot age: half of what an idle daemon evaluated was that (measured)."""
        return self._state.happened(entity, event, float("-inf"))[0] > 0

    # --- later ---

    def wake(self, record: Record, at: float) -> None:
        """Set a timer for when time alone can change what notifies."""
        for due in (
            deadline(record.life, timing(self.ruleset.rules[record.rule], record, self._state)),
            self._inhibition.due(record),
        ):
            if due is not None and due > at:
                heapq.heappush(self._timers, (due, record.rule, record.entity.scope, record.entity.name))

    def run_timers(self, at: float) -> None:
        """Mark what is due."""
        while self._timers and self._timers[0][0] <= at:
            _, rule_id, scope, name = heapq.heappop(self._timers)
            if rule_id in self.ruleset.rules:
                self.mark(rule_id, Entity(scope, name))

    def dump(self) -> list[list[Any]]:
        """The timers, each once. The list of what to evaluate at once is empty between two steps."""
        return [list(timer) for timer in sorted(set(self._timers))]

    def load(self, timers: list[list[Any]], changed: frozenset[str]) -> None:
        """Restore what `dump` returned; `changed` are rules that were different then.

        An expired timer is not set again, or rules would be evaluated once more than they were. A changed rule may have other
        times: the timers that are set now apply to it.
        """
        kept = {timer for timer in self._timers if timer[1] in changed}
        self._timers = sorted(kept | {(due, rule, scope, name) for due, rule, scope, name in timers})
