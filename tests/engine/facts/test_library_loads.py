"""The library prints "loading model tensors" in every load: it sets the state only of servers that say nothing themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity
from sentinel.model.reading import LogLines

SERVER = Entity("server", "llama-server")
LIBRARY = b"load_tensors: loading model tensors, this can take a while... (mmap = false)"
OWN = b"srv    load_model: loading model 'm.gguf'"
READY = b"main: server is listening on http://127.0.0.1:1 - starting the main loop"
SLEEPS = b"0.01.234.846 I srv  handle_sleep: server is entering sleeping state"
OLLAMA = b'time=2025-05-16T17:44:49.201+02:00 level=INFO source=server.go:431 msg="starting llama server" cmd=x'
STARTED = b'time=2025-05-16T17:44:52.201+02:00 level=INFO source=server.go:630 msg="llama runner started in 2.51 seconds"'


def state(ruleset: RuleSet, *lines: bytes) -> object:
    engine = Engine(ruleset)
    for at, line in enumerate(lines, 1):
        engine.step(LogLines(float(at), "server.log", SERVER, line + b"\n", kind="llama-server", first=at))
    fact = engine.state.facts.last(SERVER, "server.state")
    return None if fact is None else fact.value


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((LIBRARY,), "loading"),
        ((OWN, LIBRARY), "loading"),
        ((OWN, READY, LIBRARY), "ready"),
        ((OWN, READY, SLEEPS, LIBRARY), "sleeping"),
        ((OLLAMA, LIBRARY), "loading"),
        ((OLLAMA, LIBRARY, STARTED), "ready"),
        ((OLLAMA, LIBRARY, STARTED, LIBRARY), "loading"),
    ],
)
def test_the_librarys_line_moves_no_server_back_whose_own_lines_say(
    ruleset: RuleSet, lines: tuple[bytes, ...], told: str
) -> None:
    assert state(ruleset, *lines) == told


@pytest.mark.parametrize("name", ["b10434-sleep.log", "b10434-sleep-lv4.log"])
def test_a_server_that_wakes_is_ready(ruleset: RuleSet, logs: Path, name: str) -> None:
    """At -lv 4 the library's line comes between the server's own lines of the second load."""
    lines = (logs / name).read_bytes().splitlines()
    sleeps = next(n for n, line in enumerate(lines) if b"is entering sleeping" in line)
    ready = next(n for n, line in enumerate(lines) if n > sleeps and b"n_slots = " in line)

    assert state(ruleset, *lines[: sleeps + 1]) == "sleeping"
    assert state(ruleset, *lines[: ready + 1]) == "ready"
