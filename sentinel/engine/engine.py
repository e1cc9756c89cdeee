"""The engine: readings in, transitions out. Pure and synchronous: no clock, no I/O, no locks, no logging.

The same readings on the same rules give the same transitions, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from sentinel.engine import operator
from sentinel.engine.alerts.book import Book, Record
from sentinel.engine.alerts.inhibition import Inhibition
from sentinel.engine.alerts.lifecycle import Change
from sentinel.engine.alerts.silences import Silence, Silences
from sentinel.engine.facts.attribution import GROWTH, Attribution
from sentinel.engine.facts.authorship import NOTHING_SAID, Authorship, Waiting
from sentinel.engine.facts.baselines import Baselines
from sentinel.engine.facts.gpu_incidents import INCIDENT, GpuIncidents
from sentinel.engine.facts.requests import DERIVED, TAKEN, Requests
from sentinel.engine.facts.state import EngineState
from sentinel.engine.facts.update import Updater
from sentinel.engine.log.claims import Matched, claim_of, recall
from sentinel.engine.log.extractor import Match
from sentinel.engine.log.timestamps import Stamps
from sentinel.engine.pipeline import Pipeline
from sentinel.engine.rules.evaluate import Finding, evaluate, matching
from sentinel.engine.rules.expression import ExpressionError
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.engine.worklist import Worklist
from sentinel.model.alert import Reason, Transition, Verdict
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.event import EventDef
from sentinel.model.input_limits import MOST_STRANGERS, Cuts
from sentinel.model.reading import Claim, ClaimedLines, Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick

#: Every rule is evaluated again this often even if nothing it reads changed, because facts expire. Seconds.
_SWEEP = 10.0
#: A server that ended is kept and shown for this long, and with an open alert longer, but not shown. Seconds; longer than a
#: restart. After an hour of experiments 12 of them stood in `status` (measured).
RETIRE = 600.0
#: How a rule names the window that it counts in.
_SPAN = re.compile(r" in (?:15 minutes|ten minutes|24 hours)\b")


@dataclass(slots=True)
class Cost:
    """How often a rule was evaluated, and the total time it took."""

    times: int = 0
    seconds: float = 0.0


class Engine:
    """Feed it readings in the order in which they were taken."""

    def __init__(self, ruleset: RuleSet, stopwatch: Callable[[], float] | None = None, cuts: Cuts | None = None) -> None:
        """`stopwatch` returns seconds from any origin, for `costs`; transitions never depend on it."""
        self.ruleset = ruleset
        self.state = EngineState(ruleset.events, cuts)
        self.book = Book()
        self.inhibition = Inhibition(self.book, self.state)
        #: not part of `dump`: silences are the operator's wish, not an observation
        self.silences = Silences()
        #: not part of `dump` either: what was learned of a configuration outlives the state of this machine's servers
        self.baselines = Baselines(self.state)
        #: rules that raised, with the reason; the others continue
        self.unhealthy: dict[str, str] = {}
        self.lines_read = 0
        #: server starts that a log reported as they happened: their processes may not be known yet
        self.starts_heard = 0
        self.events_seen = 0
        #: evaluation cost of each rule since the start, if there is a stopwatch
        self.costs: dict[str, Cost] = {}
        #: what to evaluate
        self.worklist = Worklist(ruleset, self.state, self.book, self.inhibition)
        self._stopwatch = stopwatch
        self._pipeline = Pipeline(self.state, self.inhibition, self.silences, self.worklist)
        self._attribution = Attribution(self.state)
        self._authorship = Authorship(self.state)
        self._gpu_incidents = GpuIncidents(self.state)
        self._requests = Requests()
        self._stamps = Stamps()
        self._updater = Updater(
            self.state,
            self._attribution,
            self.baselines,
            self._healthy,
            self._touch,
            self.worklist.mark_entity,
            self._rename,
        )
        self._operator = operator.Operator(self.state, self.book, self._pipeline, self._drop)
        self._swept = float("-inf")
        #: what changed since the last checkpoint
        self._touched: set[Entity] = set()
        self._take(ruleset)

    def _take(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        self.state.use(ruleset.events, (*GROWTH, *(w for r in ruleset.rules.values() for w in r.windows.values())))
        self.inhibition.use(r.rule for r in ruleset.rules.values())
        self.worklist.use(ruleset)
        self.unhealthy = {}
        self._joins = any(event.name in ruleset.by_event for event in DERIVED)

    def use(self, ruleset: RuleSet, at: float) -> list[Transition]:
        """Replace the rules. Alerts keep state and timers, also those of changed rules, and are evaluated at once.

        These alerts end: those of a rule that is gone or has another scope now, and those for which the old rule matches at this
        moment and the new one does not: that is what the change was made for.
        """
        old = self.ruleset
        matched = {
            (r.rule, r.entity) for r in self.book.open() if self._changed(r, ruleset) and self._verdict(r, at) is Verdict.MATCH
        }
        self._take(ruleset)
        out: list[Transition] = []
        for record in list(self.book.open()):
            new = ruleset.rules.get(record.rule)
            reason: Reason | None = None
            if new is None or new.rule.scope != record.entity.scope:
                reason = "rule-removed"
            elif (record.rule, record.entity) in matched and self._verdict(record, at) is Verdict.NO_MATCH:
                reason = "rule-changed"
            if reason is not None:
                change = Change(record.state, "resolved", reason)
                out += self._pipeline.notify(old.rules[record.rule], record, change, record.life, at, holds=False)
                self._touched.add(record.entity)
                self.book.drop(record.rule, record.entity)
        self.worklist.mark_all()
        return out + self.evaluate_dirty(at)

    def _changed(self, record: Record, ruleset: RuleSet) -> bool:
        new = ruleset.rules.get(record.rule)
        return new is not None and replace(new.rule, tests=()) != replace(self.ruleset.rules[record.rule].rule, tests=())

    def _verdict(self, record: Record, at: float) -> Verdict | None:
        try:
            return self.finding(record.rule, record.entity, at).verdict
        except ExpressionError:
            return None

    def silence(self, silence: Silence, at: float) -> list[Transition]:
        """Re-evaluate what a silence covers after it was added or removed. Alerts that it hid and that still fire notify."""
        for record in self.book.open():
            if silence.rule in ("", record.rule) and silence.name in ("", record.entity.name):
                self.worklist.mark(record.rule, record.entity)
        return self.evaluate_dirty(at)

    def step(self, reading: Reading, claimed: Callable[[Match], None] | None = None) -> list[Transition]:
        """Take one reading and return what changed. `claimed` gets each line that a pattern claims, for a recording."""
        at = reading.at
        self.worklist.run_timers(at)
        out = self.evaluate_dirty(at)
        match reading:
            case LogLines() | ClaimedLines():
                out += self._lines(reading, claimed)
            case Samples():
                self._touched.add(reading.entity)
                self._updater.values(reading.entity, reading.values, at, reading.source)
            case Event(source=operator.OPERATOR):
                self._touched.add(reading.entity)
                out += self._operator.take(reading, self.ruleset.rules)
            case Event():
                self._event(reading)
            case ServerFound() | ServerGone():
                out += self._process(reading)
            case Tick():
                out += self._tick(at)
            case _:
                assert_never(reading)
        return out + self.evaluate_dirty(at)

    # --- readings ---

    def _process(self, reading: ServerFound | ServerGone) -> list[Transition]:
        """A process appeared or ended: lines about that which waited for it count now, before or after it."""
        self._touched.add(reading.entity)
        last: list[Waiting] = []
        first: list[Waiting] = []
        if self._updater.ends_run(reading):
            last, first = self._authorship.ended(reading.entity)
        out = self._accepted(last) + self.evaluate_dirty(reading.at)
        if isinstance(reading, ServerGone):
            self._updater.gone(reading)
        else:
            self._doubt(reading.entity, reading.at, reading.start_time)
            self._updater.found(reading)
        return out + self._accepted(first)

    def _matches(
        self, reading: LogLines | ClaimedLines, claimed: Callable[[Match], None] | None
    ) -> Iterator[tuple[EventDef, Matched]]:
        if isinstance(reading, ClaimedLines):
            yield from recall(reading.claims, self.ruleset.events)
            return
        extractor = self.ruleset.extractors.get(reading.kind)
        if extractor is None:
            return
        for match in extractor.events(reading.data):
            if claimed is not None:
                claimed(match)
            yield match.event, match

    def _lines(self, reading: LogLines | ClaimedLines, claimed: Callable[[Match], None] | None) -> list[Transition]:
        self.lines_read += lines_of(reading)
        owner = HOST if reading.kind == "kernel" else reading.entity
        if (owner, reading.kind) not in self.state.heard:
            self.state.heard.add((owner, reading.kind))
            self.worklist.mark_entity(owner)
        out: list[Transition] = []
        for definition, match in self._matches(reading, claimed):
            entity = self._attribution.of_child(reading.entity, match.port)
            if entity is None:
                continue
            if entity is not reading.entity and (entity, reading.kind) not in self.state.heard:
                # A router prints its children's lines: their logs come with its own.
                self.state.heard.add((entity, reading.kind))
                self.worklist.mark_entity(entity)
            happened = self._stamps.time_of(reading, match, starts_run=definition.starts_run)
            if reading.kind == "llama-server":
                judgement = self._authorship.judge(entity, definition, match, reading)
                if judgement == "wait":
                    claim = match if isinstance(match, Claim) else claim_of(match)
                    self._authorship.wait(entity, claim, happened, reading, starts=definition.starts_run)
                    # Whether its process has ended shows when processes are looked for.
                    self.starts_heard += 1
                    continue
                if judgement == "drop":
                    self.state.cuts.add(entity, "lines of its log that a client can have made it print")
                    continue
                if definition.starts_run:
                    # A start that counts at once: what waited was said before it, by the process that has ended.
                    out += self._accepted(self._authorship.said_before(entity))
            out += self._line(definition, match, entity, reading, happened)
        return out

    def _accepted(self, lines: Iterable[Waiting]) -> list[Transition]:
        """Lines that waited and count now."""
        out: list[Transition] = []
        for one in lines:
            for definition, match in recall(one.lines.claims, self.ruleset.events):
                out += self._line(definition, match, one.lines.entity, one.lines, one.happened)
        return out

    def _line(
        self, definition: EventDef, match: Matched, entity: Entity, reading: LogLines | ClaimedLines, happened: float
    ) -> list[Transition]:
        """One line that a pattern claimed, and that counts."""
        self._touched.add(entity)
        out: list[Transition] = []
        by_event = self.ruleset.by_event
        if definition.starts_run:
            self.starts_heard += not reading.backlog
            # Evaluate the previous run before its facts are dropped; within a run the end of the batch is soon enough.
            out += self.evaluate_dirty(max(reading.at, happened))
            self._updater.run_started(entity, happened, reading.at)
            self._requests.renewed(entity)
        if reading.kind == "llama-server":
            self._doubt(entity, happened, happened if definition.starts_run else None)
        self._updater.line(definition, match, entity, reading, happened)
        completed: Iterable[tuple[str, dict[str, Value]]] = ()
        if self._joins and definition.name in TAKEN and entity.scope == "server":
            # A busy server prints thousands of these: the line becomes an event only where it completes one.
            completed = self._requests.line(definition.name, match.fields, entity, happened)
        asked = definition.name in by_event or reading.kind == "kernel"
        if not asked:
            # No rule asks whether it happened: its facts are stored already, and a busy server prints thousands.
            self.events_seen += 1
            if not completed:
                return out
        event = Event(
            at=happened,
            name=definition.name,
            entity=entity,
            fields=match.fields,
            source=reading.source,
            line=match.text,
            n=reading.first + match.line_index,
        )
        if asked:
            self._event(self._gpu_incidents.place(event) if reading.kind == "kernel" else event)
        for name, fields in completed:
            if name in by_event:
                self._event(replace(event, name=name, fields=fields))
        return out

    def _event(self, event: Event) -> None:
        self.events_seen += 1
        if (incident := self._gpu_incidents.incident(event)) is not None:
            self._event(incident)
            if event.entity.scope == "gpu":
                for ended in self._gpu_incidents.work_ended(incident):
                    self._event(ended)
        self._attribution.note(event)
        if event.name not in self.ruleset.by_event and event.name != INCIDENT.name:
            # The last event of a GPU holds its whole incident, whoever reads it.
            return
        attributed = self._attribution.attribute(event)
        if self._is_one_stranger_too_many(attributed.entity):
            self.state.cuts.add(HOST, "events about processes that only the kernel's log names, beyond the first")
            return
        self._touched.add(attributed.entity)
        self.state.log.add(attributed)
        for rule_id in self.ruleset.by_event.get(attributed.name, ()):
            self.worklist.mark(rule_id, attributed.entity)

    def _is_one_stranger_too_many(self, entity: Entity) -> bool:
        """A server that nothing is known of, named by a kill: whoever starts processes to be killed makes such names."""
        known = self.state.knows
        if entity.scope != "server" or known(entity) or self.state.log.knows(entity):
            return False
        return self.state.log.strangers(known) >= MOST_STRANGERS

    def _doubt(self, server: Entity, at: float, began: float | None) -> None:
        """A server was seen alive: a kill that was attributed to it may have been another process."""
        if (kill := self._attribution.outlived(server, at, began)) is not None:
            self._touched.update((server, kill.entity))
            self.state.log.hand_on(server, kill)
            for rule_id in self.ruleset.by_event.get(kill.name, ()):
                self.worklist.mark(rule_id, server)
                self.worklist.mark(rule_id, kill.entity)

    def _tick(self, at: float) -> list[Transition]:
        if self.silences.expire(at):
            self.worklist.mark_open()
        out = self._accepted(self._authorship.outlived(at))
        if at - self._swept >= _SWEEP:
            self._swept = at
            self._retire(at)
            self.worklist.sweep(at)
        else:
            self.worklist.mark_restless(at)
        return out

    def _touch(self, signal: str, entity: Entity) -> None:
        self._touched.add(entity)
        self.worklist.touch(signal, entity)

    def _rename(self, old: Entity, new: Entity) -> None:
        self._touched.update((old, new))
        self.book.rename(old, new)
        self._requests.rename(old, new)

    def _healthy(self, entity: Entity) -> bool:
        """No open alert makes this server slow or is about its slowness."""
        return not any(
            self.ruleset.rules[r.rule].rule.slows_generation and (r.entity == entity or r.entity.scope != "server")
            for r in self.book.open()
            if r.rule in self.ruleset.rules
        )

    def _retire(self, at: float) -> None:
        """Drop servers that ended long ago and have no open alert: names by port would pile up for ever.

        The same goes for entities that only the kernel named: killed processes that were never seen, named by process id.
        """
        retired = [e for e, run in self.state.runs.items() if run.gone and at - run.gone_at > RETIRE]
        known = {HOST, *self.state.runs, *self.state.facts.entities()}
        retired += [e for e, last in self.state.log.newest().items() if e not in known and at - last > RETIRE]
        for entity in retired:
            records = [r for r in self.book.of_entity(entity) if r.life.state != "inactive"]
            if not records:
                self._drop(entity)

    def _drop(self, entity: Entity) -> None:
        self._touched.add(entity)
        self.state.remove(entity)
        self.baselines.renewed(entity)
        self._requests.renewed(entity)
        self._attribution.forget(entity)
        self._authorship.forget(entity)
        self.book.drop_entity(entity)

    # --- evaluation ---

    def evaluate_dirty(self, at: float) -> list[Transition]:
        """Evaluate the worklist, including what evaluation adds to it."""
        out: list[Transition] = []
        while self.worklist:
            for rule_id, entity in self.worklist.take():
                begun = self._stopwatch() if self._stopwatch is not None else 0.0
                out += self._judge(self.ruleset.rules[rule_id], entity, at)
                if self._stopwatch is not None:
                    cost = self.costs.setdefault(rule_id, Cost())
                    cost.times += 1
                    cost.seconds += self._stopwatch() - begun
        return out

    def finding(self, rule_id: str, entity: Entity, at: float) -> Finding:
        """The rule's present finding. Raises KeyError for an unknown rule, ExpressionError for a broken one."""
        return evaluate(self.ruleset.rules[rule_id], entity, at, self.state)

    def _judge(self, compiled: CompiledRule, entity: Entity, at: float) -> Iterable[Transition]:
        rule = compiled.rule
        if rule.id in self.unhealthy:
            return ()
        record = self.book.peek(rule.id, entity)
        try:
            # An inactive record without history needs no more than that the rule does not match.
            look = matching if record is None else evaluate
            finding = look(compiled, entity, at, self.state)
        except ExpressionError as error:
            self.unhealthy[rule.id] = str(error)
            return ()
        if finding is None:
            return ()
        if record is None:
            record, before = self.book.record(rule.id, entity), None
        else:
            before = record.parts
        transitions = self._pipeline.process(compiled, record, finding, at)
        if record.parts != before:
            self._touched.add(entity)
        return transitions

    def standing(self, compiled: CompiledRule, record: Record) -> Transition:
        """An open alert as it is now, as a transition."""
        return self._pipeline.standing(compiled, record)

    # --- state ---

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"version": 1, **self.state.dump(), "alerts": self.book.dump()}

    def changed(self) -> list[Entity]:
        """What changed since this was asked before, in a stable order: a checkpoint grows with that, not with what is known."""
        changed, self._touched = self._touched, set()
        return sorted(changed)

    def dump_of(self, entity: Entity) -> dict[str, Any] | None:
        """The part of `dump` about one entity; None where nothing is known of it any more."""
        part = {**self.state.dump_of(entity), "alerts": self.book.dump_of(entity, self.ruleset.rules)}
        return part if any(part.values()) else None

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned. A checkpoint of another version is refused with ValueError."""
        if data.get("version") != 1:
            raise ValueError(f"checkpoint version {data.get('version')!r} is not supported")
        self.state.load(data)
        self.book.load([row for row in data["alerts"] if row["rule"] in self.ruleset.rules])
        self._authorship.resumed()
        self._touched.update(self.state.facts.entities(), self.state.runs, self.state.log.newest(), self.book.entities())
        for entity, run in self.state.runs.items():
            if run.pid and not run.gone:
                self._attribution.found(entity, run.pid, run.start, {})
        for record in self.book.open():
            self.worklist.wake(record, float("-inf"))

    def snapshot(self) -> dict[str, Any]:
        """The whole state between two steps: an engine that resumes from it continues exactly as this one does."""
        return {
            **self.dump(),
            **self.state.snapshot(),
            "attribution": self._attribution.dump(),
            "authorship": self._authorship.dump(),
            "card": self._gpu_incidents.dump(),
            "requests": self._requests.dump(),
            "silences": self.silences.dump(),
            "speeds": self.baselines.dump(),
            "stamps": self._stamps.dump(),
            "timers": self.worklist.dump(),
            "swept": self._swept if self._swept != float("-inf") else None,
            "unhealthy": dict(self.unhealthy),
        }

    def resume(self, data: Mapping[str, Any], changed: Collection[str] = ()) -> None:
        """Restore what `snapshot` returned; `changed` are rules that were different then. Raises as `load` does."""
        self.load(data)
        self.state.resume(data)
        self._attribution.load(data["attribution"])
        self._authorship.load(data.get("authorship") or NOTHING_SAID)
        self._gpu_incidents.load(data["card"])
        self.silences.load(data["silences"])
        # recordings made before baselines, stamps or joined requests existed have none
        if (speeds := data.get("speeds")) is not None:
            self.baselines.load(speeds)
        self._stamps.load(data.get("stamps") or [])
        self._requests.load(data.get("requests") or [])
        self.worklist.load(data["timers"], frozenset(changed))
        self._swept = float("-inf") if data["swept"] is None else data["swept"]
        self.unhealthy = {r: why for r, why in data["unhealthy"].items() if r in self.ruleset.rules and r not in changed}


def lines_of(reading: LogLines | ClaimedLines) -> int:
    """The number of lines in a batch."""
    if isinstance(reading, ClaimedLines):
        return reading.count
    return reading.data.count(b"\n") + (0 if reading.data.endswith(b"\n") or not reading.data else 1)


def undated(transition: Transition) -> Transition:
    """The transition for a log without dates: its times mean nothing to a reader, and neither do spans of time in its words."""
    cause = transition.cause
    return replace(
        transition,
        at=None,
        since=None,
        summary=_SPAN.sub("", transition.summary),
        cause=None if cause is None else replace(cause, text=_SPAN.sub("", cause.text)),
    )
