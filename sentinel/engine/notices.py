"""What people are told of an alert's life: its text, kept true, and each change that is theirs to know."""

from __future__ import annotations

from dataclasses import replace

from sentinel.engine.alerts import flapping
from sentinel.engine.alerts.book import Record, Told
from sentinel.engine.alerts.inhibition import Incidents
from sentinel.engine.alerts.lifecycle import Change, Life
from sentinel.engine.alerts.silences import Silences, hushed
from sentinel.engine.facts.state import Beliefs
from sentinel.engine.rules.evaluate import Finding, conclude
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.model.alert import Transition, Verdict

_DOCS = "https://github.com/ggml-org/llama.cpp"


class Teller:
    """Turns changes of alerts into transitions, minus what is hidden by a cause, by a silence, or by flapping."""

    def __init__(self, beliefs: Beliefs, incidents: Incidents, silences: Silences) -> None:
        self._beliefs = beliefs
        self._incidents = incidents
        self._silences = silences

    def conclude(self, compiled: CompiledRule, record: Record, finding: Finding, *, anew: bool) -> None:
        """Write the alert's text. `anew`: an episode begins, in which no cause was told yet."""
        conclusion = conclude(compiled, record.entity, finding, self._beliefs)
        known = () if anew else record.told.causes
        causes = known if conclusion.cause is None or conclusion.cause.id in known else (*known, conclusion.cause.id)
        run = self._beliefs.runs.get(record.entity)
        pid = run.pid if run is not None else 0
        record.told = Told(conclusion.summary, conclusion.cause, conclusion.fixes, conclusion.evidence, pid, causes)

    def refreshed(self, compiled: CompiledRule, record: Record, finding: Finding) -> bool:
        """Keep a firing alert's text true; a cause that was not told before is told, once an episode."""
        if record.state != "firing" or finding.verdict is not Verdict.MATCH:
            return False
        before = record.told.causes
        self.conclude(compiled, record, finding, anew=False)
        return record.told.causes != before and self._incidents.reason_for(record) is None

    def tell(
        self, compiled: CompiledRule, record: Record, change: Change | None, before: Life, at: float, *, so: bool
    ) -> tuple[Transition, ...]:
        """What people are told, if anything, of a change that is theirs to know. `so`: the rule matches at this moment."""
        record.flaps, change = flapping.counted(record.flaps, change, before, record.life, at)
        silence = self._silences.covering(record.rule, record.entity, at)
        record.hush, change, silenced = hushed(record.hush, change, silence, fires=record.state == "firing", so=so)
        if change is None:
            return ()
        if change.new == "resolved":
            record.ended = change.reason
        return (replace(self._transition(compiled, record, change, at), silenced=silenced),)

    def standing(self, compiled: CompiledRule, record: Record) -> Transition:
        """An open alert as it stands, in the form of a transition."""
        state = record.state
        standing = self._transition(compiled, record, Change(state, state, "standing"), record.life.since)
        return replace(standing, silenced=record.hush.by or None if state == "firing" else None)

    def _transition(self, compiled: CompiledRule, record: Record, change: Change, at: float) -> Transition:
        rule, told = compiled.rule, record.told
        over = change.new == "resolved"
        cause = self._incidents.reason_for(record)
        return Transition(
            at=at,
            rule=rule.id,
            state=change.new,
            previous=change.old,
            reason=change.reason,
            severity=rule.severity_of(told.cause),
            entity=record.entity,
            fingerprint=compiled.fingerprint(record.entity),
            summary=told.summary,
            cause=told.cause,
            fixes=() if over else told.fixes,
            evidence=told.evidence,
            message_id=rule.message_id,
            title=rule.title,
            since=None if over else record.life.since,
            pid=told.pid,
            documentation=rule.references[0] if rule.references else _DOCS,
            explained_by=None if over or cause is None else cause.rule,
            flapping=record.flaps.since is not None,
        )
