"""A log to which each start of a server appends: the stamps of a run count from its own start."""

from __future__ import annotations

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, ServerFound, Tick

SERVER = Entity("server", "127.0.0.1:8080")
LONG_AGO = 1_000_000.0
STOPPED = b"99.00.994.090 I srv    operator(): operator(): cleaning up before exit...\n"
BEGUN = b"0.00.021.713 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
CRASHED = b"ggml/src/ggml-backend.cpp:1222: GGML_ASSERT(buffer) failed\n"


def lines(at: float, data: bytes, base: float | None = LONG_AGO, first: int = 1) -> LogLines:
    return LogLines(at, "server.log", SERVER, data, first=first, elapsed_base=base)


def test_what_the_next_run_prints_before_its_process_is_seen_is_of_now(ruleset: RuleSet) -> None:
    """Read at once after the stop of a run of 100 minutes: it would lie 100 minutes ago, before the stop."""
    engine = Engine(ruleset)
    now = LONG_AGO + 5941.5
    engine.step(ServerFound(LONG_AGO, "process", SERVER, 77, LONG_AGO, {"server.log_readable": True}))
    engine.step(lines(LONG_AGO + 1, BEGUN))
    engine.step(lines(now, STOPPED + BEGUN + CRASHED, first=2))
    count, last = engine.state.happened(SERVER, "run_started", now - 1)
    assert (count, last.at if last else None) == (1, now)
    # The crash is of the new run, which nobody stopped.
    told = engine.step(Tick(now + 1))
    alerts = {record.rule for record in engine.book.open()}
    assert "server-crashed" in alerts, told


def test_the_stamps_count_again_from_the_start_of_the_process_once_it_is_seen(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    now = LONG_AGO + 5941.5
    engine.step(lines(now, STOPPED + BEGUN))
    engine.step(ServerFound(now + 1, "process", SERVER, 78, now - 0.1, {"server.log_readable": True}))
    engine.step(lines(now + 9, b"0.05.000.000 I srv    operator(): operator(): cleaning up before exit...\n", now - 0.1))
    _, last = engine.state.happened(SERVER, "server_stopping", now)
    assert last is not None
    assert last.at == now - 0.1 + 5.0
