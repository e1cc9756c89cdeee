"""Which rules to evaluate for which entity: at once after a change, and later when time alone can change the verdict."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
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
_NEVER = (0.0, 0.0)


def timing(compiled: CompiledRule, record: Record, state: EngineState) -> Timing:
    """The rule's times; longer while the alert flaps."""
    rule, clear_after = compiled.rule, compiled.rule.clear_after
    if rule.clear_after_by_hand is not None and state.is_by_hand(record.entity):
        clear_after = rule.clear_after_by_hand
    return flapping.stretched(Timing(rule.hold, rule.keep_firing_for, clear_after), record.flaps)


#: Signals that say whether it counts that an event did not happen: every rule that reads events reads them.
_OBSERVING = frozenset({"server.log_readable", "host.kernel_log_readable"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is to judge, looked up once for all rules."""

    known: Mapping[Scope, list[Entity]]
    #: entities that had an event, by its name
    happened: Mapping[str, set[Entity]]
    #: entities with an open alert, by rule
    open: Mapping[str, set[Entity]]
    #: scopes of which there is an entity that nothing but its events or an alert names
    strange: Set[Scope]


class Worklist:
    """Pairs of rule and entity, each once, in the order in which they were marked; and timers."""

    def __init__(self, ruleset: RuleSet, state: EngineState, book: Book, inhibition: Inhibition) -> None:
        self._state = state
        self._book = book
        self._inhibition = inhibition
        self._timers: list[tuple[float, str, Scope, str]] = []
        self._dirty: dict[tuple[str, Entity], None] = {}
        #: by entity and rule, since when and until when it cannot match unless something that it reads changes
        self._rests: dict[Entity, dict[str, tuple[float, float]]] = {}
        #: the same of what has an open alert, until when nothing changes of its verdict and its cause
        self._stands: dict[Entity, dict[str, float]] = {}
        self._shrunk = 0
        self.use(ruleset)

    def use(self, ruleset: RuleSet) -> None:
        """Switch to another rule set; marks stay."""
        self.ruleset = ruleset
        aging = {rule_id: compiled.aging() for rule_id, compiled in ruleset.rules.items()}
        self._restless = tuple((rule_id, events) for rule_id, events in aging.items() if events or ruleset.rules[rule_id].windows)
        self._stir_all()

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
        if (key := (rule_id, entity)) in self._dirty:
            # Most often: the lines of one reading are of few kinds.
            return
        rule = self.ruleset.rules[rule_id].rule
        if rule.scope == entity.scope and (rule.outlives_server or not self._over(rule_id, entity)):
            self._dirty[key] = None

    def _over(self, rule_id: str, entity: Entity) -> bool:
        """Its server ended, and the rule had nothing to say of it: 200 such servers took 6 % of a core (measured)."""
        run = self._state.runs.get(entity)
        return run is not None and run.gone and ((record := self._book.peek(rule_id, entity)) is None or record.rests)

    def rest(self, rule_id: str, entity: Entity, since: float, until: float) -> None:
        """Between these times the rule cannot match there unless something that it reads changes."""
        self._rests.setdefault(entity, {})[rule_id] = (since, until)

    def stand(self, rule_id: str, entity: Entity, until: float) -> None:
        """Until then nothing changes of an open alert's verdict and cause, unless something that its rule reads changes."""
        self._stands.setdefault(entity, {})[rule_id] = until

    def stir(self, entity: Entity, rule_id: str | None = None) -> None:
        """It may match, or, without a rule, any may."""
        if rule_id is None:
            self._rests.pop(entity, None)
            self._stands.pop(entity, None)
        elif entity in self._rests:
            self._rests[entity].pop(rule_id, None)

    def _stir_all(self) -> None:
        self._rests.clear()
        self._stands.clear()

    def _again(self, rule_id: str, entity: Entity, at: float) -> None:
        """Mark what time alone may have changed: of 20 rules that were judged again each second 17 could not match (measured)."""
        since, until = self._rests.get(entity, {}).get(rule_id, _NEVER)
        if not since <= at < until:
            self.mark(rule_id, entity)

    def touch(self, signal: str, entity: Entity) -> None:
        """A signal changed: mark its readers. Rules about servers and GPUs read the host's signals too."""
        if signal in _OBSERVING:
            self._stir_all()
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
        seen = self._seen()
        parts = self._in_parts(seen)
        for rule_id, compiled in self.ruleset.rules.items():
            if not parts or compiled.rule.scope != "server":
                for one in self._judged(compiled, seen):
                    self._again(rule_id, one, at)
        if parts:
            self._sweep_part(at)

    @staticmethod
    def _in_parts(seen: _Seen) -> bool:
        return sum(map(len, seen.known.values())) > _AT_ONCE

    def _sweep_part(self, at: float) -> None:
        for entity in list(self._state.facts.entities())[int(at) % _PARTS :: _PARTS]:
            if entity.scope == "server":
                for rule_id in self.ruleset.rules:
                    self._again(rule_id, entity, at)

    def mark_open(self) -> None:
        """Every open alert."""
        for record in self._book.open():
            self.mark(record.rule, record.entity)

    def mark_restless(self, at: float) -> None:
        """Rules whose verdict time alone can change, and the next part of a sweep."""
        seen = self._seen()
        if self._in_parts(seen):
            self._sweep_part(at)
        for rule_id, events in self._restless:
            compiled = self.ruleset.rules[rule_id]
            # An event that never happened cannot age: half of what an idle daemon evaluated was that (measured).
            aging = [seen.happened.get(event, ()) for event in events]
            if compiled.windows or any(aging):
                for entity in self._judged(compiled, seen):
                    if compiled.windows or any(entity in had for had in aging):
                        self._again(rule_id, entity, at)

    def unchanged_until(self) -> float:
        """The time before which time alone changes no verdict and no alert."""
        seen = self._seen()
        first = self._timers[0][0] if self._timers else float("inf")
        for rule_id, compiled in self.ruleset.rules.items():
            for entity in self._judged(compiled, seen):
                if first == float("-inf"):
                    return first
                if compiled.rule.outlives_server or not self._over(rule_id, entity):
                    first = min(first, self._unchanged_until(rule_id, entity))
        return first

    def _unchanged_until(self, rule_id: str, entity: Entity) -> float:
        record = self._book.peek(rule_id, entity)
        if record is None or record.rests:
            return self._rests.get(entity, {}).get(rule_id, _NEVER)[1]
        return min(self._stands.get(entity, {}).get(rule_id, float("-inf")), flapping.steady_at(record.flaps))

    def entities(self, compiled: CompiledRule) -> list[Entity]:
        """The entities that a rule is evaluated for."""
        return self._judged(compiled, self._seen())

    def _mark_about(self, rules: Collection[str], entity: Entity) -> None:
        """Mark these rules for an entity; for the host, which all entities share, for each of them."""
        if entity != HOST:
            for rule_id in rules:
                self.mark(rule_id, entity)
        elif rules:
            seen = self._seen()
            for rule_id in rules:
                for one in self._judged(self.ruleset.rules[rule_id], seen):
                    self.mark(rule_id, one)

    def _seen(self) -> _Seen:
        if self._state.log.shrunk != self._shrunk:
            # Events were forgotten before their time.
            self._shrunk = self._state.log.shrunk
            self._stir_all()
        known: dict[Scope, list[Entity]] = {}
        for entity in self._state.facts.entities():
            known.setdefault(entity.scope, []).append(entity)
        alerts: dict[str, set[Entity]] = {}
        for record in self._book.open():
            alerts.setdefault(record.rule, set()).add(record.entity)
        happened = self._state.log.by_name()
        strangers = set[Entity]().union(*happened.values(), *alerts.values()).difference(*known.values())
        return _Seen(known, happened, alerts, {entity.scope for entity in strangers})

    def _judged(self, compiled: CompiledRule, seen: _Seen) -> list[Entity]:
        scope = compiled.rule.scope
        if scope == "host":
            return [HOST]
        known = seen.known.get(scope, [])
        if scope not in seen.strange:
            return known
        # A GPU that is gone, or that only the kernel's log named, has no facts. Its events may come to matter by time alone (a
        # hang that no reset follows), and its alert must end some day.
        named = {e for event in compiled.events for e in seen.happened.get(event, ()) if e.scope == scope}
        named |= seen.open.get(compiled.rule.id, set())
        return known + sorted(named.difference(known), key=lambda e: e.name)

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
