"""Takes in what a reading says: lines become events, events and values become facts of the entity that they are about. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sentinel.engine.alerts.book import Book
from sentinel.engine.facts.attribution import Attribution
from sentinel.engine.facts.authorship import NOTHING_SAID, Authorship, Waiting
from sentinel.engine.facts.baselines import Baselines
from sentinel.engine.facts.gpu_incidents import INCIDENT, GpuIncidents
from sentinel.engine.facts.request_events import DERIVED
from sentinel.engine.facts.requests import TAKEN, Requests
from sentinel.engine.facts.state import EngineState
from sentinel.engine.facts.update import Updater
from sentinel.engine.log.claims import Matched, claim_of, recall
from sentinel.engine.log.match import Match
from sentinel.engine.log.timestamps import Stamps
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.engine.worklist import Worklist
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.event import EventDef
from sentinel.model.input_limits import MOST_RUNS_OF_READING, MOST_STRANGERS
from sentinel.model.reading import Claim, ClaimedLines, Event, LogLines, Samples, ServerFound, ServerGone


class Intake:
    """Takes readings in. `evaluate(at)` judges what is due before a fact that it needs is dropped; `healthy(entity)`: nothing
    known makes a server slow; `touched` gets every entity of which something changed."""

    def __init__(
        self,
        state: EngineState,
        book: Book,
        worklist: Worklist,
        baselines: Baselines,
        touched: set[Entity],
        evaluate: Callable[[float], list[Transition]],
        healthy: Callable[[Entity], bool],
    ) -> None:
        self.lines_read = 0
        #: server starts that a log reported as they happened: their processes may not be known yet
        self.starts_heard = 0
        #: runs that began within the reading at hand
        self._runs = 0
        self.events_seen = 0
        self._state = state
        self._book = book
        self._worklist = worklist
        self._touched = touched
        self._evaluate = evaluate
        self._attribution = Attribution(state)
        self._authorship = Authorship(state)
        self._gpu_incidents = GpuIncidents(state)
        self._requests = Requests()
        self._stamps = Stamps()
        self._updater = Updater(state, self._attribution, baselines, healthy, self._touch, worklist.mark_entity, self._rename)

    def use(self, ruleset: RuleSet) -> None:
        """Take other rules."""
        self._ruleset = ruleset
        self._joins = any(event.name in ruleset.by_event for event in DERIVED)

    def samples(self, reading: Samples) -> None:
        """Values of one entity."""
        self._touched.add(reading.entity)
        self._updater.values(reading.entity, reading.values, reading.at, reading.source)

    def contexts(self, entity: Entity) -> list[tuple[int, int, bool]]:
        """Of each slot that had a request its number, the tokens in its context, and whether it works now."""
        return self._requests.contexts(entity)

    def outlived(self, at: float) -> list[Transition]:
        """Lines that waited for the end of a process that has not come, and runs whose process nobody found."""
        out = self.accept(self._authorship.outlived(at))
        self._updater.not_found(at)
        return out

    def take_over(self) -> list[Entity]:
        """Servers whose failures are over since the last call, for the same serves under another name."""
        over, self._updater.over = self._updater.over, []
        return over

    def forget(self, entity: Entity) -> None:
        """Nothing more is kept of it."""
        self._requests.renewed(entity)
        self._attribution.forget(entity)
        self._authorship.forget(entity)

    def resumed(self) -> None:
        """The state was restored: what the processes were is known from it."""
        self._authorship.resumed()
        for entity, run in self._state.runs.items():
            if run.pid and not run.gone:
                self._attribution.found(entity, run.pid, run.start, {})

    def dump(self) -> dict[str, Any]:
        """What no checkpoint holds, for a snapshot."""
        return {
            "attribution": self._attribution.dump(),
            "authorship": self._authorship.dump(),
            "card": self._gpu_incidents.dump(),
            "requests": self._requests.dump(),
            "stamps": self._stamps.dump(),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned; recordings made before stamps, authors or joined requests existed have none."""
        self._attribution.load(data["attribution"])
        self._authorship.load(data.get("authorship") or NOTHING_SAID)
        self._gpu_incidents.load(data["card"])
        self._stamps.load(data.get("stamps") or [])
        self._requests.load(data.get("requests") or [])

    def process(self, reading: ServerFound | ServerGone) -> list[Transition]:
        """A process appeared or ended: lines about that which waited for it count now, before or after it."""
        self._touched.add(reading.entity)
        last: list[Waiting] = []
        first: list[Waiting] = []
        if self._updater.ends_run(reading):
            last, first = self._authorship.ended(reading.entity)
        out = self.accept(last) + self._evaluate(reading.at)
        if isinstance(reading, ServerGone):
            self._updater.gone(reading)
        else:
            self._doubt(reading.entity, reading.at, reading.start_time)
            self._updater.found(reading)
        # The next process printed them, although the end of the last one was seen later.
        since = math.nextafter(reading.at, math.inf) if isinstance(reading, ServerGone) else float("-inf")
        out += self.accept(first, since)
        self._runs = 0
        return out

    def _matches(
        self, reading: LogLines | ClaimedLines, claimed: Callable[[Match], None] | None
    ) -> Iterator[tuple[EventDef, Matched]]:
        if isinstance(reading, ClaimedLines):
            yield from recall(reading.claims, self._ruleset.events)
            return
        extractor = self._ruleset.extractors.get(reading.kind)
        if extractor is None:
            return
        for match in extractor.events(reading.data):
            if claimed is not None:
                claimed(match)
            yield match.event, match

    def lines(self, reading: LogLines | ClaimedLines, claimed: Callable[[Match], None] | None) -> list[Transition]:
        """Lines of a log."""
        self.lines_read += reading.count
        owner = HOST if reading.kind == "kernel" else reading.entity
        if (owner, reading.kind) not in self._state.heard:
            self._state.heard.add((owner, reading.kind))
            self._worklist.mark_entity(owner)
        out: list[Transition] = []
        for definition, match in self._matches(reading, claimed):
            entity = reading.entity if match.port is None else self._attribution.children.of_line(reading.entity, match.port)
            if entity is None:
                continue
            if entity is not reading.entity and (entity, reading.kind) not in self._state.heard:
                # A router prints its children's lines: their logs come with its own.
                self._state.heard.add((entity, reading.kind))
                self._worklist.mark_entity(entity)
            if match.wall is None and reading.elapsed_base is None:
                happened = reading.at
            else:
                run = self._state.runs.get(entity)
                process = run.start if run is not None and run.exact else None
                happened = self._stamps.time_of(reading, match, process=process)
            if reading.kind == "llama-server":
                judgement = self._authorship.judge(entity, definition, match, reading)
                if judgement == "wait":
                    claim = match if isinstance(match, Claim) else claim_of(match)
                    self._authorship.wait(entity, claim, happened, reading, starts=definition.starts_run)
                    # Whether its process has ended shows when processes are looked for.
                    self.starts_heard += 1
                    continue
                if judgement == "drop":
                    self._state.cuts.add(entity, "lines of its log that a client can have made it print")
                    continue
                if definition.starts_run:
                    # A start that counts at once: what waited was said before it, by the process that has ended.
                    out += self.accept(self._authorship.said_before(entity))
            out += self._line(definition, match, entity, reading, happened)
        self._runs = 0
        return out

    def accept(self, lines: Iterable[Waiting], since: float = float("-inf")) -> list[Transition]:
        """Lines that waited and count now; nothing that they report was before `since`."""
        out: list[Transition] = []
        for one in lines:
            for definition, match in recall(one.lines.claims, self._ruleset.events):
                out += self._line(definition, match, one.lines.entity, one.lines, max(one.happened, since))
        return out

    def _line(
        self, definition: EventDef, match: Matched, entity: Entity, reading: LogLines | ClaimedLines, happened: float
    ) -> list[Transition]:
        """One line that a pattern claimed, and that counts."""
        self._touched.add(entity)
        out: list[Transition] = []
        by_event = self._ruleset.by_event
        if definition.starts_run:
            self.starts_heard += not reading.backlog
            # Evaluate the previous run before its facts are dropped; within a run the end of the batch is soon enough.
            self._runs += 1
            if self._runs <= MOST_RUNS_OF_READING:
                out += self._evaluate(max(reading.at, happened))
            else:
                self._state.cuts.add(entity, "runs that began and ended within one piece of its log, beyond the first")
            self._updater.run_started(entity, happened, reading.at)
            self._worklist.stir(entity)
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
            self.event(self._gpu_incidents.place(event) if reading.kind == "kernel" else event)
        for name, fields in completed:
            if name in by_event:
                self.event(replace(event, name=name, fields=fields))
        return out

    def event(self, event: Event) -> None:
        """Something that happened."""
        self.events_seen += 1
        if (incident := self._gpu_incidents.incident(event)) is not None:
            self.event(incident)
            if event.entity.scope == "gpu":
                for ended in self._gpu_incidents.work_ended(incident):
                    self.event(ended)
        self._attribution.note(event)
        if event.name not in self._ruleset.by_event and event.name != INCIDENT.name:
            # The last event of a GPU holds its whole incident, whoever reads it.
            return
        attributed = self._attribution.attribute(event)
        if self._is_one_stranger_too_many(attributed.entity):
            self._state.cuts.add(HOST, "events about processes that only the kernel's log names, beyond the first")
            return
        self._touched.add(attributed.entity)
        self._state.log.add(attributed)
        for rule_id in self._ruleset.by_event.get(attributed.name, ()):
            self._worklist.mark(rule_id, attributed.entity)

    def _is_one_stranger_too_many(self, entity: Entity) -> bool:
        """A server that nothing is known of, named by a kill: whoever starts processes to be killed makes such names."""
        known = self._state.knows
        if entity.scope != "server" or known(entity) or self._state.log.knows(entity):
            return False
        return self._state.log.strangers(known) >= MOST_STRANGERS

    def _doubt(self, server: Entity, at: float, began: float | None) -> None:
        """A server was seen alive: a kill that was attributed to it may have been another process."""
        if (kill := self._attribution.outlived(server, at, began)) is not None:
            self._touched.update((server, kill.entity))
            self._state.log.hand_on(server, kill)
            for rule_id in self._ruleset.by_event.get(kill.name, ()):
                self._worklist.mark(rule_id, server)
                self._worklist.mark(rule_id, kill.entity)

    def _touch(self, signal: str, entity: Entity) -> None:
        self._touched.add(entity)
        self._worklist.touch(signal, entity)

    def _rename(self, old: Entity, new: Entity) -> None:
        self._touched.update((old, new))
        self._book.rename(old, new)
        self._requests.rename(old, new)
