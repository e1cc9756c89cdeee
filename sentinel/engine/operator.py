"""What people decide about alerts: one is acknowledged, a server that ended is forgotten, a unit is restarted for one. Pure.

All come as readings of the kind Event, so a recording holds them and a replay says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from sentinel.engine.alerts.book import Book, Gate, Record
from sentinel.engine.alerts.lifecycle import Change, Life
from sentinel.engine.facts.state import EngineState
from sentinel.engine.pipeline import Pipeline
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.model.alert import Reason, Transition
from sentinel.model.entity import Entity
from sentinel.model.reading import Event

#: `source` of these events; no reader of the machine has this name
OPERATOR = "operator"
ACKNOWLEDGED = "alert_acknowledged"
FORGOTTEN = "server_forgotten"
RESTARTED = "unit_restart"
#: what `sentinel cure` reports: it begins to restart, that failed, it has restarted as often as it may
RESTARTS: Mapping[str, Reason] = {"begun": "restart", "failed": "restart-failed", "limit": "restart-limit"}


def acknowledgement(rule: str, entity: Entity, at: float) -> Event:
    """One alert is over for the person who saw it; it fires again for a new event only."""
    return Event(at, ACKNOWLEDGED, entity, {"rule": rule}, OPERATOR)


def forgetting(entity: Entity, at: float) -> Event:
    """A server that has ended: its alerts are over, and it leaves status and metrics."""
    return Event(at, FORGOTTEN, entity, {}, OPERATOR)


def restart(rule: str, entity: Entity, outcome: str, at: float) -> Event:
    """A unit is restarted because of a firing alert, or is not; `outcome` is one of RESTARTS."""
    return Event(at, RESTARTED, entity, {"rule": rule, "outcome": outcome}, OPERATOR)


class Operator:
    """Carries them out. `drop(entity)` removes an entity from everything that is kept about it."""

    def __init__(self, state: EngineState, book: Book, pipeline: Pipeline, drop: Callable[[Entity], None]) -> None:
        self._state = state
        self._book = book
        self._pipeline = pipeline
        self._drop = drop

    def take(self, event: Event, rules: Mapping[str, CompiledRule]) -> list[Transition]:
        """What follows: alerts that end, or one that says what is done about it."""
        if event.name == FORGOTTEN:
            return self.end_all(event.entity, rules, "forgotten", event.at)
        record = self._book.peek(str(event.fields.get("rule", "")), event.entity)
        if record is None:
            return []
        if event.name == ACKNOWLEDGED:
            return list(self._end(record, rules, "acknowledged", event.at))
        reason = RESTARTS.get(str(event.fields.get("outcome", ""))) if event.name == RESTARTED else None
        if reason is None or record.state != "firing" or record.rule not in rules:
            return []
        return [self._pipeline.standing(rules[record.rule], record, reason, event.at)]

    def end_all(self, entity: Entity, rules: Mapping[str, CompiledRule], reason: Reason, at: float) -> list[Transition]:
        """The alerts of a server that has ended; nothing more is kept of it. One that runs keeps what it has."""
        run = self._state.runs.get(entity)
        if run is not None and run.pid and not run.gone:
            return []
        out = [t for one in self._book.of_entity(entity) for t in self._end(one, rules, reason, at)]
        self._drop(entity)
        return out

    def _end(self, record: Record, rules: Mapping[str, CompiledRule], reason: Reason, at: float) -> Iterator[Transition]:
        if record.life.state == "inactive" or record.rule not in rules:
            return
        before, shown = record.life, record.state
        # What happened until now is over; a later event is a new failure.
        record.life = replace(Life(), since=at, matched_at=before.matched_at, spent_at=at)
        record.gate = Gate()
        change = Change(shown, "resolved", reason)
        yield from self._pipeline.notify(rules[record.rule], record, change, before, at, holds=False)
