"""A router's children: what preset they are for is known, and one that has no model is reported."""

from __future__ import annotations

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines, ServerFound, ServerGone, Tick

ROUTER = Entity("server", "127.0.0.1:8080")
CHILD = Entity("server", "127.0.0.1:41553")
SPAWN = b"0.00.095.901 I srv          load: spawning server instance with name=broken on port 41553"
CHILD_IS_A_ROUTER = [
    b"[41553] 0.00.007.325 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)",
    b"[41553] 0.00.057.070 I srv  llama_server: starting server in router mode. models will be automatically loaded on-demand",
    b"[41553] 0.00.058.280 I srv  llama_server: listening on http://127.0.0.1:41553",
]


def told(transitions: list[Transition]) -> list[tuple[str, str]]:
    return [
        (t.entity.name, t.cause.id if t.cause else "") for t in transitions if (t.rule, t.state) == ("start-failed", "firing")
    ]


@pytest.mark.parametrize("found", [False, True])
def test_a_child_that_is_a_router_has_no_model(ruleset: RuleSet, found: bool) -> None:
    """Whether its process is known or not."""
    engine = Engine(ruleset)
    out = engine.step(LogLines(1.0, "log", ROUTER, SPAWN))
    if found:
        out += engine.step(ServerFound(1.5, "scan", CHILD, 99, 1.2, {"server.port": 41553, "server.router": ROUTER.name}))
    out += engine.step(LogLines(2.0, "log", ROUTER, b"\n".join(CHILD_IS_A_ROUTER), first=2))
    for second in range(3, 30):
        out += engine.step(Tick(float(second)))
    assert told(out) == [(CHILD.name if found else f"{ROUTER.name}[41553]", "preset-without-model")]


@pytest.mark.parametrize("found", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_next_child_for_the_same_preset_ends_the_alert(ruleset: RuleSet, found: bool, restarted: bool) -> None:
    """It has another port, so another name: nothing else would ever end what was reported of the one before."""
    engine = Engine(ruleset)
    engine.step(LogLines(1.0, "log", ROUTER, SPAWN))
    if found:
        engine.step(ServerFound(1.5, "scan", CHILD, 99, 1.2, {"server.port": 41553, "server.router": ROUTER.name}))
    engine.step(LogLines(2.0, "log", ROUTER, b"\n".join(CHILD_IS_A_ROUTER), first=2))
    for second in range(3, 30):
        engine.step(Tick(float(second)))
    if restarted:
        before, engine = engine, Engine(ruleset)
        engine.load(before.dump())
    out = engine.step(LogLines(31.0, "log", ROUTER, SPAWN.replace(b"41553", b"50001"), first=9))
    for second in range(32, 60):
        out += engine.step(Tick(float(second)))
    ended = [t.entity.name for t in out if (t.rule, t.state) == ("start-failed", "resolved")]
    assert ended == [CHILD.name if found else f"{ROUTER.name}[41553]"]


CRASH = b"[41553] /src/ggml/src/ggml-cuda/ggml-cuda.cu:103: CUDA error"
SERVES = b"[50001] 0.09.374.713 I srv  llama_server: listening on http://127.0.0.1:50001"


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("found", [False, True])
def test_a_child_that_serves_on_another_port_ends_what_was_open_of_the_one_before(
    ruleset: RuleSet, found: bool, resumed: bool
) -> None:
    """A crash stays open for a day, for nobody repeats it: but here the router did, and it went well."""
    engine = Engine(ruleset)
    engine.step(LogLines(1.0, "log", ROUTER, SPAWN))
    before = f"{ROUTER.name}[41553]"
    if found:
        before = CHILD.name
        engine.step(ServerFound(1.5, "scan", CHILD, 99, 1.2, {"server.port": 41553, "server.router": ROUTER.name}))
    out = engine.step(LogLines(2.0, "log", ROUTER, CRASH, first=2))
    if found:
        out += engine.step(ServerGone(2.5, "scan", CHILD, 99))
    for second in range(3, 20):
        out += engine.step(Tick(float(second)))
    fired = {(t.rule, t.entity.name) for t in out if t.state == "firing"}
    assert fired == {("server-crashed", before)}

    out = engine.step(LogLines(20.0, "log", ROUTER, SPAWN.replace(b"41553", b"50001"), first=9))
    if found:
        new = Entity("server", "127.0.0.1:50001")
        out += engine.step(ServerFound(20.5, "scan", new, 111, 20.2, {"server.port": 50001, "server.router": ROUTER.name}))
    assert not [t for t in out if t.state == "resolved"], "it may fail again"
    if resumed:
        old, engine = engine, Engine(ruleset)
        engine.resume(old.snapshot())
    out = engine.step(LogLines(29.0, "log", ROUTER, SERVES, first=10))

    assert [(t.rule, t.entity.name, t.reason) for t in out if t.state == "resolved"] == [
        ("server-crashed", before, "server-gone")
    ]
    assert Entity("server", before) not in engine.state.runs
