"""From a verdict to a transition, stage by stage. The only place that changes an alert's record. Pure, time is an argument.

=======  =======================================================================  =======================================
stage    what it decides                                                          where it stands
=======  =======================================================================  =======================================
advance  pending, firing, resolved: the alert's own life                          alerts/lifecycle.py
inhibit  an effect waits while a rule that inhibits it fires, or may yet fire      alerts/inhibition.py
write    summary, cause, fixes and evidence; a cause found later notifies again   rules/conclude.py
damp     an alert that comes and goes notifies once, as flapping                  alerts/flapping.py
silence  what people asked not to hear is kept, and marked                        alerts/silences.py
render   the transition, complete: a sink needs nothing else                      here
store    transition and state in one transaction                                  daemon/consumer.py, history/
deliver  to each sink in order, none lost                                         sinks/outbox.py
=======  =======================================================================  =======================================
"""

from __future__ import annotations

from dataclasses import replace

from sentinel.engine.alerts import flapping
from sentinel.engine.alerts.book import Notice, Record
from sentinel.engine.alerts.inhibition import Inhibition
from sentinel.engine.alerts.lifecycle import Change, Life, Observation, advance
from sentinel.engine.alerts.silences import Silences, hushed
from sentinel.engine.facts.state import EngineState
from sentinel.engine.rules.conclude import cause_of, later
from sentinel.engine.rules.evaluate import Finding
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.engine.worklist import Worklist, timing
from sentinel.model.alert import Reason, Transition, Verdict

_DOCS = "https://github.com/ggml-org/llama.cpp"


class Pipeline:
    """Takes verdicts, updates records, returns the transitions that notify."""

    def __init__(self, state: EngineState, inhibition: Inhibition, silences: Silences, worklist: Worklist) -> None:
        self._state = state
        self._inhibition = inhibition
        self._silences = silences
        self._worklist = worklist

    def process(self, compiled: CompiledRule, record: Record, finding: Finding, at: float) -> tuple[Transition, ...]:
        """All stages for one verdict."""
        before = record.life
        change = self._advance(compiled, record, finding, at)
        holds = finding.verdict is Verdict.MATCH and record.life.clear_since is None
        record.gate, change = self._inhibition.inhibit(record, change, at, holds=holds)
        self._worklist.wake(record, at)
        change = self._write(record, finding, change)
        return self.notify(compiled, record, change, before, at, holds=holds)

    def notify(
        self, compiled: CompiledRule, record: Record, change: Change | None, before: Life, at: float, *, holds: bool
    ) -> tuple[Transition, ...]:
        """The stages from damping on. `holds`: the condition is true at this moment, the alert is not only kept firing."""
        record.flaps, change = flapping.counted(record.flaps, change, before, record.life, at)
        silence = self._silences.covering(record.rule, record.entity, at)
        record.hush, change, silenced = hushed(record.hush, change, silence, fires=record.state == "firing", holds=holds)
        if change is None:
            return ()
        if change.new == "resolved":
            record.ended = change.reason
        return (replace(self._render(compiled, record, change, at), silenced=silenced),)

    def standing(
        self, compiled: CompiledRule, record: Record, reason: Reason = "standing", at: float | None = None
    ) -> Transition:
        """An open alert as it is, as a transition: by default of the time since which it is open."""
        state = record.state
        standing = self._render(compiled, record, Change(state, state, reason), record.life.since if at is None else at)
        return replace(standing, silenced=record.hush.by or None if state == "firing" else None)

    def _advance(self, compiled: CompiledRule, record: Record, finding: Finding, at: float) -> Change | None:
        run = self._state.runs.get(record.entity)
        gone = run is not None and run.gone and not compiled.rule.outlives_server
        old = record.life.state
        seen = Observation(at, finding.verdict, finding.clear, finding.event_at, gone)
        record.life, change = advance(record.life, seen, timing(compiled, record, self._state))
        if record.life.state != old:
            for effect in self._inhibition.effects_of(record):
                self._worklist.mark(effect.rule, effect.entity)
        return change

    def _write(self, record: Record, finding: Finding, change: Change | None) -> Change | None:
        """Write the text of a new episode; update that of a firing alert. A cause that is new in this episode notifies."""
        if change is not None:
            if change.new in ("pending", "firing"):
                self._conclude(record, finding, begins=change.new == "firing")
            return change
        if record.state != "firing" or finding.verdict is not Verdict.MATCH:
            return None
        before = record.notice.causes
        self._conclude(record, finding, begins=False)
        if record.notice.causes == before or self._inhibition.reason_for(record) is not None:
            return None
        return Change("firing", "firing", "cause-found")

    def _conclude(self, record: Record, finding: Finding, *, begins: bool) -> None:
        """`begins`: an episode begins, so no cause was reported yet."""
        found = cause_of(finding.scene)
        cause = "" if found is None else found.cause.id
        known = () if begins else record.notice.causes
        causes = known if not cause or cause in known else (*known, cause)
        run = self._state.runs.get(record.entity)
        record.notice = Notice(later(finding), cause, run.pid if run is not None else 0, causes)

    def _render(self, compiled: CompiledRule, record: Record, change: Change, at: float) -> Transition:
        rule, notice, says = compiled.rule, record.notice, record.notice.says
        over = change.new == "resolved"
        cause = self._inhibition.reason_for(record)
        return Transition(
            at=at,
            rule=rule.id,
            state=change.new,
            previous=change.old,
            reason=change.reason,
            severity=rule.severity_of(notice.cause),
            entity=record.entity,
            fingerprint=compiled.fingerprint(record.entity),
            summary=says.summary,
            cause=says.cause,
            fixes=() if over else says.fixes,
            evidence=says.evidence,
            message_id=rule.message_id,
            title=rule.title,
            since=None if over else record.life.since,
            pid=notice.pid,
            documentation=rule.references[0] if rule.references else _DOCS,
            inhibited_by=None if over or cause is None else cause.rule,
            flapping=record.flaps.since is not None,
        )
