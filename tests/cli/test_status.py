"""The screen of `sentinel status`, and `why` by port, from a real engine."""

from __future__ import annotations

from typing import Any

from sentinel.cli.status import screen as lines_of
from sentinel.engine.engine import Engine
from sentinel.engine.inspect import explain, status
from sentinel.engine.inspect.blind_spots import blind_spots
from sentinel.model.entity import Entity, Value
from sentinel.model.reading import LogLines, Samples, ServerFound
from sentinel.terminal.style import Style

AT = 1_700_000_000.0
READY = b"srv  llama_server: listening on http://127.0.0.1:21001\n"


def found(engine: Engine, name: str, **values: Value) -> Entity:
    entity = Entity("server", name)
    facts = {f"server.{key}": value for key, value in values.items()}
    engine.step(ServerFound(AT, "processes", entity, 77, AT - 60, facts))
    return entity


def screen(engine: Engine) -> str:
    answer: dict[str, Any] = {
        "version": "0", "since": "", "rules": [], "servers": status.servers(engine, AT), "gpus": [], "host": {}, "alerts": [],
        "silences": [], "blind_spots": blind_spots(engine, AT), "sources": [], "sinks": [], "state": {"fault": ""},
        "recorder": {},
    }  # fmt: skip
    return "\n".join(lines_of(answer, Style(width=100), verbose=True))


def test_a_server_known_by_its_log_alone_is_not_said_to_be_down(engine: Engine) -> None:
    """Nobody looked for its process; its log says that it serves."""
    log = Entity("server", "srv")
    engine.step(Samples(AT, "log", log, {"server.log_readable": True, "server.log_where": "/srv/llama.log"}))
    engine.step(LogLines(AT, "/srv/llama.log", log, READY))
    shown = screen(engine)

    assert "srv: no process known; its log says: ready (log /srv/llama.log)" in shown
    assert "not running" not in shown
    assert shown.startswith("✓ no process of a llama-server seen, 1 server known by log alone\n\n")


def test_a_router_is_said_to_be_one(engine: Engine) -> None:
    """No question marks for a model and slots that it never has, and nothing that could be judged of them."""
    found(engine, "127.0.0.1:21001", is_router=True, argv_readable=True, port=21001)
    shown = screen(engine)

    assert "router   it owns no model" in shown
    assert "model default" not in shown
    assert "model    ?" not in shown
    assert "server.ctx" not in shown + str(blind_spots(engine, AT))


def test_what_cannot_be_judged_is_reported_by_server_with_the_cure_first(engine: Engine) -> None:
    """A few lines for each, however many rules miss something."""
    for port in (21001, 21002):
        found(engine, f"127.0.0.1:{port}", is_router=False, port=port)
    below = screen(engine).split("Not visible to sentinel\n")[1].splitlines()

    assert [line for line in below if line.startswith("  127")] == ["  127.0.0.1:21001", "  127.0.0.1:21002"]
    assert "to provide it" not in "".join(below)
    assert sum(line.startswith("    ") and not line.startswith("      ") for line in below) <= 10


def test_why_finds_a_server_by_its_port(engine: Engine) -> None:
    """A unit by the port it was started with, a nameless server by its name's end; a part of a port is none."""
    found(engine, "llama.service", port=21001)
    found(engine, "127.0.0.1:21002")

    def subjects(name: str) -> list[str]:
        return [s["entity"] for s in explain.why(engine, "cpu-fallback", name, AT)["subjects"]]

    assert subjects("21001") == ["llama.service"]
    assert subjects("21002") == ["127.0.0.1:21002"]
    assert subjects("1001") == subjects("x") == []


def test_the_summary_of_a_rule_is_a_sentence_where_nothing_is_known(engine: Engine) -> None:
    """Not the name alone, and not the name with a semicolon behind it."""
    # Values that are known whenever `when` is true, because it asks for them.
    asked: dict[str, dict[str, Value]] = {
        "server-crashed": {"did": "crashed or lost its GPU"},
        "prompt-cache-growth": {"held_as_asked": 1 << 30},
        "server-wedged": {"did": "stands still"},
        "gpu-misplaced": {"left_out": "the integrated GPU"},
        "slow-attention": {"says": "attention runs on the CPU"},
        "drafts-rejected": {"not_used": "it has another vocabulary"},
    }
    for compiled in engine.ruleset.rules.values():
        known = {f"{compiled.rule.scope}.name": "srv"} | asked.get(compiled.rule.id, {})
        said = compiled.summary.render(known.get)
        assert len(said.split()) > 2, compiled.rule.id
        assert not said.startswith("srv;")


def test_the_verdict_counts_servers_and_not_what_the_kernel_killed_beside_them(engine: Engine) -> None:
    """It was "6 open alerts on 6 of 6 servers" where two servers ran."""
    found(engine, "127.0.0.1:21001", port=21001)
    found(engine, "127.0.0.1:21002", port=21002)
    names = ("127.0.0.1:21001", "python3[4711]", "chrome[4712]")
    alerts = [
        {
            "rule": "load-oom", "severity": "critical", "entity": {"scope": "server", "name": name},
            "summary": f"{name} was killed",
            "fixes": [], "state": "firing", "server_ended": name != names[0], "since": AT, "at": AT, "title": "killed",
        }
        for name in names
    ]  # fmt: skip
    answer: dict[str, Any] = {
        "version": "0", "since": "", "rules": [], "servers": status.servers(engine, AT), "gpus": [], "host": {}, "alerts": alerts,
        "silences": [], "blind_spots": [], "sources": [], "sinks": [], "state": {"fault": ""}, "recorder": {},
    }  # fmt: skip
    first = next(iter(lines_of(answer, Style(width=100))))
    assert first == "● CRITICAL: 3 open alerts on 1 of 2 servers and 2 processes that ended"
