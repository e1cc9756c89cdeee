"""The metric families of `/metrics`: alerts, rules, signals, and the daemon's own state. Pure.

The number of series is bounded by the rules, the catalogue of signals, and MOST_EXPORTED. An unknown value has no series, as is
usual in Prometheus; a zero would be a claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sentinel.engine.alerts.book import Record
from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE, FORMER_NAMES
from sentinel.engine.inspect import status
from sentinel.engine.inspect.alert_words import WORDS, words
from sentinel.engine.inspect.blind_spots import blind_spots
from sentinel.model.alert import fingerprint
from sentinel.model.entity import Entity, Value
from sentinel.model.input_limits import MOST_EXPORTED, MOST_EXPORTED_ROWS, MOST_NAME
from sentinel.model.shares import fairly, owner_of
from sentinel.model.signal import Signal
from sentinel.model.text import escape

#: Suffixes of counters and summaries (prometheus.io/docs/practices/naming): a signal with such a name gets its unit as suffix.
_TAKEN_ENDINGS = ("_total", "_count")

MetricKind = Literal["gauge", "counter"]
MetricRow = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Described:
    """A metric without its samples. A counter's name is without the suffix ``_total``."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its samples: one row for each set of label values."""

    about: Described
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The state of a source, in the words of `status`."""

    name: str
    health: str
    failures: int


@dataclass(frozen=True, slots=True)
class Own:
    """The daemon's own state at one moment. Times are seconds since the epoch, lag and cost in seconds."""

    version: str
    started: float
    lag: float
    queue: int
    dropped: int
    clients: int
    history_works: bool
    sources: tuple[Source, ...]
    #: name, alerts that wait, and whether the sink accepts them
    sinks: tuple[tuple[str, int, bool], ...]
    #: transitions since the start by rule and new state
    transition_counts: Mapping[tuple[str, str], int]
    #: the name of this machine
    host: str = ""


_ALERT = ("rule", "severity", "scope", "entity")

BUILD = Described("sentinel_build_info", "gauge", "Always 1; the version of sentinel.", ("version",))
STARTED = Described("sentinel_start_time_seconds", "gauge", "When the daemon started, in seconds since the epoch.")
ALERTS = Described("sentinel_alerts", "gauge", "Open alerts of each rule, silenced ones too.", ("rule", "severity", "state"))
FIRING = Described(
    "sentinel_alert_firing",
    "gauge",
    "1 for each firing alert, with its cause; silenced is yes where it does not notify.",
    (*_ALERT, "cause", "silenced"),
)
INFO = Described(
    "sentinel_alert_info",
    "gauge",
    "Always 1; what each firing alert says: cause and first fix, as `sentinel alerts` has them, and the name of the machine.",
    ("rule", "scope", "entity", "host", *WORDS),
)
TRANSITIONS = Described(
    "sentinel_transitions", "counter", "Alerts that began, fired and ended since the daemon started.", ("rule", "state")
)
BLIND = Described(
    "sentinel_rule_unknown",
    "gauge",
    "Servers, GPUs or hosts where a rule cannot be evaluated: a signal is missing.",
    ("rule",),
)
HEALTHY = Described("sentinel_rule_healthy", "gauge", "0 for a rule that failed and is no longer evaluated.", ("rule",))
JUDGED = Described("sentinel_rule_evaluations", "counter", "Evaluations of a rule.", ("rule",))
COST = Described("sentinel_rule_evaluation_seconds", "counter", "Time spent evaluating a rule.", ("rule",))
LAG = Described("sentinel_engine_lag_seconds", "gauge", "Delay from the last tick of the clock to its processing.")
QUEUE = Described("sentinel_queue_readings", "gauge", "Readings waiting for the engine.")
DROPPED = Described("sentinel_samples_dropped", "counter", "Samples dropped because the queue was full; log lines never are.")
LINES = Described("sentinel_log_lines", "counter", "Log lines processed by the engine.")
EVENTS = Described("sentinel_events", "counter", "Events recognised in log lines, and events from other sources.")
SOURCE = Described("sentinel_source_state", "gauge", "1 for the state that a source is in.", ("source", "state"))
FAILURES = Described("sentinel_source_failures", "gauge", "Failures of a source since it last worked.", ("source",))
WAITING = Described("sentinel_sink_waiting_alerts", "gauge", "Alerts queued for a sink.", ("sink",))
SINK = Described("sentinel_sink_up", "gauge", "1 if a sink accepts alerts.", ("sink",))
HISTORY = Described("sentinel_history_writable", "gauge", "1 if the history is written to disk, 0 if it is in memory only.")
CLIENTS = Described("sentinel_api_clients", "gauge", "Connections to the socket, this one included.")
STATE = Described("sentinel_server_state", "gauge", "1 for the state read from a server's log.", ("entity", "state"))
SERVER = Described("sentinel_server_info", "gauge", "Always 1; whose server it is.", ("entity", "user", "unit", "model"))
LEFT_OUT = Described(
    "sentinel_metrics_left_out", "gauge", f"Servers or GPUs beyond {MOST_EXPORTED}, whose signals are left out here.", ("scope",)
)

#: In the order of the output; the signals follow.
DESCRIBED = (
    BUILD, STARTED, ALERTS, FIRING, INFO, TRANSITIONS, BLIND, HEALTHY, JUDGED, COST, LAG, QUEUE, DROPPED, LINES, EVENTS,
    SOURCE, FAILURES, WAITING, SINK, HISTORY, CLIENTS, STATE, SERVER, LEFT_OUT,
)  # fmt: skip


def of_signal(signal: Signal) -> Described | None:
    """The gauge of a signal: a flag is 0 or 1. None for text, which has no number."""
    if signal.type == "text":
        return None
    name = f"sentinel_{signal.name.replace('.', '_')}"
    if name.endswith("_per_s"):
        # Units are spelled out (the same source).
        name += "econd"
    if name.endswith(_TAKEN_ENDINGS):
        name += f"_{signal.unit}"
    unit = f" ({signal.unit})" if signal.unit else " (0 or 1)" if signal.type == "flag" else ""
    return Described(name, "gauge", f"{signal.help[:1].upper()}{signal.help[1:]}{unit}.", _labels(signal))


def _labels(signal: Signal) -> tuple[str, ...]:
    return () if signal.scope == "host" else ("entity",)


def families(engine: Engine, own: Own, at: float, spots: Sequence[Mapping[str, Any]] | None = None) -> Iterator[Family]:
    """All families that have at least one row. `at` is now, in seconds since the epoch; `spots` are the blind spots, if they
    are known already.
    """
    shown, left_out = _shown(engine, at)
    spots = blind_spots(engine, at) if spots is None else spots
    for family in (*_alerts(engine, own, spots), *_self(engine, own), *_servers(engine, shown, at), *_signals(engine, shown, at)):
        if family.rows:
            yield family
    yield Family(LEFT_OUT, tuple(((scope,), count) for scope, count in left_out.items()))


def _alerts(engine: Engine, own: Own, spots: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    rules = {rule_id: compiled.rule for rule_id, compiled in sorted(engine.ruleset.rules.items())}
    counts = {(r.id, r.severity, state): 0 for r in rules.values() for state in ("pending", "firing")}
    firing: list[tuple[Record, MetricRow]] = []
    for record in engine.book.open():
        rule = rules[record.rule]
        severity = rule.severity_of(record.notice.cause)
        counts[rule.id, severity, record.state] = counts.get((rule.id, severity, record.state), 0) + 1
        if record.state == "firing":
            labels = (
                rule.id,
                severity,
                record.entity.scope,
                _name(record.entity),
                record.notice.cause,
                _yes(bool(record.hush.by)),
            )
            firing.append((record, (labels, 1)))
    yield Family(ALERTS, tuple(counts.items()))
    shown = fairly(firing, lambda one: _owner(engine, one[0].entity), MOST_EXPORTED_ROWS)
    yield Family(FIRING, tuple(row for _, row in shown))
    said = [((r.rule, r.entity.scope, _name(r.entity), own.host, *words(r.notice.says)), 1.0) for r, _ in shown]
    yield Family(INFO, tuple(said))
    yield Family(TRANSITIONS, tuple(own.transition_counts.items()))
    blind: dict[str, set[str]] = {rule_id: set() for rule_id in rules}
    for spot in spots:
        for rule_id in spot["rules"]:
            blind[rule_id].add(spot["entity"])
    yield Family(BLIND, _by_name({rule_id: len(entities) for rule_id, entities in blind.items()}))
    yield Family(HEALTHY, _by_name({rule_id: rule_id not in engine.unhealthy for rule_id in rules}))
    costs = {rule_id: engine.costs[rule_id] for rule_id in rules if rule_id in engine.costs}
    yield Family(JUDGED, _by_name({rule_id: cost.times for rule_id, cost in costs.items()}))
    yield Family(COST, _by_name({rule_id: cost.seconds for rule_id, cost in costs.items()}))


def _self(engine: Engine, own: Own) -> Iterator[Family]:
    yield Family(BUILD, (((own.version,), 1),))
    numbers = (
        (STARTED, own.started), (LAG, own.lag), (QUEUE, own.queue), (DROPPED, own.dropped), (LINES, engine.intake.lines_read),
        (EVENTS, engine.intake.events_seen), (HISTORY, own.history_works), (CLIENTS, own.clients),
    )  # fmt: skip
    yield from (Family(about, (((), float(number)),)) for about, number in numbers)
    sources = own.sources[:MOST_EXPORTED_ROWS]
    yield Family(SOURCE, _distinct(((s.name, s.health), 1.0) for s in sources))
    yield Family(FAILURES, _distinct(((s.name,), float(s.failures)) for s in sources))
    yield Family(WAITING, tuple(((name,), waiting) for name, waiting, _ in own.sinks))
    yield Family(SINK, tuple(((name,), float(works)) for name, _, works in own.sinks))


def _servers(engine: Engine, shown: Iterable[Entity], at: float) -> Iterator[Family]:
    states: list[MetricRow] = []
    servers: list[MetricRow] = []
    for entity in shown:
        if entity.scope != "server":
            continue

        def text(signal: str, entity: Entity = entity) -> str:
            fact = engine.state.fact(entity, signal, at)
            return _cut(str(fact.value)) if fact is not None else ""

        if state := text("server.state"):
            states.append(((_name(entity), state), 1))
        model = text("server.model_path").rpartition("/")[2]
        servers.append(((_name(entity), text("server.user"), text("server.unit"), model), 1))
    yield Family(STATE, tuple(states))
    yield Family(SERVER, tuple(servers))


def _signals(engine: Engine, shown: Iterable[Entity], at: float) -> Iterator[Family]:
    rows: dict[str, list[MetricRow]] = {}
    for entity in shown:
        labels = () if entity.scope == "host" else (_name(entity),)
        for name in engine.state.facts.of(entity):
            fact = engine.state.fact(entity, name, at)
            if fact is not None and (number := _number(fact.value)) is not None:
                rows.setdefault(name, []).append((labels, number))
    for name, signal in CATALOGUE.items():
        about = of_signal(signal)
        if about is not None and name in rows:
            yield Family(about, tuple(rows[name]))
            for old in (old for old, new in FORMER_NAMES.items() if new == name):
                if (was := of_signal(replace(signal, name=old, help=f"deprecated, now {about.name}: {signal.help}"))) is not None:
                    yield Family(was, tuple(rows[name]))


def _shown(engine: Engine, at: float) -> tuple[list[Entity], dict[str, int]]:
    """The entities whose signals are exported, running servers first, and how many of each scope are left out."""
    runs = engine.state.runs
    known = sorted(engine.state.facts.entities(), key=lambda e: (e in runs and runs[e].gone, e.name))
    known = [one for one in known if one.scope != "server" or not status.faded(engine, one, at)]
    left_out: dict[str, int] = {}
    shown = {one for one in known if one.scope == "host"}
    for scope in ("server", "gpu"):
        there = [one for one in known if one.scope == scope]
        shown.update(fairly(there, lambda one: _owner(engine, one), MOST_EXPORTED))
        left_out[scope] = max(0, len(there) - MOST_EXPORTED)
    return [one for one in known if one in shown], left_out


def _owner(engine: Engine, entity: Entity) -> str:
    """Whose it is; a GPU is its own."""
    return owner_of(engine.state.owner(entity))


def _number(value: Value) -> float | None:
    return None if isinstance(value, str) else float(value)


def _name(entity: Entity) -> str:
    """A name that was changed to be shown could equal another one: it gets a suffix of its own."""
    shown = _cut(entity.name)
    return shown if shown == entity.name else f"{shown}~{fingerprint('', entity)}"


def _cut(text: str) -> str:
    shown = escape(text)
    return shown if len(shown) <= MOST_NAME else shown[:MOST_NAME]


def _by_name(numbers: Mapping[str, float]) -> tuple[MetricRow, ...]:
    return tuple(((name,), float(number)) for name, number in numbers.items())


def _distinct(rows: Iterable[MetricRow]) -> tuple[MetricRow, ...]:
    """Rows with their labels cut; of rows that are then equal the first."""
    found: dict[tuple[str, ...], float] = {}
    for labels, number in rows:
        found.setdefault(tuple(map(_cut, labels)), number)
    return tuple(found.items())


def _yes(so: bool) -> str:
    return "yes" if so else "no"
