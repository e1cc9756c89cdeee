"""A start that lived for 0.1 s: its process is known to have ended before a line of it is read."""

from __future__ import annotations

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import LogLines, Samples, ServerFound, ServerGone, Tick

SERVER = Entity("server", "t1")
STARTED = 1_700_000_000.0
BEGIN = b"""\
0.00.020.113 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)
"""
LINES = b"""\
0.00.041.907 I srv    load_model: loading model '/models/missing.gguf'
0.00.045.892 E gguf_init_from_file: failed to open GGUF file '/models/missing.gguf' (No such file or directory)
0.00.045.895 E srv    load_model: failed to load model, '/models/missing.gguf'
0.00.045.896 I srv    operator(): operator(): cleaning up before exit...
"""


@pytest.mark.parametrize("backlog", [False, True])
@pytest.mark.parametrize("late", [0.2, 3.0])
@pytest.mark.parametrize("lines", [LINES, BEGIN + LINES])
def test_its_end_is_named_however_late_its_log_is_read(ruleset: RuleSet, lines: bytes, late: float, backlog: bool) -> None:
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {
        "server.pid": 10,
        "server.host": "127.0.0.1",
        "server.port": 8080,
        "server.is_router": False,
        "server.front_end": "",
    }
    engine.step(ServerFound(STARTED + 0.1, "process", SERVER, 10, STARTED, values))
    engine.step(ServerGone(STARTED + 0.15, "process", SERVER, 10))
    engine.step(Samples(STARTED + 0.16, "logs", SERVER, {"server.log_readable": True}))
    at = STARTED + 0.15 + late
    engine.step(LogLines(at, "t1-json.log", SERVER, lines, backlog=backlog, elapsed_base=STARTED))
    state = engine.state.facts.last(SERVER, "server.state")
    assert state is not None and state.value == "exited"
    news = [change for second in range(1, 30) for change in engine.step(Tick(at + second))]
    assert "start-failed" in {change.rule for change in news if change.state == "firing"}


@pytest.mark.parametrize("said", ["cleaning", "failed", "loading"])
def test_a_start_that_dies_right_after_another_process_is_named(ruleset: RuleSet, said: str) -> None:
    """On a busy machine the last lines of the process before are read when the next has begun; they are not the next one's."""
    lines = LINES.splitlines(keepends=True)
    late = {"cleaning": lines[3], "failed": lines[2], "loading": lines[0]}[said]
    ready = b"" if said != "cleaning" else b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
    engine = Engine(ruleset)
    values: dict[str, Value | Unknown] = {
        "server.host": "127.0.0.1",
        "server.port": 8080,
        "server.is_router": False,
        "server.front_end": "",
        "server.log_readable": True,
    }
    engine.step(ServerFound(STARTED - 5.0, "process", SERVER, 9, STARTED - 5.0, values))
    engine.step(LogLines(STARTED - 3.0, "log", SERVER, BEGIN + ready, elapsed_base=STARTED - 5.0))
    engine.step(LogLines(STARTED + 0.02, "log", SERVER, late, elapsed_base=STARTED - 5.0))
    engine.step(ServerGone(STARTED + 0.5, "process", SERVER, 9))
    engine.step(ServerFound(STARTED + 0.5, "process", SERVER, 10, STARTED, values))
    engine.step(ServerGone(STARTED + 0.5, "process", SERVER, 10))
    engine.step(LogLines(STARTED + 0.6, "log", SERVER, BEGIN + LINES, elapsed_base=STARTED))
    state = engine.state.facts.last(SERVER, "server.state")
    assert state is not None and state.value == "exited"
    news = [change for second in range(1, 30) for change in engine.step(Tick(STARTED + second))]
    assert "start-failed" in {change.rule for change in news if change.state == "firing"}
