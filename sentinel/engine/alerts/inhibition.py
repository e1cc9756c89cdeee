"""One incident, one alert: a firing alert inhibits its effects. Pure, time is an argument.

A rule's `inhibits` names its effects. An effect stays pending until every rule that could inhibit it has had its own hold time
plus `SETTLE` seconds, and while one of them is pending; then only the cause notifies, in whatever order the readings came.
While the cause fires the effect stays pending: if it ends in that time, no end is notified; if the cause ends and the effect
does not, the effect notifies as firing `SETTLE` seconds later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sentinel.engine.alerts.book import Book, Gate, Record
from sentinel.engine.alerts.lifecycle import NEVER, Change
from sentinel.engine.facts.attribution import MAIN_PROCESS_EXITED
from sentinel.engine.facts.gpu_incidents import INCIDENT
from sentinel.engine.facts.state import EngineState
from sentinel.model.alert import State
from sentinel.model.entity import HOST, Entity
from sentinel.model.rule import RuleDef

#: Seconds. Polled sources are read every five seconds (config.Intervals), so by then each of them has reported what it knows of
#: a cause. It is also the time that an effect gets to end after its cause.
SETTLE = 5.0
#: The same where the server's process has ended: nothing of it is polled any more, and its log is read to the end in a second.
SETTLE_GONE = 1.5
#: How old systemd's word may be that a process ended which nobody saw. Seconds.
_LATELY = 60.0


class Inhibition:
    """Which alert inhibits which."""

    def __init__(self, book: Book, state: EngineState) -> None:
        self._book = book
        self._state = state
        self._causes: Mapping[str, tuple[str, ...]] = {}
        self._effects: Mapping[str, tuple[str, ...]] = {}
        self._holds: Mapping[str, float] = {}
        #: causes come before their effects where both are evaluated at the same time
        self.rank: Mapping[str, int] = {}

    def use(self, rules: Iterable[RuleDef]) -> None:
        """Switch to another rule set."""
        known = {rule.id: rule for rule in rules}
        self._effects = {r.id: tuple(e for e in r.inhibits if e in known) for r in known.values() if r.inhibits}
        causes: dict[str, list[str]] = {}
        for cause, effects in sorted(self._effects.items()):
            for effect in effects:
                causes.setdefault(effect, []).append(cause)
        self._causes = {effect: tuple(ids) for effect, ids in causes.items()}
        self._holds = {effect: max(known[c].hold for c in ids) for effect, ids in causes.items()}
        rank: dict[str, int] = {}
        # At most one pass for each link of the longest chain; a rule set with a cycle is refused when it is loaded.
        for _ in causes:
            rank |= {effect: 1 + max(rank.get(cause, 0) for cause in ids) for effect, ids in causes.items()}
        self.rank = rank

    @property
    def longest(self) -> float:
        """The longest time in seconds that an effect can be held back while no cause fires."""
        return max((2 * hold + SETTLE for hold in self._holds.values()), default=0.0)

    def patience(self, rule: str) -> float:
        """Seconds from the start of an effect until it may notify: the time in which its causes are evaluated."""
        return self._holds[rule] + SETTLE if rule in self._causes else 0.0

    def _patience(self, record: Record, at: float) -> float:
        if record.rule not in self._causes or not self._has_ended(record.entity, at):
            return self.patience(record.rule)
        return self._holds[record.rule] + SETTLE_GONE

    def _has_ended(self, entity: Entity, at: float) -> bool:
        """Its process is gone, as it was seen, or by systemd's word where nobody saw it (in a container, 0.7 s of it)."""
        run = self._state.runs.get(entity)
        if run is not None and run.gone:
            return True
        since = at - _LATELY if run is None else run.since
        return entity.scope == "server" and self._state.happened(entity, MAIN_PROCESS_EXITED, since)[0] > 0

    def _of_ended(self, record: Record, at: float) -> Gate:
        """The gate of an alert that began before its process was seen to have ended: nothing more is polled of it.

        Before that a loop that starts a server again each second had its crash reported after 6 s, not 3.
        """
        gate = record.gate
        if gate.open or gate.by is not None or gate.not_before <= at or not self._has_ended(record.entity, at):
            return gate
        return replace(gate, not_before=min(gate.not_before, at + self._patience(record, at)))

    def inhibit(self, record: Record, change: Change | None, at: float, *, holds: bool) -> tuple[Gate, Change | None]:
        """The change that is left after inhibition (None: none), and the gate to remember. `holds`: the condition is known to be
        true, the alert is not only kept firing."""
        if change is not None and change.new == "resolved":
            old: State = "firing" if record.gate.open else "pending"
            return Gate(), Change(old, "resolved", change.reason)
        born = change is not None and change.old == "inactive"
        gate = Gate(not_before=at + self._patience(record, at)) if born else self._of_ended(record, at)
        if record.life.state != "firing" or gate.open:
            return gate, change
        gate, held = self._held(record, gate, at)
        if held or not holds:
            return gate, Change("inactive", "pending", change.reason) if born and change is not None else None
        reason = "cause-ended" if gate.after_cause else change.reason if change is not None else "hold-elapsed"
        return replace(gate, open=True), Change("inactive" if born else "pending", "firing", reason)

    def _held(self, record: Record, gate: Gate, at: float) -> tuple[Gate, bool]:
        cause = self.reason_for(record)
        if cause is not None:
            return replace(gate, by=(cause.rule, cause.entity), after_cause=True), True
        if gate.by is not None:
            gate = replace(gate, by=None, not_before=at + SETTLE)
        return gate, at < self._free_at(record, gate)

    def due(self, record: Record) -> float | None:
        """When an alert that is held back may notify if nothing else happens; None if it is not held back or its cause fires."""
        gate = record.gate
        if record.life.state != "firing" or gate.open or gate.by is not None:
            return None
        return self._free_at(record, gate)

    def _free_at(self, record: Record, gate: Gate) -> float:
        # Wait for a cause whose hold time runs, but a cause that never fires holds nothing back for ever.
        awaited = any(True for _ in self._related(record, "pending"))
        return gate.not_before + (self._holds[record.rule] if awaited else 0.0)

    def reason_for(self, record: Record) -> Record | None:
        """The firing alert that inhibits this one, notified or itself inhibited; None if there is none."""
        return next(self._related(record, "firing"), None)

    def effects_of(self, record: Record) -> Iterator[Record]:
        """Open alerts that this one inhibits while it fires."""
        for rule in self._effects.get(record.rule, ()):
            for other in self._book.of_rule(rule):
                if other.life.state != "inactive" and self._related_entities(record.entity, other.entity):
                    yield other

    def _related(self, record: Record, state: str) -> Iterator[Record]:
        for rule in self._causes.get(record.rule, ()):
            for other in self._book.of_rule(rule):
                if other.life.state == state and self._related_entities(other.entity, record.entity):
                    yield other

    def _related_entities(self, one: Entity, other: Entity) -> bool:
        """The same entity; the host and everything on it; a GPU and the servers that use it."""
        if one == other or HOST in (one, other):
            return True
        by_scope = {one.scope: one, other.scope: other}
        return set(by_scope) == {"gpu", "server"} and self._uses(by_scope["server"], by_scope["gpu"])

    def _uses(self, server: Entity, gpu: Entity) -> bool:
        """It holds memory on the GPU, held some when the GPU failed, or there is no other GPU."""
        _, story = self._state.happened(gpu, INCIDENT.name, NEVER)
        if story is not None and server.name in str(story.fields.get("servers", "")).split(", "):
            return True
        held = self._state.facts.last(server, "server.gpus")
        if held is not None and held.value:
            return gpu.name in str(held.value).replace(",", " ").split()
        return {e for e in self._state.facts.entities() if e.scope == "gpu"} <= {gpu}
