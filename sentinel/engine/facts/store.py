"""The last value of each signal of each entity, its age, and the reason if it is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sentinel.engine.facts.catalogue import CATALOGUE, present_name
from sentinel.model.cuts import Cuts, text
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.input_limits import MOST_LONG_TEXTS, SHORT_TEXT
from sentinel.model.signal import Signal, SignalOrigin
from sentinel.model.text import clean

#: why a value that only its log can give is unknown, where that log is read
NOT_IN_ITS_LOG = "its log does not say so, as far as it was read"


class Fact(NamedTuple):
    """A signal's last value, when it was last confirmed (epoch seconds) and by which source.

    A named tuple, because a busy server's log confirms facts with every request.
    """

    value: Value
    at: float
    source: str


#: of these types a value is kept as it is
_EXACT: Mapping[str, type] = {"flag": bool, "int": int, "float": float}


def _typed(signal: Signal, value: Value) -> Value:
    """Bring a value to its signal's type; a float signal accepts an int, nothing else is converted silently."""
    if signal.type == "flag" and isinstance(value, bool):
        return value
    if signal.type == "text" and isinstance(value, str):
        # CEL rejects text that is not Unicode, and would end the daemon over a file name.
        return value if value.isascii() else clean(value)
    if signal.type == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if signal.type == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise TypeError(f"signal {signal.name} is {signal.type}, got {value!r}")


class FactStore:
    """Facts by entity and signal. Times are data: every look-up takes the time it asks for."""

    def __init__(self, cuts: Cuts | None = None) -> None:
        self._cuts = Cuts() if cuts is None else cuts
        self._facts: dict[Entity, dict[str, Fact]] = {}
        self._unknown: dict[Entity, dict[str, Unknown]] = {}

    def put(self, entity: Entity, name: str, value: Value | Unknown, at: float, source: str) -> bool:
        """Store a value; True if the stored value changed. Raises KeyError for a signal that is not in the catalogue."""
        signal = CATALOGUE[name]
        facts = self._facts.setdefault(entity, {})
        if isinstance(value, Unknown):
            why = (
                value
                if len(value.why) + len(value.remedy) <= 2 * SHORT_TEXT
                else Unknown(text(value.why, SHORT_TEXT), text(value.remedy, SHORT_TEXT))
            )
            self._unknown.setdefault(entity, {})[name] = why
            return facts.pop(name, None) is not None
        typed = value if type(value) is _EXACT.get(signal.type) else _typed(signal, value)
        if type(typed) is str and len(typed) > SHORT_TEXT:
            typed = self._within(entity, name, typed, facts)
        if unknown := self._unknown.get(entity):
            unknown.pop(name, None)
        old = facts.get(name)
        facts[name] = Fact(typed, at, source)
        if old is None or old.value != typed:
            return True
        return signal.stale_after is not None and at - old.at > signal.stale_after

    def _within(self, entity: Entity, name: str, value: str, facts: Mapping[str, Fact]) -> str:
        """A long text, cut to what an entity may hold of them."""
        kept = text(value)
        long = sum(len(f.value) for n, f in facts.items() if n != name and type(f.value) is str and len(f.value) > SHORT_TEXT)
        if long + len(kept) > MOST_LONG_TEXTS:
            kept = text(value, SHORT_TEXT)
        if len(kept) < len(value):
            self._cuts.add(entity, f"the text of {name} was longer than is kept")
        return kept

    def get(self, entity: Entity, name: str, at: float) -> Fact | None:
        """The fact if it is known and not expired at time `at`."""
        facts = self._facts.get(entity)
        fact = facts.get(name) if facts is not None else None
        if fact is None:
            return None
        stale_after = CATALOGUE[name].stale_after
        if stale_after is not None and at - fact.at > stale_after:
            return None
        return fact

    def last(self, entity: Entity, name: str) -> Fact | None:
        """The fact however old it is: for what was true just before something ended."""
        return self._facts.get(entity, {}).get(name)

    def why_missing(self, entity: Entity, name: str, at: float) -> Unknown:
        """Why `get` returns nothing, and what would provide the value."""
        signal = CATALOGUE[name]
        if why := self._unknown.get(entity, {}).get(name):
            return why
        fact = self._facts.get(entity, {}).get(name)
        if fact is not None:
            return Unknown(f"last read {at - fact.at:.0f} s ago by {fact.source}, older than its max age", signal.provide)
        if signal.provide == CATALOGUE["server.log_readable"].provide:
            read = self._facts.get(entity, {}).get("server.log_readable")
            if read is not None and read.value is True:
                # Whoever does this already is not advised to do it (a server that loads has not printed its slots yet).
                return Unknown(NOT_IN_ITS_LOG)
        return Unknown("not read yet", signal.provide)

    def forget(
        self,
        entity: Entity,
        origins: tuple[SignalOrigin, ...],
        before: float | None = None,
        but: frozenset[str] = frozenset(),
    ) -> set[str]:
        """Drop facts of these origins, older than `before` if given, except `but`; returns the names of the signals dropped."""
        facts = self._facts.get(entity, {})
        gone = {
            name
            for name, fact in facts.items()
            if CATALOGUE[name].origin in origins and name not in but and (before is None or fact.at < before)
        }
        for name in gone:
            del facts[name]
        unknown = self._unknown.get(entity, {})
        for name in [n for n in unknown if CATALOGUE[n].origin in origins]:
            del unknown[name]
        return gone

    def drop(self, entity: Entity, name: str) -> bool:
        """Drop one fact; True if there was one."""
        return self._facts.get(entity, {}).pop(name, None) is not None

    def entities(self) -> Iterator[Entity]:
        """Every entity that has facts or known gaps."""
        yield from sorted(self._facts.keys() | self._unknown.keys(), key=lambda e: (e.scope, e.name))

    def still(self, entities: Iterable[Entity]) -> FactStore:
        """What is known of these entities now."""
        kept = FactStore(self._cuts)
        for entity in entities:
            kept._facts[entity] = dict(self.of(entity))
            kept._unknown[entity] = dict(self.unknowns(entity))
        return kept

    def rename(self, old: Entity, new: Entity) -> set[str]:
        """Move the facts of one name to another name of the same entity; newer facts win. Returns the signals moved."""
        moved = set()
        target = self._facts.setdefault(new, {})
        for name, fact in self._facts.pop(old, {}).items():
            if name not in target or target[name].at < fact.at:
                target[name] = fact
                moved.add(name)
        self._unknown.pop(old, None)
        return moved

    def remove(self, entity: Entity) -> None:
        """Drop an entity."""
        self._facts.pop(entity, None)
        self._unknown.pop(entity, None)

    def of(self, entity: Entity) -> Mapping[str, Fact]:
        """All facts of an entity, including expired ones."""
        return self._facts.get(entity, {})

    def unknowns(self, entity: Entity) -> Mapping[str, Unknown]:
        """Signals of an entity that a source tried and failed to read, each with the reason."""
        return self._unknown.get(entity, {})

    def dump(self) -> list[list[Any]]:
        """Plain data for a checkpoint."""
        return [row for entity in self._facts for row in self.dump_of(entity)]

    def dump_of(self, entity: Entity) -> list[list[Any]]:
        """The part about one entity."""
        scope, named = entity
        return [[scope, named, name, f.value, f.at, f.source] for name, f in self._facts.get(entity, {}).items()]

    def load(self, rows: list[list[Any]]) -> None:
        """Restore what `dump` returned; rows of signals that no longer exist are dropped."""
        for scope, name, written, value, at, source in rows:
            signal = present_name(written)
            spec = CATALOGUE.get(signal)
            if spec is None:
                continue
            try:
                typed = _typed(spec, value)
            except TypeError:
                continue
            self._facts.setdefault(Entity(scope, name), {})[signal] = Fact(typed, at, source)

    def dump_gaps(self) -> dict[str, list[list[str]]]:
        """What `dump` leaves out: entities without any known fact, and the reasons of unknown signals."""
        return {
            "entities": [[e.scope, e.name] for e in self._facts],
            "unknown": [
                [e.scope, e.name, name, unknown.why, *([unknown.remedy] if unknown.remedy else [])]
                for e, unknowns in self._unknown.items()
                for name, unknown in unknowns.items()
            ],
        }

    def load_gaps(self, entities: list[list[Any]], unknown: list[list[Any]]) -> None:
        """Restore what `dump_gaps` returned."""
        for scope, name in entities:
            self._facts.setdefault(Entity(scope, name), {})
        for scope, name, written, why, *remedy in unknown:
            signal = present_name(written)
            if signal in CATALOGUE and CATALOGUE[signal].scope == scope:
                self._unknown.setdefault(Entity(CATALOGUE[signal].scope, name), {})[signal] = Unknown(why, *remedy)
