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

    def oldest(self, entity: Entity, event: str, since: float) -> float:
        """When the first of those was that happened since then; -inf if that is not certain."""

    def observed(self, entity: Entity, event: str) -> Unknown | None:
        """None if the absence of this event is meaningful, else why it is not."""

    def still(self, entity: Entity, events: Iterable[str]) -> World:
        """What is known of an entity now, whatever is read later; of each of these events only the last."""


#: Of a time computed in another way than the one it is compared with. Seconds.
_ROUNDED = 0.001


class Known(dict[str, Any]):
    """The values that a rule reads or computes, by name; None is unknown. Each is computed when it is first asked for.

    Most rules are left at the first operand of their `when`, which reads one or two of twenty names (measured: 12,500 of 17,700).
    """

    __slots__ = ("_ages", "_at", "_begun", "_compiled", "_entity", "_world", "facts", "forgives", "host", "until")

    def __init__(self, compiled: CompiledRule, entity: Entity, at: float, world: World) -> None:
        super().__init__({f"{entity.scope}.name": entity.name})
        self._compiled, self._entity, self._at, self._world = compiled, entity, at, world
        #: what was ever read of the entity, and of the host, fresh or not
        self.facts = world.facts_of(entity)
        self.host = world.facts_of(HOST)
        #: a value or check with a type mistake is unknown; else it raises ExpressionError
        self.forgives = False
        #: before that, time alone changes nothing of what was read
        self.until = float("inf")
        #: when the server's present run began; -inf for what has none
        self._begun = world.run_start(entity)
        #: of the events that were read
        self._ages: dict[str, float | None] = {}

    def __missing__(self, path: str) -> Any:
        compiled = self._compiled
        value: Any = None
        if (read := compiled.signal_reads.get(path)) is not None:
            max_age, on_host = read
            fact = (self.host if on_host else self.facts).get(path)
            if fact is not None:
                if max_age is None:
                    value = fact.value
                elif self._at - fact.at <= max_age:
                    value = fact.value
                    if (until := fact.at + max_age - _ROUNDED) < self.until:
                        self.until = until
        elif (step := compiled.named.get(path)) is not None:
            value = self._work_out(path, step)
        elif (binding := compiled.bindings.get((parts := path.partition("."))[0])) is not None:
            # A field that the event lacks is asked for after the event was read.
            if binding.name not in self._ages:
                self._read_event(binding, f"{binding.name}.count")
            if parts[2] != "age":
                value = self.get(path)
            elif (value := self._ages[binding.name]) is not None:
                self.until = float("-inf")
        elif (window := compiled.windows.get(path)) is not None:
            value = self._world.window(self._entity, window, self._at)
            if value is not None:
                self.until = float("-inf")
        self[path] = value
        return value

    def count(self, binding: EventBinding, path: str) -> int | None:
        """How often an event happened; `path` is the name of that."""
        count: int | None = self[path] if path in self else self._read_event(binding, path)
        return count

    def age_until(self, path: str, limit: float) -> Any:
        """An age that is compared with `limit`: time alone changes the outcome only when it passes that."""
        age = self._age(path)
        if age is not None and age <= limit:
            self.until = min(self.until, self._at + (limit - age) - _ROUNDED)
        return age

    def age_beside(self, path: str) -> Any:
        """An age that is compared with another: both grow alike. One of nothing may be of an event whose time is to come."""
        return self._age(path) or self[path]

    def _age(self, path: str) -> float | None:
        name = path.partition(".")[0]
        if name not in self._ages:
            if path in self:
                age: float | None = self[path]
                return age
            self._read_event(self._compiled.bindings[name], f"{name}.count")
        return self._ages[name]

    def _work_out(self, name: str, step: Condition) -> Any:
        # In a cycle, which only a rule that was not linted can have, the name is unknown.
        self[name] = None
        try:
            return step.ask(self, self._prepare)
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
        try:
            return condition.ask(self, self._prepare)
        except RecursionError:
            # A file may contain a chain of thousands: then each value after those that it reads.
            self.work_out()
            return condition.ask(self, self._prepare)

    def work_out(self) -> None:
        """Every value and check."""
        for name, _ in self._compiled.steps:
            self[name]

    def keep(self, world: World) -> None:
        """Read what `world` does not say; what else is asked for is as it was there. `until` is of what was asked before."""
        until = self.until
        compiled = self._compiled
        for name, binding in compiled.bindings.items():
            if name not in self._ages:
                self._read_event(binding, f"{name}.count")
            if self._ages[name] is not None:
                self[f"{name}.age"]
        for path, (max_age, _) in compiled.signal_reads.items():
            if max_age is not None:
                self[path]
        for path in compiled.windows:
            self[path]
        self.until = until
        self._world = world
        self.facts, self.host = world.facts_of(self._entity), world.facts_of(HOST)

    def _read(self) -> None:
        compiled = self._compiled
        of_events = (f"{name}.{part}" for name in compiled.bindings for part in ("count", "age"))
        for path in (*compiled.signal_reads, *compiled.windows, *of_events):
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

    def _read_event(self, binding: EventBinding, path: str) -> int | None:
        name, event, over, world = binding.name, binding.event, binding.over, self._world
        since = self._begun if over is None else self._at - over
        found, last = world.happened(self._entity, event, since)
        count: int | None = found
        if last is not None:
            self._ages[name] = max(0.0, self._at - last.at)
            if over is not None:
                self.until = min(self.until, world.oldest(self._entity, event, since) + over - _ROUNDED)
            for key, held in last.fields.items():
                self[f"{name}.fields.{key}"] = held
        else:
            self._ages[name] = None
            count = 0 if world.observed(self._entity, event) is None else None
        self[path] = count
        return count


def _since(binding: EventBinding, entity: Entity, at: float, world: World) -> float:
    return world.run_start(entity) if binding.over is None else at - binding.over


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
        return self.known.ask(condition)

    def complete(self) -> None:
        """Evaluate whatever is left; what has a type mistake is unknown here."""
        self.known.forgives = True
        self.known.work_out()

    def kept(self) -> Scene:
        """The same, whatever is read later."""
        world = self.world.still(self.entity, self.compiled.events)
        self.known.keep(world)
        return replace(self, world=world)

    def newest(self) -> float | None:
        """The time of the newest event that the rule reads."""
        entity, at, world = self.entity, self.at, self.world
        newest: float | None = None
        for binding in self.compiled.bindings.values():
            _, last = world.happened(entity, binding.event, _since(binding, entity, at, world))
            if last is not None:
                newest = last.at if newest is None else max(newest, last.at)
                if binding.over is not None:
                    self.known.until = min(self.known.until, last.at + binding.over - _ROUNDED)
        return newest


def find(known: Known, path: str) -> Any:
    """The value of a dotted name; None if unknown. Tables are not values."""
    value = known[path]
    return None if isinstance(value, Mapping) else value
