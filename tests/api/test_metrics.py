"""What /metrics tells: true numbers, no number for what is unknown, bounded and escaped, and Prometheus can read it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from shipped_rules import shipped_rules
from switch_rules import Story, Switch

from sentinel.api import prometheus
from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect import metrics
from sentinel.engine.inspect.alert_words import words
from sentinel.model.alert import Conclusion, Fix
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.input_limits import MOST_EXPORTED
from sentinel.model.reading import Samples, ServerFound, ServerGone, Tick
from sentinel.rulefiles.testing.readings import EPOCH

AT = 1_700_000_000.0
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]

RULES = shipped_rules()


@pytest.fixture
def engine() -> Engine:
    assert RULES is not None
    ticks = iter(range(10_000_000))
    return Engine(RULES, lambda: next(ticks) / 1000.0)


def own(**changed: object) -> metrics.Own:
    fields: dict[str, object] = {
        "version": "0", "started": AT, "lag": 0.25, "queue": 3, "dropped": 2, "clients": 1, "history_works": True,
        "sources": (), "sinks": (), "transition_counts": {},
    }  # fmt: skip
    return metrics.Own(**{**fields, **changed})  # type: ignore[arg-type]


def told(engine: Engine, mine: metrics.Own | None = None, at: float = AT) -> str:
    return prometheus.text(metrics.families(engine, own() if mine is None else mine, at))


def numbers(text: str) -> Numbers:
    found: Numbers = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"told twice: {key}"
            found[key] = sample.value
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def server(engine: Engine, name: str, **values: Value | Unknown) -> Entity:
    entity = Entity("server", name)
    engine.step(ServerFound(AT, "processes", entity, 77, AT - 60, {f"server.{k}": v for k, v in values.items()}))
    return entity


def test_signals_are_gauges_and_what_is_unknown_or_old_is_left_out(engine: Engine) -> None:
    server(engine, "a", rss_bytes=4096, argv_readable=False, swap_bytes=Unknown("not allowed"), user="llama")
    engine.step(Samples(AT, "host", HOST, {"host.mem_available_bytes": 7}))

    found = numbers(told(engine))

    assert found[key("sentinel_server_rss_bytes", entity="a")] == 4096
    assert found[key("sentinel_server_argv_readable", entity="a")] == 0
    assert found[key("sentinel_host_mem_available_bytes")] == 7
    assert found[key("sentinel_server_info", entity="a", user="llama", unit="", model="")] == 1
    assert not any(name == "sentinel_server_swap_bytes" for name, _ in found)
    later = numbers(told(engine, at=AT + 3600))
    assert key("sentinel_server_rss_bytes", entity="a") not in later


def test_a_server_that_ended_is_ten_minutes_more_in_the_series(engine: Engine) -> None:
    """Its alerts stay; a series of a process that is gone says nothing true."""
    ended = server(engine, "gone", rss_bytes=4096, user="llama")
    server(engine, "stays", rss_bytes=4096)
    engine.step(ServerGone(AT + 1, "processes", ended, 77))

    def shown(at: float) -> set[str]:
        engine.step(Tick(at))
        rows = (dict(labels) for name, labels in numbers(told(engine, at=at)) if name == "sentinel_server_info")
        return {row["entity"] for row in rows}

    assert shown(AT + 600) == {"gone", "stays"}
    assert shown(AT + 602) == {"stays"}
    assert 'entity="gone"' not in told(engine, at=AT + 602)


def test_alerts_are_counted_by_rule_and_reported_one_by_one(engine: Engine) -> None:
    """As `alerts` tells them: with the cause, and a rule without alerts has zeros, which is known."""
    server(engine, "a", argv_readable=True)
    engine.step(Samples(AT, "process", Entity("server", "a"), {"server.process_state": "stopped"}))
    for second in range(60):
        engine.step(Tick(AT + second))
    firing = [record.rule for record in engine.book.open() if record.state == "firing"]

    found = numbers(told(engine, at=AT + 59))

    severity = {r: c.rule.severity for r, c in engine.ruleset.rules.items()}
    for rule in severity:
        expected = float(firing.count(rule))
        assert found[key("sentinel_alerts", rule=rule, severity=severity[rule], state="firing")] == expected
    one_by_one = [dict(labels) for name, labels in found if name == "sentinel_alert_firing"]
    assert sorted(row["rule"] for row in one_by_one) == sorted(firing)
    assert all(row["silenced"] == "no" for row in one_by_one)


def test_what_an_alert_says_is_in_labels_safe_to_show_and_bounded() -> None:
    """A command is whole or not there."""
    story = Story(Switch("noisy", "server.rss_bytes"))
    story.turn(0.0, Entity("server", "a\nb"), noisy=True)

    found = numbers(told(story.engine, own(host="gpu-1"), at=EPOCH))

    (row,) = (dict(labels) for name, labels in found if name == "sentinel_alert_info")
    assert row.pop("entity").partition("~")[0] == "a\\nb"
    assert row == {
        "rule": "noisy", "scope": "server", "host": "gpu-1", "summary": "1 is on", "cause_text": "somebody switched it on",
        "fix": "switch it off", "command": "",
    }  # fmt: skip
    (firing,) = (dict(labels) for name, labels in found if name == "sentinel_alert_firing")
    assert (firing["rule"], firing["cause"], firing["silenced"]) == ("noisy", "switched", "no")
    long = Conclusion("s" * 5000, None, (Fix("d\x1b" * 5000, "c" * 5000),))
    assert [len(text) for text in words(long)] == [600, 0, 600, 0]
    assert words(Conclusion("", None, (Fix("d", "c \x1b"),))) == ("", "", "d", "c \\x1b")


def test_what_cannot_be_judged_is_counted(engine: Engine) -> None:
    server(engine, "a")
    server(engine, "b")
    assert numbers(told(engine))[key("sentinel_rule_unknown", rule="cpu-fallback")] == 2


def test_the_daemon_reports_on_itself(engine: Engine) -> None:
    mine = own(
        sources=(metrics.Source("host", "up", 0), metrics.Source("amdgpu", "failed", 4)),
        sinks=(("journald", 2, False),),
        transition_counts={("cpu-fallback", "firing"): 5},
        history_works=False,
    )
    server(engine, "a")

    found = numbers(told(engine, mine))

    assert found[key("sentinel_engine_lag_seconds")] == 0.25
    assert found[key("sentinel_queue_readings")] == 3
    assert found[key("sentinel_samples_dropped_total")] == 2
    assert found[key("sentinel_source_state", source="amdgpu", state="failed")] == 1
    assert found[key("sentinel_source_failures", source="amdgpu")] == 4
    assert found[key("sentinel_sink_up", sink="journald")] == 0
    assert found[key("sentinel_history_writable")] == 0
    assert found[key("sentinel_transitions_total", rule="cpu-fallback", state="firing")] == 5
    judged = found[key("sentinel_rule_evaluations_total", rule="cpu-fallback")]
    assert judged >= 1
    # The stopwatch of this test goes on by a millisecond at each look.
    assert found[key("sentinel_rule_evaluation_seconds_total", rule="cpu-fallback")] == pytest.approx(judged / 1000)
    assert found[key("sentinel_process_open_fds")] > 0


def test_servers_without_end_do_not_make_series_without_end(engine: Engine) -> None:
    """Those that run come first; the others are counted."""
    for number in range(MOST_EXPORTED + 30):
        entity = server(engine, f"127.0.0.1:{10_000 + number}", rss_bytes=1)
        if number < 20:
            engine.step(ServerGone(AT, "processes", entity, 77))

    found = numbers(told(engine))

    shown = {dict(labels)["entity"] for name, labels in found if name == "sentinel_server_info"}
    assert len(shown) == MOST_EXPORTED
    assert "127.0.0.1:10000" not in shown
    assert found[key("sentinel_metrics_left_out", scope="server")] == 30


def test_a_stranger_with_many_servers_leaves_out_his_own(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name his came first, and the honest server's numbers and alerts were those left out."""
    monkeypatch.setattr(metrics, "MOST_EXPORTED_ROWS", 12)
    for number in range(MOST_EXPORTED):
        server(engine, f"127.0.0.1:{10_000 + number}", user="mallory", argv_readable=False)
    server(engine, "zoe.service", user="zoe", argv_readable=False)
    engine.step(ServerGone(AT, "processes", server(engine, "127.0.0.1:9", user="mallory"), 77))
    for number in range(20):
        stopped = Entity("server", "zoe.service" if number == 19 else f"127.0.0.1:{10_000 + number}")
        engine.step(Samples(AT, "process", stopped, {"server.process_state": "stopped"}))
    for second in range(60):
        engine.step(Tick(AT + second))

    found = numbers(told(engine, at=AT + 59))

    shown = {dict(labels)["entity"] for name, labels in found if name == "sentinel_server_info"}
    assert (len(shown), "zoe.service" in shown) == (MOST_EXPORTED, True)
    assert found[key("sentinel_metrics_left_out", scope="server")] == 2
    alerts = [dict(labels) for name, labels in found if name == "sentinel_alert_firing"]
    assert len(alerts) == 12
    assert "zoe.service" in {row["entity"] for row in alerts}


@settings(max_examples=examples(60), deadline=None)
@given(names=st.lists(st.text(max_size=300), min_size=1, max_size=4, unique=True), text=st.text(max_size=300))
def test_names_from_outside_cannot_write_series(names: list[str], text: str) -> None:
    """Each server has its own series whatever it is called; nothing a name holds begins a line or another label."""
    assert RULES is not None
    engine = Engine(RULES)
    for name in names:
        server(engine, name, rss_bytes=1, user=text, model_path=f"/{text}")

    mine = own(sources=tuple(metrics.Source(name, "up", 0) for name in names))
    found = numbers(told(engine, mine))

    assert len([name for name, _ in found if name == "sentinel_server_rss_bytes"]) == len(names)
    for line in told(engine, mine).splitlines():
        assert line.startswith(("sentinel_", "# HELP sentinel_", "# TYPE sentinel_"))
        assert line.isprintable() or not line.isascii()


@pytest.fixture
def promtool() -> Callable[[str], subprocess.CompletedProcess[str]]:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    return lambda text: subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
    )


def test_promtool_has_no_objection(engine: Engine, promtool: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """Every family with a row, every signal that is a number; names with all that a label may hold."""
    for scope, name in (("server", 'a"\\\n\x1b[31m\u202e\udcff{}='), ("gpu", "0000:03:00.0"), ("host", "host")):
        kinds: dict[str, Value] = {"flag": True, "int": 1, "float": 1.5, "text": 'x"\\\n'}
        values = {s.name: kinds[s.type] for s in CATALOGUE.values() if s.scope == scope}
        engine.step(Samples(AT, "test", Entity(scope, name), values))  # type: ignore[arg-type]
    mine = own(sinks=(("journald", 0, True),), sources=(metrics.Source("log /a\nb", "up", 0),), transition_counts={("r", "s"): 1})
    found = told(engine, mine)
    signals = [about.name for s in CATALOGUE.values() if (about := metrics.of_signal(s)) is not None]

    done = promtool(found)

    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
    assert set(signals) <= {name for name, _ in numbers(found)}


def test_promtool_would_object(promtool: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    assert promtool("# TYPE a_total gauge\na_total 1\n").returncode != 0
