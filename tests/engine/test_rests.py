"""A rule that does not match is judged again when something that it reads changes, or time changes it: not before, not later."""

from __future__ import annotations

from sample_rules import GOOD

from sentinel.engine.engine import Engine
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity, Value
from sentinel.model.reading import LogLines, Samples, ServerFound, Tick
from sentinel.rulefiles.files import read, shipped
from sentinel.rulefiles.load import load
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
RULE = "too-slow"
_FAILED = b"ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected\n"
_WITHIN = '{ name = "backend_init_failed", over = "30s" }'


def engine_of(condition: str) -> Engine:
    text = GOOD.replace('{ name = "backend_init_failed", since = "server.start" }', _WITHIN).replace(
        '"speed < 1.0"', f'"{condition}"'
    )
    ruleset, problems = load({"r.toml": text.encode()}, read([shipped()])[1])
    assert ruleset is not None, problems
    engine = Engine(ruleset, lambda: 0.0)
    engine.step(ServerFound(EPOCH, "proc", SERVER, 7, EPOCH, {"server.log_readable": True}))
    return engine


def seconds(engine: Engine, first: int, last: int) -> list[Transition]:
    return [told for second in range(first, last + 1) for told in engine.step(Tick(EPOCH + second))]


def judged(engine: Engine) -> int:
    return engine.costs[RULE].times


def values(engine: Engine, at: float, **values: Value) -> list[Transition]:
    return engine.step(Samples(EPOCH + at, "test", SERVER, {f"server.{name}": value for name, value in values.items()}))


def test_it_is_not_judged_while_time_changes_nothing_and_is_at_the_second_at_which_an_event_leaves_its_window() -> None:
    engine = engine_of("failed.count == 0")
    values(engine, 0, port=8080)
    engine.step(LogLines(EPOCH + 0.5, "log", SERVER, _FAILED))
    seconds(engine, 1, 8)
    before = judged(engine)
    assert seconds(engine, 9, 30) == []
    assert judged(engine) == before
    assert [(t.state, t.at) for t in seconds(engine, 31, 33)] == [("pending", EPOCH + 31)]


def test_it_is_judged_each_second_while_it_reads_an_age() -> None:
    engine = engine_of("failed.age > 12.0")
    engine.step(LogLines(EPOCH + 1, "log", SERVER, _FAILED))
    assert [(t.state, t.at) for t in seconds(engine, 1, 15)] == [("pending", EPOCH + 14)]


def test_it_is_judged_when_it_shows_whether_its_log_is_read() -> None:
    """That the event did not happen counts from then on, although no signal that the rule names has changed."""
    engine = engine_of("failed.count == 0 && server.port == 8080")
    values(engine, 0, port=8080, log_readable=False)
    assert [t for t in seconds(engine, 1, 11) if t.state == "firing"] == []
    values(engine, 12, log_readable=True)
    assert "firing" in [t.state for t in seconds(engine, 13, 30)]


def test_it_is_judged_when_events_are_forgotten_for_their_number() -> None:
    engine = engine_of("failed.count < 3")
    for _ in range(5):
        engine.step(LogLines(EPOCH + 1, "log", SERVER, _FAILED))
    seconds(engine, 1, 8)
    assert engine.state.happened(SERVER, "backend_init_failed", EPOCH)[0] == 5
    engine.state.log._shrink(SERVER)
    engine.state.log._shrink(SERVER)
    assert "pending" in [t.state for t in seconds(engine, 9, 20)]
