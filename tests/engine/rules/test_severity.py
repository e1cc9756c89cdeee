"""A cause may be worse than its rule: what people, the journal, the exit codes and Prometheus get is that of the cause."""

from __future__ import annotations

import pytest
from sample_rules import GOOD

from sentinel.cli.why import show
from sentinel.daemon import readiness
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import metrics
from sentinel.engine.inspect.explain import why
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH
from sentinel.sinks.journald import fields

SERVER = Entity("server", "llama.service")
_REFUSED = b"ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected\n"
WORSE = GOOD.replace('id = "no-gpu"\n', 'id = "no-gpu"\nseverity = "critical"\n')


def engine_of(text: str) -> Engine:
    ruleset, problems = load({"r.toml": text.encode()}, read([shipped()])[1])
    assert ruleset is not None, problems
    return Engine(ruleset)


def slow(engine: Engine, *seconds: float, line: bytes = b"") -> list[Transition]:
    readings: list[Reading] = [ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, {"server.log_readable": True})]
    readings += [LogLines(EPOCH + 1, "log", SERVER, line)] if line else []
    for second in seconds:
        readings += [Samples(EPOCH + second, "log", SERVER, {"server.generation_tps": 0.5}), Tick(EPOCH + second)]
    return [transition for reading in readings for transition in engine.step(reading)]


def test_what_is_reported_is_as_bad_as_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    engine = engine_of(WORSE)
    told = slow(engine, *range(2, 12), line=_REFUSED)
    assert [(t.state, t.severity) for t in told] == [("pending", "critical"), ("firing", "critical")]
    assert dict(fields(told[-1]))["PRIORITY"] == "2"
    assert show(why(engine, "too-slow", "", EPOCH + 12), as_json=True) == 2
    assert '"severity": "warning"' in capsys.readouterr().out, "what the rule says of itself"
    own = metrics.Own("0", EPOCH, 0.0, 0, 0, 0, True, (), (), {})
    rows = {family.about.name: family.rows for family in metrics.families(engine, own, EPOCH + 12)}
    assert (("too-slow", "critical", "firing"), 1) in rows["sentinel_alerts"]
    assert (("too-slow", "warning", "firing"), 0) in rows["sentinel_alerts"]
    assert [labels[1] for labels, _ in rows["sentinel_alert_firing"]] == ["critical"]


def test_a_cause_without_one_is_as_bad_as_its_rule(capsys: pytest.CaptureFixture[str]) -> None:
    engine = engine_of(WORSE)
    assert {t.severity for t in slow(engine, *range(2, 12))} == {"warning"}
    assert show(why(engine, "too-slow", "", EPOCH + 12), as_json=True) == 1
    capsys.readouterr()


def test_it_grows_worse_when_the_worse_cause_is_found() -> None:
    engine = engine_of(WORSE)
    slow(engine, *range(2, 12))
    later = engine.step(LogLines(EPOCH + 13, "log", SERVER, _REFUSED))
    assert [(t.reason, t.severity) for t in later] == [("cause-found", "critical")]
    assert readiness.headline(engine, EPOCH + 13, [], []).startswith("1 server; firing: too-slow")


def test_a_severity_that_is_none_is_refused_with_its_place() -> None:
    _, problems = load({"r.toml": WORSE.replace('severity = "critical"', 'severity = "bad"').encode()}, {})
    assert any("cause 'no-gpu'.severity" in str(p) and "none of" in str(p) for p in problems), problems


def test_a_cache_that_was_refused_is_critical_and_a_context_that_was_cut_a_warning(ruleset: RuleSet) -> None:
    rule = ruleset.rules["context-collapse"].rule
    others = {cause.id: cause.severity for cause in rule.causes if cause.severity is not None}
    assert (rule.severity, others) == ("warning", {"kv-allocation-failed": "critical", "answer-fills-the-context": "info"})
    engine = Engine(ruleset)
    engine.step(ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, {"server.log_readable": True}))
    line = b"0.00.418.217 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache\n"
    told = engine.step(LogLines(EPOCH + 1, "log", SERVER, line))
    told += [t for second in range(2, 20) for t in engine.step(Tick(EPOCH + second))]
    (firing,) = [t for t in told if t.rule == "context-collapse" and t.state == "firing"]
    assert firing.severity == "critical"
    assert firing.summary.startswith("llama.service: its context falls short: it does not start, there was no memory for its KV")
