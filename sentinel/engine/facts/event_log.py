"""The last events of each name and entity, bounded, with their counts."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from sentinel.model.cuts import Cuts
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_EVENTS, MOST_EVENTS_OF_ENTITY, MOST_EVENTS_OF_NAME
from sentinel.model.reading import Event


class EventLog:
    """Events by entity and name, oldest first."""

    def __init__(self, owner_of: Callable[[Entity], str] = lambda entity: entity.name, cuts: Cuts | None = None) -> None:
        """`owner_of` names the user whose server an entity is."""
        self._events: dict[tuple[Entity, str], deque[Event]] = {}
        self._names: dict[Entity, dict[str, None]] = {}
        #: characters that an entity's events hold, roughly, and how many of them are of each name
        self._sizes: dict[Entity, int] = {}
        self._parts: dict[tuple[Entity, str], int] = {}
        self._all = 0
        #: those whose events did not come in the order of their times
        self._mixed: set[tuple[Entity, str]] = set()
        #: how often events were forgotten for their number
        self.shrunk = 0
        self._owner_of = owner_of
        self._cuts = Cuts() if cuts is None else cuts

    def add(self, event: Event) -> None:
        """Remember an event. Events may arrive slightly out of order; they are kept as they came."""
        entity = event.entity
        key = (entity, event.name)
        log = self._events.get(key)
        if log is None:
            log = self._events[key] = deque(maxlen=MOST_EVENTS_OF_NAME)
            self._names.setdefault(entity, {})[event.name] = None
        size = _size(event)
        if log:
            if event.at < log[-1].at:
                self._mixed.add(key)
            if len(log) == MOST_EVENTS_OF_NAME:
                size -= _size(log[0])
        log.append(event)
        self._count(key, size)
        if self._sizes.get(entity, 0) > MOST_EVENTS_OF_ENTITY:
            self._shrink(entity)
        elif self._all > MOST_EVENTS:
            self._make_room()

    def _count(self, key: tuple[Entity, str], size: int) -> None:
        entity = key[0]
        self._all += size
        self._parts[key] = self._parts.get(key, 0) + size
        if (held := self._sizes.get(entity, 0) + size) > 0:
            self._sizes[entity] = held
        else:
            self._sizes.pop(entity, None)

    def _shrink(self, entity: Entity) -> None:
        """Forget the older half of whatever the entity has most of."""
        self.shrunk += 1
        longest = max(((entity, name) for name in self._names[entity]), key=lambda key: self._parts.get(key, 0))
        log, freed = self._events[longest], 0
        for _ in range(max(1, len(log) // 2)):
            freed += _size(log.popleft())
        self._count(longest, -freed)
        self._cuts.add(entity, "older events of its log, for it has more than are kept")

    def _make_room(self) -> None:
        """Whoever's servers hold most gives: never one who holds little."""
        owners: dict[str, int] = {}
        for entity, size in self._sizes.items():
            owner = self._owner_of(entity)
            owners[owner] = owners.get(owner, 0) + size
        most = max(owners, key=lambda name: (owners[name], name))
        mine = [entity for entity in self._sizes if self._owner_of(entity) == most]
        self._shrink(max(mine, key=lambda entity: (self._sizes[entity], entity.name)))

    def knows(self, entity: Entity) -> bool:
        """It has events."""
        return entity in self._sizes

    def strangers(self, known: Callable[[Entity], bool]) -> int:
        """How many servers have events and are not known otherwise."""
        return sum(entity.scope == "server" and not known(entity) for entity in self._sizes)

    def since(self, entity: Entity, name: str, start: float) -> tuple[int, Event | None]:
        """How many happened at or after `start`, and the last one."""
        log = self._events.get((entity, name))
        if not log or log[-1].at < start:
            return 0, None
        if log[0].at >= start:
            return len(log), log[-1]
        return len(log) - bisect_left(log, start, key=lambda e: e.at), log[-1]

    def oldest(self, entity: Entity, name: str, start: float) -> float:
        """When the first of those was that happened at or after `start`; -inf if that is not certain."""
        log = self._events.get((entity, name))
        if not log or (entity, name) in self._mixed:
            return float("-inf")
        return log[0].at if log[0].at >= start else log[bisect_left(log, start, key=lambda e: e.at)].at

    def by_name(self) -> dict[str, set[Entity]]:
        """The entities that had an event, by its name."""
        found: dict[str, set[Entity]] = {}
        for (entity, name), log in self._events.items():
            if log:
                found.setdefault(name, set()).add(entity)
        return found

    def entities(self, names: Collection[str]) -> set[Entity]:
        """Entities that had an event of one of these names."""
        return {entity for (entity, name), log in self._events.items() if name in names and log}

    def newest(self) -> dict[Entity, float]:
        """The time of each entity's last event."""
        newest: dict[Entity, float] = {}
        for (entity, _), log in self._events.items():
            if log:
                newest[entity] = max(newest.get(entity, float("-inf")), log[-1].at)
        return newest

    def names(self, entity: Entity) -> Iterator[str]:
        """Names of an entity's events."""
        return iter(self._names.get(entity, ()))

    def still(self, entity: Entity, names: Iterable[str]) -> EventLog:
        """The last event of each of these names."""
        kept = EventLog(self._owner_of, self._cuts)
        for name in names:
            if log := self._events.get((entity, name)):
                kept._events[entity, name] = deque((log[-1],))
        return kept

    def rename(self, old: Entity, new: Entity) -> None:
        """Move the events of one name to another name of the same entity."""
        for key in [k for k in self._events if k[0] == old]:
            merged = [*self._events.pop(key), *self._events.pop((new, key[1]), ())]
            merged.sort(key=lambda e: e.at)
            self._events[(new, key[1])] = deque((replace(e, entity=new) for e in merged), maxlen=MOST_EVENTS_OF_NAME)
            self._names.setdefault(new, {})[key[1]] = None
        self._names.pop(old, None)
        self._measure()

    def hand_on(self, old: Entity, event: Event) -> None:
        """Move this event from `old` to its own entity, which it was about."""
        log = self._events.get((old, event.name), deque())
        for mistaken in [e for e in log if e.at == event.at]:
            log.remove(mistaken)
            self._count((old, event.name), -_size(mistaken))
        self.add(event)

    def remove(self, entity: Entity) -> None:
        """Drop an entity."""
        for name in self._names.pop(entity, ()):
            del self._events[entity, name]
            self._parts.pop((entity, name), None)
            self._mixed.discard((entity, name))
        self._all -= self._sizes.pop(entity, 0)

    def _measure(self) -> None:
        self._sizes, self._parts = {}, {}
        self._all = 0
        for key, log in self._events.items():
            self._count(key, sum(map(_size, log)))

    def dump(self) -> list[list[Any]]:
        """Plain data for a checkpoint."""
        return [_row(e) for log in self._events.values() for e in log]

    def dump_of(self, entity: Entity) -> list[list[Any]]:
        """The part about one entity."""
        return [_row(e) for name in self._names.get(entity, ()) for e in self._events[entity, name]]

    def load(self, rows: list[list[Any]]) -> None:
        """Restore what `dump` returned."""
        for at, name, scope, entity, fields, source, line, n in rows:
            self.add(Event(at, name, Entity(scope, entity), fields, source, line, n))


def _row(e: Event) -> list[Any]:
    return [e.at, e.name, e.entity.scope, e.entity.name, dict(e.fields), e.source, e.line, e.n]


def _size(event: Event) -> int:
    """Characters, roughly: an object, its line, and the texts captured from that."""
    return 400 + 2 * len(event.line)
