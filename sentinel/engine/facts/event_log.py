"""The last events of each name and entity, bounded, with their counts."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from sentinel.model.entity import Entity
from sentinel.model.reading import Event

#: Kept per name and entity. A storm of one event costs at most this many small objects; counts saturate there.
_MOST = 1000


class EventLog:
    """Events by entity and name, oldest first."""

    def __init__(self) -> None:
        self._events: dict[tuple[Entity, str], deque[Event]] = {}

    def add(self, event: Event) -> None:
        """Remember an event. Events may arrive slightly out of order; they are kept as they came."""
        log = self._events.setdefault((event.entity, event.name), deque(maxlen=_MOST))
        log.append(event)

    def since(self, entity: Entity, name: str, start: float) -> tuple[int, Event | None]:
        """How many happened at or after `start`, and the last one."""
        log = self._events.get((entity, name))
        if not log or log[-1].at < start:
            return 0, None
        if log[0].at >= start:
            return len(log), log[-1]
        return len(log) - bisect_left(log, start, key=lambda e: e.at), log[-1]

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
        return (name for e, name in self._events if e == entity)

    def rename(self, old: Entity, new: Entity) -> None:
        """Move the events of one name to another name of the same entity."""
        for key in [k for k in self._events if k[0] == old]:
            merged = [*self._events.pop(key), *self._events.pop((new, key[1]), ())]
            merged.sort(key=lambda e: e.at)
            self._events[(new, key[1])] = deque((replace(e, entity=new) for e in merged), maxlen=_MOST)

    def hand_on(self, old: Entity, event: Event) -> None:
        """Move this event from `old` to its own entity, which it was about."""
        log = self._events.get((old, event.name), deque())
        for mistaken in [e for e in log if e.at == event.at]:
            log.remove(mistaken)
        self.add(event)

    def remove(self, entity: Entity) -> None:
        """Drop an entity."""
        for key in [k for k in self._events if k[0] == entity]:
            del self._events[key]

    def dump(self) -> list[list[Any]]:
        """Plain data for a checkpoint."""
        return [
            [e.at, e.name, e.entity.scope, e.entity.name, dict(e.fields), e.source, e.line, e.n]
            for log in self._events.values()
            for e in log
        ]

    def load(self, rows: list[list[Any]]) -> None:
        """Restore what `dump` returned."""
        for at, name, scope, entity, fields, source, line, n in rows:
            self.add(Event(at, name, Entity(scope, entity), fields, source, line, n))
