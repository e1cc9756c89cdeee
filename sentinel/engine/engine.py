"""The engine: readings in, transitions out. Pure and synchronous: no clock, no I/O, no locks, no logging.

The same readings on the same rules give the same transitions, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from sentinel.engine import operator
from sentinel.engine.alerts.book import Book, Record
from sentinel.engine.alerts.inhibition import Inhibition
from sentinel.engine.alerts.lifecycle import Change
from sentinel.engine.alerts.silences import Silence, Silences
from sentinel.engine.facts.attribution import GROWTH
from sentinel.engine.facts.baselines import Baselines
from sentinel.engine.facts.state import EngineState
from sentinel.engine.intake import Intake
from sentinel.engine.log.match import Match
from sentinel.engine.pipeline import Pipeline
from sentinel.engine.rules.evaluate import Finding, evaluate, judge, matching
from sentinel.engine.rules.expression import ExpressionError
from sentinel.engine.rules.ruleset import CompiledRule, RuleSet
from sentinel.engine.worklist import Worklist
from sentinel.model.alert import Reason, Transition, Verdict
from sentinel.model.cuts import Cuts
from sentinel.model.entity import HOST, Entity
from sentinel.model.reading import ClaimedLines, Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick

#: Every rule is evaluated again this often even if nothing it reads changed, because facts expire. Seconds.
_SWEEP = 10.0
#: A server that ended is kept and shown for this long, and with an open alert longer, but not shown. Seconds; longer than a
#: restart. After an hour of experiments 12 of them stood in `status` (measured).
RETIRE = 600.0


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
        #: evaluation cost of each rule since the start, if there is a stopwatch
        self.costs: dict[str, Cost] = {}
        #: what to evaluate
        self.worklist = Worklist(ruleset, self.state, self.book, self.inhibition)
        self._stopwatch = stopwatch
        self._pipeline = Pipeline(self.state, self.inhibition, self.silences, self.worklist)
        self._operator = operator.Operator(self.state, self.book, self._pipeline, self._drop)
        self._swept = float("-inf")
        #: what changed since the last checkpoint
        self._touched: set[Entity] = set()
        self.intake = Intake(
            self.state, self.book, self.worklist, self.baselines, self._touched, self.evaluate_dirty, self._healthy
        )
        self._take(ruleset)

    def _take(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        self.state.use(ruleset.events, (*GROWTH, *(w for r in ruleset.rules.values() for w in r.windows.values())))
        self.inhibition.use(r.rule for r in ruleset.rules.values())
        self.worklist.use(ruleset)
        self.unhealthy = {}
        self.intake.use(ruleset)

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
                out += self.intake.lines(reading, claimed)
            case Samples():
                self.intake.samples(reading)
            case Event(source=operator.OPERATOR):
                self._touched.add(reading.entity)
                out += self._operator.take(reading, self.ruleset.rules)
            case Event():
                self.intake.event(reading)
            case ServerFound() | ServerGone():
                out += self.intake.process(reading)
            case Tick():
                out += self._tick(at)
            case _:
                assert_never(reading)
        out += self.evaluate_dirty(at)
        for entity in self.intake.take_over():
            out += self._operator.end_all(entity, self.ruleset.rules, "server-gone", at)
        return out

    def _tick(self, at: float) -> list[Transition]:
        if self.silences.expire(at):
            self.worklist.mark_open()
        out = self.intake.outlived(at)
        if at - self._swept >= _SWEEP:
            self._swept = at
            self._retire(at)
            self.worklist.sweep(at)
        else:
            self.worklist.mark_restless(at)
        return out

    def skip(self, at: float) -> None:
        """In place of a tick before `worklist.unchanged_until`: it would change nothing but the ages in what open alerts say.

        For saved logs, where no process is watched.
        """
        if at - self._swept >= _SWEEP:
            self._swept = at
            self._retire(at)

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
        self.intake.forget(entity)
        self.worklist.stir(entity)
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
            finding = (matching if record is None or record.rests else judge)(compiled, entity, at, self.state)
        except ExpressionError as error:
            self.unhealthy[rule.id] = str(error)
            return ()
        if not isinstance(finding, Finding):
            self.worklist.rest(rule.id, entity, at, finding)
            return ()
        self.worklist.stir(entity, rule.id)
        if record is None:
            record, before = self.book.record(rule.id, entity), None
        else:
            before = record.parts
        notice = record.notice
        transitions = self._pipeline.process(compiled, record, finding, at)
        self.worklist.stand(rule.id, entity, finding.scene.known.until)
        if record.parts != before or record.notice is not notice:
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
        changed = sorted(self._touched)
        self._touched.clear()
        return changed

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
        self.intake.resumed()
        self._touched.update(self.state.facts.entities(), self.state.runs, self.state.log.newest(), self.book.entities())
        for record in self.book.open():
            self.worklist.wake(record, float("-inf"))

    def snapshot(self) -> dict[str, Any]:
        """The whole state between two steps: an engine that resumes from it continues exactly as this one does."""
        return {
            **self.dump(),
            **self.state.snapshot(),
            **self.intake.dump(),
            "silences": self.silences.dump(),
            "speeds": self.baselines.dump(),
            "timers": self.worklist.dump(),
            "swept": self._swept if self._swept != float("-inf") else None,
            "unhealthy": dict(self.unhealthy),
        }

    def resume(self, data: Mapping[str, Any], changed: Collection[str] = ()) -> None:
        """Restore what `snapshot` returned; `changed` are rules that were different then. Raises as `load` does."""
        self.load(data)
        self.state.resume(data)
        self.intake.load(data)
        self.silences.load(data["silences"])
        # recordings made before baselines existed have none
        if (speeds := data.get("speeds")) is not None:
            self.baselines.load(speeds)
        self.worklist.load(data["timers"], frozenset(changed))
        self._swept = float("-inf") if data["swept"] is None else data["swept"]
        self.unhealthy = {r: why for r, why in data["unhealthy"].items() if r in self.ruleset.rules and r not in changed}
