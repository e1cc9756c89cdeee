"""The values that a rule reads for one entity at one time: each is read when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sentinel.engine.facts.store import Fact
from sentinel.engine.rules.expression import Condition, ExpressionError, context
from sentinel.engine.rules.ruleset import SCOPES, CompiledRule
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.reading import Event
from sentinel.model.rule import EventBinding, WindowDef


class World(Protocol):
    """What evaluation reads. Every query names its time."""

    def fact(self, entity: Entity, signal: str, at: float) -> Fact | None:
        """A fresh fact, or None."""

    def facts_of(self, entity: Entity) -> Mapping[str, Fact]:
        """All facts, including expired ones."""

    def why_missing(self, entity: Entity, signal: str, at: float) -> Unknown:
        """Why there is no value, and what would provide it."""

    def window(self, entity: Entity, window: WindowDef, at: float) -> float | None:
        """A window reduced to a number."""

    def happened(self, entity: Entity, event: str, since: float) -> tuple[int, Event | None]:
        """How often since then, and the last."""

    def run_start(self, entity: Entity) -> float:
        """When the server's present run began."""

    def observed(self, entity: Entity, event: str) -> Unknown | None:
        """None if the absence of this event is meaningful, else why it is not."""

    def still(self, entity: Entity, events: Iterable[str]) -> World:
        """What is known of an entity now, whatever is read later; of each of these events only the last."""


class Known(dict[str, Any]):
    """The values that a rule reads or computes, by name; None is unknown. Each is worked out when it is first asked for.

    Most rules are left at the first operand of their `when`, which reads one or two of twenty names (measured: 12,500 of 17,700).
    """

    __slots__ = ("_at", "_compiled", "_entity", "_world", "forgives")

    def __init__(self, compiled: CompiledRule, entity: Entity, at: float, world: World) -> None:
        super().__init__({f"{entity.scope}.name": entity.name})
        self._compiled, self._entity, self._at, self._world = compiled, entity, at, world
        #: a value or check with a type mistake is unknown; else it raises ExpressionError
        self.forgives = False

    def __missing__(self, path: str) -> Any:
        compiled = self._compiled
        value: Any = None
        if (read := compiled.signal_reads.get(path)) is not None:
            max_age, on_host = read
            fact = self._world.facts_of(HOST if on_host else self._entity).get(path)
            if fact is not None and (max_age is None or self._at - fact.at <= max_age):
                value = fact.value
        elif (step := compiled.named.get(path)) is not None:
            value = self._work_out(path, step)
        elif (binding := compiled.bindings.get(path.partition(".")[0])) is not None:
            # A field that the event lacks is asked for after the event was read.
            if f"{binding.name}.count" not in self:
                self._read_event(binding)
            value = self.get(path)
        elif (window := compiled.windows.get(path)) is not None:
            value = self._world.window(self._entity, window, self._at)
        self[path] = value
        return value

    def _work_out(self, name: str, step: Condition) -> Any:
        # In a cycle, which only a rule that was not linted can have, the name is unknown.
        self[name] = None
        try:
            return self.ask(step)
        except ExpressionError:
            if not self.forgives:
                del self[name]
                raise
            return None
        except RecursionError:
            del self[name]
            raise

    def ask(self, condition: Condition) -> Any:
        """The result of an expression; None if unknown. Raises ExpressionError for a type mistake."""
        return condition.ask(self, lambda: self._prepare(condition))

    def keep(self, world: World) -> None:
        """Read all that the rule reads; what else is asked for is as it was in `world`."""
        self._read()
        self._world = world

    def _read(self) -> None:
        compiled = self._compiled
        for path in (*compiled.signal_reads, *compiled.windows, *(f"{name}.count" for name in compiled.bindings)):
            self[path]

    def _prepare(self, condition: Condition) -> Any:
        """All known values as CEL takes them: nested tables."""
        self._read()
        for path in condition.paths:
            self[path]
        tables: dict[str, Any] = {scope: {} for scope in SCOPES}
        for name, value in self.items():
            if value is not None:
                *outer, last = name.split(".", 2)
                here = tables
                for part in outer:
                    here = here.setdefault(part, {})
                here[last] = value
                if last == "count" and outer:
                    here.setdefault("fields", {})
        return context(tables)

    def _read_event(self, binding: EventBinding) -> None:
        name = binding.name
        count, last = _happened(binding, self._entity, self._at, self._world)
        if last is not None:
            self[f"{name}.count"] = count
            self[f"{name}.age"] = max(0.0, self._at - last.at)
            for key, held in last.fields.items():
                self[f"{name}.fields.{key}"] = held
        else:
            self[f"{name}.count"] = 0 if self._world.observed(self._entity, binding.event) is None else None
            self[f"{name}.age"] = None


def _happened(binding: EventBinding, entity: Entity, at: float, world: World) -> tuple[int, Event | None]:
    since = world.run_start(entity) if binding.over is None else at - binding.over
    return world.happened(entity, binding.event, since)


@dataclass(frozen=True, slots=True)
class Scene:
    """A rule's question: the rule, the entity and the time, with what is known so far."""

    compiled: CompiledRule
    entity: Entity
    at: float
    world: World
    #: with the results of values and checks, as far as they were evaluated
    known: Known

    def ask(self, condition: Condition) -> Any:
        """The result of an expression; None if unknown. Raises ExpressionError for a type mistake."""
        try:
            return self.known.ask(condition)
        except RecursionError:
            # A file may contain a chain of thousands: then each value after those that it reads.
            self.work_out()
            return self.known.ask(condition)

    def work_out(self) -> None:
        """Every value and check."""
        for name, _ in self.compiled.steps:
            self.known[name]

    def complete(self) -> None:
        """The same; what has a type mistake is unknown here."""
        self.known.forgives = True
        self.work_out()

    def kept(self) -> Scene:
        """The same, whatever is read later."""
        world = self.world.still(self.entity, self.compiled.events)
        self.known.keep(world)
        return replace(self, world=world)

    def newest(self) -> float | None:
        """The time of the newest event that the rule reads."""
        times = (_happened(b, self.entity, self.at, self.world)[1] for b in self.compiled.bindings.values())
        return max((last.at for last in times if last is not None), default=None)


def find(known: Known, path: str) -> Any:
    """The value of a dotted name; None if unknown. Tables are not values."""
    value = known[path]
    return None if isinstance(value, Mapping) else value
