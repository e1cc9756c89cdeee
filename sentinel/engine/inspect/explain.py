"""Why a rule gives its verdict: each check with the values it read, their age and their origin. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sentinel.engine.alerts.book import Record
from sentinel.engine.alerts.lifecycle import Life
from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.status import called, entities_of, silence
from sentinel.engine.rules.compile import operands
from sentinel.engine.rules.conclude import conclude, in_words
from sentinel.engine.rules.evaluate import Finding
from sentinel.engine.rules.expression import Condition, ExpressionError
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.engine.rules.scene import find
from sentinel.model.alert import CheckResult, Transition, Verdict
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.model.text import duration, escape

#: Rewords why a signal is unknown; takes its name and the engine's reason.
Reword = Callable[[str, Unknown], Unknown]


def why(engine: Engine, rule_id: str, server: str, at: float, reword: Reword | None = None) -> dict[str, Any]:
    """Each check of a rule with its present value, the values it read, their age, and what is unknown."""
    compiled = engine.ruleset.rules[rule_id]
    unhealthy = engine.unhealthy.get(rule_id, "")
    subjects = []
    for entity in entities_of(engine, compiled):
        if server in ("", entity.name) or _has_port(engine, entity, server):
            try:
                subjects.append(_Subject(engine, compiled, entity, at, reword).answer())
            except ExpressionError as error:
                unhealthy = unhealthy or str(error)
    return {
        "rule": rule_id,
        "title": compiled.rule.title,
        "severity": compiled.rule.severity,
        "scope": compiled.rule.scope,
        "when": compiled.rule.when,
        "unhealthy": unhealthy,
        "subjects": subjects,
    }


def _has_port(engine: Engine, entity: Entity, port: str) -> bool:
    """A server can be named by its port alone."""
    if entity.scope != "server" or not port.isascii() or not port.isdigit():
        return False
    fact = engine.state.facts.last(entity, "server.port")
    return entity.name.endswith(f":{port}") or (fact is not None and str(fact.value) == port)


class _Subject:
    """A rule's finding for one entity. Raises ExpressionError if the rule has a type mistake."""

    def __init__(self, engine: Engine, compiled: CompiledRule, entity: Entity, at: float, reword: Reword | None) -> None:
        self._engine = engine
        self._compiled = compiled
        self._entity = entity
        self._at = at
        self._reword = reword or (lambda _name, unknown: unknown)
        self._finding: Finding = engine.finding(compiled.rule.id, entity, at)
        self._values = dict(compiled.values)

    def answer(self) -> dict[str, Any]:
        """As plain data."""
        rule = self._compiled.rule
        record = self._engine.book.peek(rule.id, self._entity)
        state = record.state if record is not None else "inactive"
        out: dict[str, Any] = {
            "entity": escape(self._entity.name),
            "called": called(self._engine, self._entity),
            "verdict": self._finding.verdict.value,
            "state": state,
            "since": iso(record.life.since) if record is not None and state != "inactive" else None,
            "operands": list(self._operands()),
            "checks": [self._check(check) for check in self._finding.checks],
            "gaps": self._gaps(),
            "missing": {name: self._reason(name, unknown) for name, unknown in self._finding.missing.items()},
            "silent": _silent(self._engine, record or Record(rule.id, self._entity, Life()), self._at),
            "alert": None,
        }
        if record is not None and record.life.state == "pending":
            out["fires_in"] = max(0.0, record.life.since + rule.hold - self._at)
        if record is not None and state != "inactive":
            out["alert"] = transition_to_dict(self._alert(record))
        return out

    def _alert(self, record: Record) -> Transition:
        """The open alert; a pending one with what it would report now: advice is wanted before the hold time is over."""
        alert = self._engine.standing(self._compiled, record)
        if record.state != "pending" or self._finding.verdict is not Verdict.MATCH:
            return alert
        new = conclude(self._finding)
        severity = self._compiled.rule.severity_of("" if new.cause is None else new.cause.id)
        return replace(alert, severity=severity, summary=new.summary, cause=new.cause, fixes=new.fixes, evidence=new.evidence)

    def _check(self, check: CheckResult) -> dict[str, Any]:
        said = in_words(check, self._compiled.evidence.get(check.check), lambda name: find(self._finding.scene.known, name)).text
        row: dict[str, Any] = {"check": check.check, "value": check.value, "reads": list(self._reads(check))}
        return row | {"text": escape(said)} if said else row

    def _gaps(self) -> list[dict[str, Any]]:
        """What is unknown, by reason: one excuse may hold for thirty signals."""
        rows: dict[Unknown, list[str]] = {}
        for name, unknown in self._finding.missing.items():
            rows.setdefault(self._reword(name, unknown), []).append(name)
        return [{"reason": escape(why.why), "remedy": escape(why.remedy), "signals": names} for why, names in rows.items()]

    def _reason(self, name: str, unknown: Unknown) -> str:
        return escape(str(self._reword(name, unknown)))

    def _operands(self) -> Iterator[dict[str, Any]]:
        """The parts of `when` that must all be true."""
        for operand in operands(self._compiled.rule):
            try:
                value = self._finding.scene.ask(operand)
            except ExpressionError:
                value = None
            yield {"expression": " ".join(operand.source.split()), "value": value if isinstance(value, bool) else None}

    def _reads(self, check: CheckResult) -> Iterator[dict[str, Any]]:
        """The values that a check read; a computed value is followed by its inputs."""
        queue = list(check.reads)
        seen: set[str] = set()
        while queue:
            path = queue.pop(0)
            if path in seen:
                continue
            seen.add(path)
            value = find(self._finding.scene.known, path)
            row: dict[str, Any] = {"name": path, "value": escape(value) if isinstance(value, str) else value}
            row |= self._origin(path)
            if value is None and (reason := self._gap(path)):
                row["missing"] = reason
            queue[:0] = row.get("of", ())
            yield row

    def _gap(self, path: str) -> str:
        """Why a value is unknown and what would provide it; empty if its inputs say so."""
        state, compiled = self._engine.state, self._compiled
        root = path.partition(".")[0]
        if path in CATALOGUE:
            return self._reason(path, state.why_missing(HOST if path.startswith("host.") else self._entity, path, self._at))
        if path in compiled.windows:
            window = compiled.windows[path]
            reason = self._reason(window.signal, state.why_missing(self._entity, window.signal, self._at))
            return f"no {window.signal} in the last {duration(window.over)}: {reason}"
        if root in compiled.bindings:
            unread = state.observed(self._entity, compiled.bindings[root].event)
            return "it did not happen" if unread is None else self._reason(f"event {compiled.bindings[root].event}", unread)
        return ""

    def _origin(self, path: str) -> dict[str, Any]:
        """The age and origin of a value, as far as known."""
        state, compiled = self._engine.state, self._compiled
        root = path.partition(".")[0]
        if path in CATALOGUE:
            fact = state.fact(HOST if path.startswith("host.") else self._entity, path, self._at)
            return {} if fact is None else {"age": max(0.0, self._at - fact.at), "source": escape(fact.source)}
        if path in compiled.windows:
            window = compiled.windows[path]
            count, newest = state.samples(self._entity, window, self._at)
            row: dict[str, Any] = {
                "source": f"{window.take} of {window.signal} in the last {duration(window.over)}",
                "samples": count,
            }
            return row if newest is None else row | {"age": max(0.0, self._at - newest)}
        if root in compiled.bindings:
            binding = compiled.bindings[root]
            start = state.run_start(self._entity) if binding.over is None else self._at - binding.over
            _, last = state.happened(self._entity, binding.event, start)
            span = "since the server started" if binding.over is None else f"in the last {duration(binding.over)}"
            if last is None:
                return {"source": f"event {binding.event} {span}"}
            where = f"{last.source}:{last.n}" if last.n else last.source
            row = {"age": max(0.0, self._at - last.at), "source": escape(where)}
            return row | {"line": escape(last.line)} if last.line else row
        condition: Condition | None = self._values.get(path)
        if condition is not None:
            return {"source": "computed", "of": [name for name in condition.paths if name != f"{self._entity.scope}.name"]}
        return {"source": "check"} if any(path == name for name, _ in compiled.checks) else {}


def _silent(engine: Engine, record: Record, at: float) -> dict[str, Any]:
    """Why an alert does not notify, or not again."""
    out: dict[str, Any] = {}
    cause = engine.inhibition.reason_for(record)
    if record.life.state != "inactive" and cause is not None:
        # `explained_by` is its old name, and stays.
        out["inhibited_by"] = out["explained_by"] = {
            "rule": cause.rule,
            "entity": escape(cause.entity.name),
            "since": iso(cause.life.since),
        }
    due = engine.inhibition.due(record)
    if due is not None and due > at:
        out["held_until"] = iso(due)
    one = engine.silences.covering(record.rule, record.entity, at)
    if one is not None:
        out["silenced"] = silence(one)
    if record.flaps.since is not None:
        out["flapping_since"] = iso(record.flaps.since)
    if record.life.state == "firing" and record.life.clear_since is not None:
        out["clear_since"] = iso(record.life.clear_since)
    if record.life.state == "inactive" and record.ended:
        out |= {"cleared_at": iso(record.life.since), "cleared_why": record.ended}
    return out
