"""The answers of status, alerts and rules: plain data from the engine's state, the same for people and programs. Pure."""

from __future__ import annotations

from typing import Any

from sentinel.engine.alerts.silences import Silence
from sentinel.engine.engine import RETIRE, Engine
from sentinel.engine.facts.catalogue import CATALOGUE, FORMER_NAMES
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.model.alert import SEVERITY_RANK
from sentinel.model.entity import Entity
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.model.text import escape

#: Signals of a server that fit one screen, if they are known.
_SERVER_SHOWN = (
    "called",
    "front_end",
    "pid",
    "user",
    "state",
    "build",
    "build_low",
    "build_high",
    "is_router",
    "model_path",
    "model_bytes",
    "preflight",
    "preflight_why",
    "gpu_layers_asked",
    "gpu_memory_bytes",
    "ctx_requested",
    "ctx_per_slot",
    "slots",
    "generation_tps",
    "prompt_tps",
    "slots_busy",
    "slot_fill",
    "load_share",
    "quality_verdict",
    "quality_checked_at",
    "quality_divergence",
    "quality_same_first",
    "quality_size",
    "quality_waits",
    "memory_left_bytes",
    "memory_left_where",
    "gpu_vram_total_bytes",
    "need_bytes",
    "firm_bytes",
    "cpu_cores",
    "rss_bytes",
    "locked_bytes",
    "log_readable",
    "log_where",
)


def servers(engine: Engine, at: float) -> list[dict[str, Any]]:
    """Each server with the signals that fit one screen; an unknown value is null."""
    out = []
    for entity in engine.state.facts.entities():
        if entity.scope != "server" or faded(engine, entity, at):
            continue
        row: dict[str, Any] = {"name": escape(entity.name)}
        for key in _SERVER_SHOWN:
            fact = engine.state.fact(entity, f"server.{key}", at)
            value = fact.value if fact is not None else None
            row[key] = escape(value) if isinstance(value, str) else value
        row["contexts"] = [{"slot": n, "tokens": held, "busy": busy} for n, held, busy in engine.intake.contexts(entity)]
        run = engine.state.runs.get(entity)
        row["since"] = iso(run.start) if run is not None and run.exact else None
        row["process_seen"] = run is not None and run.exact
        row["running"] = run is not None and run.exact and not run.gone
        out.append(row)
    return out


def faded(engine: Engine, entity: Entity, at: float) -> bool:
    """A server that ended a while ago: it may still have an alert, and is shown no more."""
    run = engine.state.runs.get(entity)
    return run is not None and run.gone and at - run.gone_at > RETIRE


def entity_signals(engine: Engine, entity: Entity, at: float) -> dict[str, Any]:
    """Known, fresh signals of an entity without their scope in front."""
    prefix = f"{entity.scope}."
    out = {}
    for name in sorted(engine.state.facts.of(entity)):
        fact = engine.state.fact(entity, name, at)
        if fact is not None:
            out[name.removeprefix(prefix)] = escape(fact.value) if isinstance(fact.value, str) else fact.value
    return out


def gpus(engine: Engine, at: float) -> list[dict[str, Any]]:
    """Each GPU by PCI address."""
    return [{"address": e.name, **entity_signals(engine, e, at)} for e in engine.state.facts.entities() if e.scope == "gpu"]


def alerts(engine: Engine, at: float, host: str = "", *, pending: bool = False) -> list[dict[str, Any]]:
    """Open alerts of a machine, worst first."""
    out = []
    for record in engine.book.open():
        if record.state != "firing" and not pending:
            continue
        compiled = engine.ruleset.rules[record.rule]
        standing = transition_to_dict(engine.standing(compiled, record), host)
        run = engine.state.runs.get(record.entity)
        ended = iso(run.gone_at) if run is not None and run.gone else None
        standing |= {"since": iso(record.life.since), "title": compiled.rule.title, "server_ended": ended}
        standing["called"] = called(engine, record.entity)
        if record.state == "firing":
            effects = (r for r in engine.inhibition.effects_of(record) if r.life.state == "firing")
            # `told` is the old name of `notified`, and stays.
            standing["effects"] = [
                {"rule": r.rule, "entity": escape(r.entity.name), "notified": r.gate.open, "told": r.gate.open} for r in effects
            ]
        out.append(standing)
    return sorted(out, key=lambda a: (SEVERITY_RANK[a["severity"]], a["rule"], a["entity"]["name"]))


def called(engine: Engine, entity: Entity) -> str:
    """What people call a server, its model and its port, also after its end; empty if it is not known."""
    fact = engine.state.facts.last(entity, "server.called")
    return escape(str(fact.value)) if fact is not None else ""


def silence(one: Silence) -> dict[str, Any]:
    """A silence; null for a rule or an entity means all."""
    return {
        "id": one.id,
        "rule": one.rule or None,
        "entity": escape(one.name) or None,
        "at": iso(one.at),
        "until": iso(one.until),
        "reason": escape(one.reason),
        "author": escape(one.author),
    }


def silences(engine: Engine) -> list[dict[str, Any]]:
    """Active silences, oldest first."""
    return [silence(one) for one in engine.silences.all()]


def cuts(engine: Engine) -> list[dict[str, Any]]:
    """What was cut or refused of what came from outside, and whose it was."""
    return [{"whose": escape(whose), "what": escape(what), "count": n} for whose, what, n in engine.state.cuts.all()]


def entities_of(engine: Engine, compiled: CompiledRule) -> list[Entity]:
    """The entities that a rule is evaluated for."""
    return engine.worklist.entities(compiled)


def rules(engine: Engine) -> list[dict[str, Any]]:
    """Each rule with its health and how many alerts it has open."""
    return [
        {
            "id": rule_id,
            "title": compiled.rule.title,
            "severity": compiled.rule.severity,
            "scope": compiled.rule.scope,
            "file": compiled.rule.path,
            "health": engine.unhealthy.get(rule_id, "ok"),
            "open": sum(1 for r in engine.book.of_rule(rule_id) if r.state == "firing"),
        }
        for rule_id, compiled in sorted(engine.ruleset.rules.items())
    ]


def signals(engine: Engine, at: float) -> list[dict[str, Any]]:
    """Every fact, with its age and where it came from."""
    out: list[dict[str, Any]] = []
    for entity in engine.state.facts.entities():
        for name, fact in sorted(engine.state.facts.of(entity).items()):
            fresh = engine.state.fact(entity, name, at) is not None
            value = escape(fact.value) if isinstance(fact.value, str) else fact.value
            out.append(
                {
                    "entity": {"scope": entity.scope, "name": escape(entity.name)},
                    "signal": name,
                    "value": value,
                    "unit": CATALOGUE[name].unit,
                    "age": max(0.0, at - fact.at),
                    "fresh": fresh,
                    "source": escape(fact.source),
                }
            )
        for name, unknown in sorted(engine.state.facts.unknowns(entity).items()):
            out.append(
                {
                    "entity": {"scope": entity.scope, "name": escape(entity.name)},
                    "signal": name,
                    "value": None,
                    "unit": CATALOGUE[name].unit,
                    "why": escape(str(unknown)),
                }
            )
    # Clients that were written for the former names find them.
    return out + [{**row, "signal": old} for row in out for old, new in FORMER_NAMES.items() if row["signal"] == new]
