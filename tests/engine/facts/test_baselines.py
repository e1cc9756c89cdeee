"""The usual speed of a configuration: learned from healthy answers alone, compared with its like, kept and bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from flights import EPOCH, UNIT

from sentinel.engine.engine import Engine
from sentinel.engine.facts import baselines
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.input_limits import MOST_BASELINES
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick

CARD = Entity("gpu", "0000:03:00.0")
MODEL = 22_000_000_000
#: OpenCL: whether it was to use a GPU nobody says, so that the speed alone tells.
ASKED: dict[str, Value | Unknown] = {
    "server.configuration": "c0ffee00c0ffee00", "server.gpu_layers_requested": -1, "server.gpu_layers_asked": "auto",
    "server.gpu_layers_explicit": False, "server.device_none": False, "server.is_router": False, "server.model_bytes": MODEL,
    "server.log_readable": True, "server.port": 18080, "server.gpu_backends": "opencl", "server.unit": "llama.service",
}  # fmt: skip
MACHINE: dict[str, Value | Unknown] = {
    "host.gpu_count": 1, "host.amd_gpu_count": 1, "host.nvidia_gpu_count": 0, "host.render_nodes": 1,
    "host.kernel_log_readable": True,
}  # fmt: skip
START = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
READY = b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
STAMP = "0.05.100.000 I"


class Machine:
    """A server and a GPU on an engine, second by second."""

    def __init__(self, ruleset: RuleSet, **asked: Value | Unknown) -> None:
        self.engine = Engine(ruleset)
        self.at = EPOCH
        self.told: list[tuple[str, str, str]] = []
        self.task = 0
        self.held, self.cores, self.watts = 21_000_000_000, 0.9, 210.0
        self.asked = {**ASKED, **{f"server.{name}": value for name, value in asked.items()}}
        self.start()

    def start(self, pid: int = 77) -> None:
        self.step(ServerFound(self.at, "process", UNIT, pid, self.at, self.asked))
        self.step(Samples(self.at, "host", HOST, MACHINE))
        self.lines(START + READY)
        self.second()

    def step(self, reading: Reading) -> None:
        for t in self.engine.step(reading):
            self.told.append((t.rule, t.state, t.cause.id if t.cause else ""))

    def lines(self, text: bytes, *, backlog: bool = False) -> None:
        self.step(LogLines(self.at, "server.log", UNIT, text, backlog=backlog))

    def second(self) -> None:
        self.at += 1.0
        if self.at % 5 == 0:
            values = {
                "server.gpu_memory_bytes": self.held,
                "server.gpu_gtt_bytes": 0,
                "server.gpu_nodes_open": 2 * (self.held > 0),
            }
            self.step(Samples(self.at, "process_gpu", UNIT, values))
            self.step(Samples(self.at, "process_sample", UNIT, {"server.cpu_cores": self.cores}))
            self.step(Samples(self.at, "amdgpu", CARD, {"gpu.power_watts": self.watts}))
        self.step(Tick(self.at))

    def begin(self, slot: int = 0) -> int:
        self.task += 1
        self.lines(b"0.05.100.000 I slot launch_slot_: id  %d | task %d | processing task, is_child = 0\n" % (slot, self.task))
        return self.task

    def end(self, task: int, tps: float, *, tokens: int = 300, depth: int = 500, slot: int = 0, backlog: bool = False) -> None:
        ms, per = tokens / tps * 1000, 1000 / tps
        who = f"id  {slot} | task {task} |"
        rate = f"{ms:.2f} ms / {tokens} tokens ( {per:.2f} ms per token, {tps:.2f} tokens per second)"
        timing = f"{STAMP} slot print_timing: {who}        eval time = {rate}\n"
        release = f"{STAMP} slot      release: {who} stop processing: n_tokens = {depth}, truncated = 0\n"
        self.lines((timing + release).encode(), backlog=backlog)

    def answer(self, tps: float, *, tokens: int = 300, depth: int = 500, backlog: bool = False) -> None:
        task = self.begin()
        for _ in range(max(1, round(tokens / tps))):
            self.second()
        self.end(task, tps, tokens=tokens, depth=depth, backlog=backlog)

    def value(self, signal: str) -> Value | None:
        fact = self.engine.state.fact(UNIT, signal, self.at)
        return None if fact is None else fact.value

    def why(self, signal: str) -> str:
        return str(self.engine.state.why_missing(UNIT, signal, self.at))

    def kept(self) -> Sequence[Sequence[Any]]:
        return self.engine.baselines.dump()["baselines"]


@pytest.fixture
def machine(ruleset: RuleSet) -> Machine:
    return Machine(ruleset)


def fired(machine: Machine) -> list[str]:
    return [cause for rule, state, cause in machine.told if (rule, state) == ("cpu-fallback", "firing")]


def healthy(machine: Machine, depth: int = 500) -> None:
    for number in range(6):
        machine.answer(33.0 - number * 0.5, depth=depth)


def test_the_same_configuration_on_the_processor_is_reported_with_both_speeds_and_ends_on_the_gpu(machine: Machine) -> None:
    """Nobody asked for layers (the default is as many as fit) and the build is Vulkan: only its own past tells."""
    healthy(machine)
    assert (machine.value("server.usual_tps"), machine.value("server.usual_gpu_bytes")) == (32.0, 21_000_000_000)
    assert machine.value("server.usual_gpu_watts") == 210.0
    machine.held, machine.cores, machine.watts = 0, 7.9, 22.0
    machine.start(pid=78)
    machine.answer(2.5, tokens=60)
    for _ in range(20):
        machine.second()
    assert fired(machine) == ["changed-around-it"]
    record = machine.engine.book.peek("cpu-fallback", UNIT)
    assert record is not None
    assert "2.5 tokens/s where 31.8 are usual" in record.notice.says.summary
    assert record.notice.says.cause is not None
    assert "19.6 GiB on GPUs when it last answered well" in record.notice.says.cause.text
    assert "(7.9 cores)" in record.notice.says.cause.text
    kept = machine.kept()

    machine.answer(2.4, tokens=60)
    assert machine.kept() == kept, "what it does while the alert is open is not learned"

    machine.held, machine.cores, machine.watts = 21_000_000_000, 0.9, 210.0
    machine.start(pid=79)
    machine.answer(32.0)
    for _ in range(20):
        machine.second()
    assert ("cpu-fallback", "resolved", "changed-around-it") in machine.told


def look_alikes() -> Iterator[tuple[str, float, int]]:
    yield "throttled, or another program uses the GPU: all of it is there as ever", 2.5, 21_000_000_000
    yield "a little slower with less on the GPU", 15.0, 9_000_000_000


@pytest.mark.parametrize(("what", "tps", "held"), list(look_alikes()))
def test_what_is_slow_for_another_reason_is_quiet(machine: Machine, what: str, tps: float, held: int) -> None:
    healthy(machine)
    machine.held, machine.cores = held, 7.9
    for _ in range(10):
        machine.second()
    machine.answer(tps, tokens=60)
    for _ in range(20):
        machine.second()
    assert fired(machine) == [], what


def test_a_long_context_is_held_against_its_like_or_against_nothing(machine: Machine) -> None:
    healthy(machine)
    machine.held, machine.cores = 0, 7.9
    machine.answer(3.0, tokens=60, depth=60_000)
    assert machine.value("server.answer_tps") == 3.0
    assert machine.value("server.usual_tps") is None
    assert "known at this depth" in machine.why("server.usual_tps")
    assert fired(machine) == []


def test_a_deeper_baseline_serves_for_a_shallower_answer_and_not_the_other_way_round(machine: Machine) -> None:
    healthy(machine, depth=9_000)
    machine.answer(30.0, depth=400)
    assert machine.value("server.usual_tps") == 31.75
    machine.answer(30.0, depth=40_000)
    assert machine.value("server.usual_tps") is None


def test_answers_beside_each_other_are_neither_learned_nor_compared(machine: Machine) -> None:
    healthy(machine)
    before = machine.kept()
    one, other = machine.begin(0), machine.begin(1)
    for _ in range(30):
        machine.second()
    machine.end(one, 3.0, slot=0)
    machine.end(other, 3.0, slot=1)
    assert "other slots" in machine.why("server.usual_tps")
    assert machine.value("server.usual_tps") is None
    assert machine.kept() == before


def test_while_it_generates_it_is_compared_where_its_depth_is_known(machine: Machine) -> None:
    """A long prompt tells its length every three seconds; without it a slow answer may only be a deep one."""
    healthy(machine)
    task = machine.begin()
    for _ in range(10):
        machine.second()
    slot = f"{STAMP} slot print_timing: id  0 | task {task} |"
    progress = f"{slot} n_gen =    100, tg =  2.60 t/s, tg_3s =  2.50 t/s\n".encode()
    machine.lines(progress)
    assert "not known before the answer ends" in machine.why("server.usual_tps")
    reading = "prompt processing, n_tokens =   300, progress = 0.50, t =   3.10 s / 96.00 tokens per second"
    machine.lines(f"{slot} {reading}\n".encode())
    machine.lines(progress)
    assert (machine.value("server.answer_tps"), machine.value("server.usual_tps")) == (2.5, 31.75)


def test_lines_written_before_anybody_looked_teach_no_speed(machine: Machine) -> None:
    for _ in range(8):
        machine.answer(33.0, backlog=True)
    assert machine.kept() == []
    assert machine.value("server.answer_tps") is None


def test_short_answers_and_printed_nonsense_teach_no_speed(machine: Machine) -> None:
    for _ in range(8):
        machine.answer(33.0, tokens=8)
    for text in ("inf", "nan", "-1.0", "1e300", "0.00"):
        task = machine.begin()
        rate = f"0.00 ms / 40 tokens ( 0.00 ms per token, {text} tokens per second)"
        who = f"id  0 | task {task} |"
        machine.lines(
            f"{STAMP} slot print_timing: {who}        eval time = {rate}\n"
            f"{STAMP} slot      release: {who} stop processing: n_tokens = 99999999999999, truncated = 0\n".encode()
        )
    assert machine.kept() == []


def test_without_a_known_configuration_nothing_is_compared(ruleset: RuleSet) -> None:
    machine = Machine(ruleset, configuration=Unknown("/proc/77/environ cannot be read"))
    healthy(machine)
    assert machine.kept() == []
    assert "/proc/77/environ cannot be read" in machine.why("server.usual_tps")


def test_other_flags_are_another_configuration(ruleset: RuleSet) -> None:
    machine = Machine(ruleset)
    healthy(machine)
    machine.asked = {**machine.asked, "server.configuration": "0ther00000000000"}
    machine.held, machine.cores = 0, 7.9
    machine.start(pid=78)
    machine.answer(2.5, tokens=60)
    assert machine.value("server.usual_tps") is None
    assert fired(machine) == []


def test_a_failure_that_has_no_name_yet_does_not_become_the_usual(machine: Machine) -> None:
    healthy(machine)
    for _ in range(30):
        machine.answer(10.0, tokens=60)
    assert machine.value("server.usual_tps") == 31.75


def test_an_old_build_prints_the_speed_after_the_end(machine: Machine) -> None:
    for _ in range(6):
        machine.task += 1
        who = f"id  0 | task {machine.task} |"
        machine.lines(f"slot launch_slot_: {who} processing task\n".encode())
        for _ in range(10):
            machine.second()
        machine.lines(
            f"slot      release: {who} stop processing: n_past = 444, truncated = 0\nslot print_timing: {who} \n"
            "prompt eval time =       7.05 ms /     5 tokens (    1.41 ms per token,   709.32 tokens per second)\n"
            "       eval time =     566.50 ms /    40 tokens (   14.16 ms per token,    70.61 tokens per second)\n".encode()
        )
    ((name, depth, _, samples),) = machine.kept()
    assert (name, depth, len(samples)) == ("c0ffee00c0ffee00", 0, 6)
    assert machine.value("server.usual_tps") == 70.61


def test_what_is_kept_is_bounded_and_each_change_is_heard_of(ruleset: RuleSet) -> None:
    machine = Machine(ruleset)
    heard: dict[tuple[str, int], object] = {}

    def hear(configuration: str, depth: int, row: list[object] | None) -> None:
        if row is None:
            del heard[configuration, depth]
        else:
            heard[configuration, depth] = row

    machine.engine.baselines.on_change = hear
    for number in range(MOST_BASELINES + 40):
        machine.asked = {**machine.asked, "server.configuration": f"{number:016x}"}
        machine.start(pid=1000 + number)
        machine.answer(33.0, tokens=60)
    assert len(machine.kept()) == len(heard) == MOST_BASELINES
    assert (f"{0:016x}", 0) not in heard
    for _ in range(40):
        machine.answer(33.0, tokens=60)
    assert max(len(row[3]) for row in machine.kept()) == baselines.KEPT


@pytest.mark.parametrize(
    "row", [["c", 0, 1.0, [[-1.0, None, None]]], ["c", 0, 1.0, [["x", None, None]]], ["c", "y", 1.0, []], ["c", 0, 1.0, [[1.0]]]]
)
def test_rows_that_somebody_edited_are_refused(machine: Machine, row: list[object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        machine.engine.baselines.learned([row])


def test_the_shipped_rules_that_slow_generation_say_so(ruleset: RuleSet) -> None:
    assert {rule_id for rule_id, compiled in ruleset.rules.items() if compiled.rule.slows_generation} == {
        "cpu-fallback",
        "gpu-install-broken",
        "gpu-memory-spill",
        "gpu-reset",
        "load-oom-forecast",
        "memory-thrash",
        "prompt-cache-growth",
        "server-wedged",
        "thermal-throttle",
    }


@pytest.mark.parametrize(("depth", "number"), [(0, 0), (1023, 0), (1024, 1), (2048, 2), (4095, 2), (4096, 3), (131_072, 8)])
def test_classes_of_depth(depth: int, number: int) -> None:
    assert baselines.depth_class(depth) == number
