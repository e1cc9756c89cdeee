"""The engine: pure, indexed without losing anything, right about runs, restarts and whom an event concerns."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.engine import Engine
from sentinel.engine.log.match import Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import to_json, transition_to_dict
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.rulefiles.files import load_paths, shipped
from sentinel.rulefiles.testing.readings import EPOCH

SERVER = Entity("server", "llama.service")
SECOND = Entity("server", "127.0.0.1:8081")
FALLBACK: dict[str, Value | Unknown] = {
    "server.gpu_layers_requested": 99,
    "server.gpu_layers_asked": "99",
    "server.gpu_layers_explicit": True,
    "server.device_none": False,
    "server.is_router": False,
    "server.model_bytes": 4_000_000_000,
    "server.log_readable": True,
}
ON_CPU: dict[str, Value | Unknown] = {"server.gpu_nodes_open": 0, "server.gpu_memory_bytes": 0, "server.gpu_gtt_bytes": 0}
ON_GPU: dict[str, Value | Unknown] = {"server.gpu_nodes_open": 2, "server.gpu_memory_bytes": 3_000_000_000}
START = b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
READY = b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
KILLED = (
    b"Out of memory: Killed process %d (llama-server) total-vm:240123456kB, anon-rss:1523120kB, file-rss:125819600kB, "
    b"shmem-rss:0kB, UID:1000 pgtables:440000kB oom_score_adj:0\n"
)


def feed(engine: Engine, readings: Iterable[Reading]) -> list[Transition]:
    return [t for reading in readings for t in engine.step(reading)]


def told(transitions: Iterable[Transition]) -> list[tuple[str, str, str]]:
    return [(t.rule, t.previous, t.state) for t in transitions]


def lines(at: float, data: bytes, **more: object) -> LogLines:
    return LogLines(EPOCH + at, "server.log", SERVER, data, **more)  # type: ignore[arg-type]


def found(at: float, pid: int = 77, values: dict[str, Value | Unknown] | None = None) -> ServerFound:
    return ServerFound(EPOCH + at, "process", SERVER, pid, EPOCH + at, FALLBACK if values is None else values)


def samples(at: float, values: dict[str, Value | Unknown], entity: Entity = SERVER) -> Samples:
    return Samples(EPOCH + at, "process", entity, values)


def ticks(start: int, end: int) -> Iterator[Tick]:
    return (Tick(EPOCH + t) for t in range(start, end))


def fallback_story() -> list[Reading]:
    story: list[Reading] = [found(0), samples(0, {"host.gpu_count": 0, "host.render_nodes": 0}, HOST), lines(1, START + READY)]
    for second in range(1, 40):
        story += [samples(second, ON_CPU), Tick(EPOCH + second)]
    return story


def test_the_same_readings_give_the_same_bytes(ruleset: RuleSet) -> None:
    story = [*fallback_story(), lines(41, b"\x00\xc3\xa4 eval\n"), Tick(EPOCH + 60)]
    runs = ["\n".join(to_json(transition_to_dict(t)) for t in feed(Engine(ruleset), story)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert '"cpu-fallback"' in runs[0]


def test_a_fallback_is_reported_once_with_its_evidence(ruleset: RuleSet) -> None:
    transitions = [t for t in feed(Engine(ruleset), fallback_story()) if t.rule == "cpu-fallback"]
    assert told(transitions) == [("cpu-fallback", "inactive", "pending"), ("cpu-fallback", "pending", "firing")]
    fired = transitions[1]
    assert fired.at == EPOCH + 6
    assert fired.cause is not None
    assert fired.cause.id == "no-gpu-in-machine"
    assert fired.pid == 77


def test_it_ends_when_the_weights_are_on_the_gpu(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    feed(engine, fallback_story())
    after = feed(engine, [samples(41, ON_GPU), *ticks(41, 60)])
    assert ("cpu-fallback", "firing", "resolved") in told(after)


def test_a_restart_forgets_what_the_old_process_was(ruleset: RuleSet) -> None:
    """The log of the new process is read before the process itself is seen; both orders must do."""
    engine = Engine(ruleset)
    feed(engine, [found(0), lines(1, START + READY + b"0.00.3 x\n"), samples(1, ON_CPU)])
    feed(engine, [ServerGone(EPOCH + 10, "process", SERVER, 77)])
    assert engine.state.fact(SERVER, "server.state", EPOCH + 10).value == "exited"  # type: ignore[union-attr]
    feed(engine, [lines(20.5, START), found(20, pid=78)])
    assert engine.state.fact(SERVER, "server.state", EPOCH + 21) is None
    feed(engine, [lines(22, READY)])
    assert engine.state.fact(SERVER, "server.state", EPOCH + 22).value == "ready"  # type: ignore[union-attr]
    assert engine.state.fact(SERVER, "server.gpu_nodes_open", EPOCH + 22) is None


def test_lines_of_a_routers_child_are_its_own_although_they_came_before_its_process(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    child = Entity("server", "127.0.0.1:53079")
    ready = b"[53079] " + READY
    router = ServerFound(EPOCH, "process", SERVER, 77, EPOCH, {**FALLBACK, "server.is_router": True})
    feed(engine, [router, lines(1, START + READY + b"[53079] " + START + ready)])
    values: dict[str, Value | Unknown] = {**FALLBACK, "server.port": 53079, "server.router": SERVER.name}
    feed(engine, [ServerFound(EPOCH + 2, "process", child, 90, EPOCH + 0.5, values)])
    assert {e.name for e in engine.state.facts.entities() if e.scope == "server"} == {SERVER.name, child.name}
    assert engine.state.fact(child, "server.state", EPOCH + 2).value == "ready"  # type: ignore[union-attr]
    feed(engine, [lines(3, b"[53079] 0.01.232.363 I srv  handle_sleep: server is entering sleeping state\n")])
    assert engine.state.fact(child, "server.state", EPOCH + 3).value == "sleeping"  # type: ignore[union-attr]
    assert engine.state.fact(SERVER, "server.state", EPOCH + 3).value == "ready"  # type: ignore[union-attr]


def test_a_restart_between_two_scans_leaves_the_new_server_ready(ruleset: RuleSet) -> None:
    """Its lines are read before one scan finds the old process gone and the new one there."""
    engine = Engine(ruleset)
    feed(engine, [found(0), lines(1, START + READY)])
    feed(engine, [lines(5.5, START + READY), ServerGone(EPOCH + 6, "process", SERVER, 77)])
    started = ServerFound(EPOCH + 6, "process", SERVER, 78, EPOCH + 5, FALLBACK)
    feed(engine, [started])

    state = engine.state.facts.last(SERVER, "server.state")
    assert state is not None
    assert state.value == "ready"


def test_a_server_that_is_back_is_not_said_to_have_ended(ruleset: RuleSet) -> None:
    """Before its log says anything, what it does is not known."""
    engine = Engine(ruleset)
    feed(engine, [found(0), lines(1, START + READY), ServerGone(EPOCH + 6, "process", SERVER, 77), found(8, 78)])

    assert engine.state.facts.last(SERVER, "server.state") is None


def test_a_start_that_nobody_scanned_for_was_not_asked_for_what_the_one_before_was(ruleset: RuleSet) -> None:
    """It ended within a second. The unit it belongs to is still known."""
    engine = Engine(ruleset)
    feed(engine, [found(0, values={**FALLBACK, "server.unit": "llama.service"}), lines(1, START + READY)])
    feed(engine, [ServerGone(EPOCH + 3, "process", SERVER, 77), lines(4, START)])

    facts = engine.state.facts
    assert facts.last(SERVER, "server.gpu_layers_requested") is None
    assert facts.last(SERVER, "server.unit") is not None


def test_last_words_of_a_dead_server_do_not_bring_it_back(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    feed(engine, [found(0), lines(1, START + READY), ServerGone(EPOCH + 5, "process", SERVER, 77)])
    feed(engine, [lines(6, b"0.24.995.897 I srv    operator(): operator(): cleaning up before exit...\n")])
    assert engine.state.fact(SERVER, "server.state", EPOCH + 6).value == "exited"  # type: ignore[union-attr]


def test_a_kill_is_joined_by_pid_and_shows_what_the_server_was_doing(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    story: list[Reading] = [
        samples(0, {"host.kernel_log_readable": True}, HOST),
        found(0),
        lines(1, START + b"0.00.045.284 I srv    load_model: loading model 'gemma.gguf'\n"),
        ServerGone(EPOCH + 4, "process", SERVER, 77),
        LogLines(EPOCH + 5, "kmsg", HOST, KILLED % 77, kind="kernel"),
    ]
    fired = [t for t in feed(engine, story) if t.rule == "load-oom"]
    assert told(fired) == [("load-oom", "inactive", "firing")]
    assert "while loading" in fired[0].summary
    assert fired[0].entity == SERVER


def test_another_process_of_the_same_number_is_not_the_victim(ruleset: RuleSet) -> None:
    """A pid is used again: a kill older than the server's process was another's."""
    engine = Engine(ruleset)
    story: list[Reading] = [
        found(100),
        LogLines(EPOCH + 50, "kmsg", HOST, KILLED.replace(b"llama-server", b"chromium") % 77, kind="kernel"),
    ]
    assert [t for t in feed(engine, story) if t.rule == "load-oom"] == []


def test_a_rule_that_raises_is_unhealthy_and_the_others_go_on(tmp_path: Path) -> None:
    folder = shutil.copytree(shipped(), tmp_path / "rules")
    bad = folder / "routing-noise.toml"
    bad.write_text(
        bad.read_text()
        .replace("[check]\n", '[check]\nbroken = "server.model_path.matches(server.model_arch)"\n')
        .replace('when = "', 'when = "broken && ', 1)
    )
    rules, problems = load_paths([folder])
    assert rules is not None, problems
    engine = Engine(rules)
    feed(engine, [*fallback_story(), samples(3, {"server.model_path": "x", "server.model_arch": "(("})])
    assert "routing-noise" in engine.unhealthy
    assert "cpu-fallback" in [r.rule for r in engine.book.open()]


def test_a_checkpoint_goes_on_where_it_was_and_reports_nothing_twice(ruleset: RuleSet) -> None:
    story = fallback_story()
    for cut in range(0, len(story), 7):
        first = Engine(ruleset)
        before = feed(first, story[:cut])
        second = Engine(ruleset)
        second.load(json.loads(json.dumps(first.dump())))
        after = feed(second, story[cut:])
        assert told(before + after) == told(feed(Engine(ruleset), story)), f"cut at {cut}"


def test_a_removed_rule_ends_its_alert_and_an_unchanged_one_keeps_its_state(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    feed(engine, fallback_story())
    same = engine.use(ruleset, EPOCH + 50)
    assert same == []
    without = RuleSet.build([r for r in ruleset.rules.values() if r.rule.id != "cpu-fallback"], ruleset.events.values())
    gone = engine.use(without, EPOCH + 51)
    assert [(t.rule, t.state, t.reason) for t in gone] == [("cpu-fallback", "resolved", "rule-removed")]


def test_a_server_that_ended_long_ago_is_forgotten_unless_its_alert_is_open(ruleset: RuleSet) -> None:
    engine = Engine(ruleset)
    killed = LogLines(EPOCH + 5, "kmsg", HOST, KILLED % 77, kind="kernel")
    other = Entity("server", "127.0.0.1:1234")
    feed(engine, [found(0), killed, ServerGone(EPOCH + 6, "process", SERVER, 77)])
    feed(engine, [ServerFound(EPOCH, "process", other, 5, EPOCH, FALLBACK), ServerGone(EPOCH + 6, "process", other, 5)])
    feed(engine, [Tick(EPOCH + 20)])
    assert {SERVER, other} <= set(engine.state.facts.entities())
    feed(engine, [Tick(EPOCH + 4000)])
    assert SERVER in engine.state.facts.entities()
    assert other not in engine.state.facts.entities()


class EvaluatesEverything(Engine):
    """The oracle: every rule for every entity at every reading."""

    def step(self, reading: Reading, claimed: Callable[[Match], None] | None = None) -> list[Transition]:
        first = super().step(reading, claimed)
        self.worklist.mark_all()
        return first + self.evaluate_dirty(reading.at)


values = st.fixed_dictionaries(
    {},
    optional={
        "server.gpu_nodes_open": st.sampled_from([0, 2, Unknown("no")]),
        "server.gpu_memory_bytes": st.sampled_from([0, 3_000_000_000, Unknown("no")]),
        "server.gpu_gtt_bytes": st.sampled_from([0, Unknown("no")]),
        "server.ctx_explicit": st.booleans(),
        "server.ctx_requested": st.sampled_from([0, 512, 8192]),
        "server.model_experts": st.sampled_from([0, 8]),
        "server.model_expert_bpw": st.sampled_from([0.0, 2.1, 8.5]),
        "server.argv_readable": st.booleans(),
    },
)
log_texts = st.sampled_from(
    [
        START,
        READY,
        b"0.00.045.284 I srv    load_model: loading model 'gemma.gguf'\n",
        b"0.00.328.946 I srv    load_model: initializing, n_slots = 1, n_ctx_slot = 512, kv_unified = 'true'\n",
        b"0.02.337.883 E srv    send_error: task id = 442, error: request (1502 tokens) exceeds the available context size "
        b"(512 tokens), try increasing it\n",
        b"ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected\n",
        b"nothing\n",
    ]
)
steps = st.lists(
    st.tuples(st.floats(0, 8), st.one_of(values, log_texts, st.sampled_from(["tick", "found", "gone", "kill", "kernel"]))),
    max_size=60,
)


@settings(max_examples=examples(60), deadline=None)
@given(steps)
def test_the_index_loses_nothing(ruleset: RuleSet, raw: list[tuple[float, dict[str, Value | Unknown] | bytes | str]]) -> None:
    """An engine that evaluates only what a reading touches says what one says that evaluates everything."""
    at, pid, story = 0.0, 100, list[Reading]()
    for pause, what in raw:
        at += pause
        if isinstance(what, dict):
            story += [samples(at, what), samples(at, what, SECOND)]
        elif isinstance(what, bytes):
            story.append(lines(at, what))
        elif what == "found":
            pid += 1
            story.append(found(at, pid))
            story.append(ServerFound(EPOCH + at, "process", SECOND, 9, EPOCH + at, FALLBACK))
        elif what == "gone":
            story.append(ServerGone(EPOCH + at, "process", SERVER, pid))
        elif what == "kill":
            story.append(LogLines(EPOCH + at, "kmsg", HOST, KILLED % pid, kind="kernel"))
        elif what == "kernel":
            story.append(samples(at, {"host.kernel_log_readable": True}, HOST))
        story.append(Tick(EPOCH + at))
    fast, slow = Engine(ruleset), EvaluatesEverything(ruleset)
    assert sorted(told(feed(fast, story))) == sorted(told(feed(slow, story)))
    assert not fast.unhealthy
