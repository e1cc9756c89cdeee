"""A log of start lines alone: each begins a run, and the last one counts."""

from __future__ import annotations

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_RUNS_OF_READING
from sentinel.model.reading import LogLines

SERVER = Entity("server", "127.0.0.1:8080")
START = b"0.00.212.903 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
FAILS = (
    b"0.00.215.813 E gguf_init_from_file: failed to open GGUF file '/none.gguf' (No such file or directory)\n"
    b"0.00.216.131 E srv    load_model: failed to load model, '/none.gguf'\n"
)


def test_runs_beyond_the_first_of_one_reading_are_not_judged_one_by_one(ruleset: RuleSet) -> None:
    """Their cost is bounded, it is said whose they were, and what the last run says is known as ever."""
    judged: list[int] = []
    for count in (MOST_RUNS_OF_READING, 20 * MOST_RUNS_OF_READING):
        ticks = iter(range(10**9))
        engine = Engine(ruleset, lambda ticks=ticks: float(next(ticks)))  # type: ignore[misc]
        engine.step(LogLines(1.0, "server.log", SERVER, START * count + FAILS))
        judged.append(sum(cost.times for cost in engine.costs.values()))
        fact = engine.state.fact(SERVER, "server.state", 1.0)
        assert fact is not None
        assert fact.value == "failed"

    assert judged[1] <= judged[0] + len(ruleset.rules)
    assert [whose for whose, _, _ in engine.state.cuts.all()] == [SERVER.name]
