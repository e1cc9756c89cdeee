"""The real daemon records what people look at, answers with it, and has it after a kill."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Sentinel, wait_for

from sentinel.api.client import get

#: As builds of 2026 print it at the end of an answer.
SPEED = "0.12.345.678 I slot print_timing: id  0 | task 7 | \n       eval time =     566.50 ms /    40 tokens (   14.16 ms per token,    70.61 tokens per second)\n"  # noqa: E501


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sentinel]:
    (tmp_path / "server.log").touch()
    config = f"discover = false\n[[server]]\nname = 'llama'\nlog = '{tmp_path / 'server.log'}'"
    sentinel = Sentinel(tmp_path, config).start()
    yield sentinel
    sentinel.end()


def _series(daemon: Sentinel, query: str = "") -> dict[tuple[str, str], dict[str, Any]]:
    code, answer = get(f"/v1/series?{query}", [daemon.socket])
    assert code == 200, answer
    return {(one["entity"]["name"], one["signal"]): one for one in answer["series"]}


def _speeds(daemon: Sentinel, query: str = "points=600") -> list[float]:
    found = _series(daemon, query).get(("llama", "server.generation_tps"))
    return [] if found is None else [value for value in found["mean"] if value is not None]


def test_a_speed_is_in_the_second_it_was_reported_and_survives_a_kill(daemon: Sentinel) -> None:
    with (daemon.folder / "server.log").open("a", encoding="utf-8") as log:
        log.write(SPEED)
    wait_for(lambda: _speeds(daemon), "the speed of an answer is in the series", 10)
    wait_for(lambda: ("host", "host.mem_available_bytes") in _series(daemon), "the host's memory is", 10)
    # It counts once: the value is believed for two minutes, the answer was given in one second.
    once = pytest.approx([70.61], rel=1e-3)
    assert _speeds(daemon) == once
    now = time.time()
    wait_for(lambda: _written_until(daemon) >= now, "what was recorded is on disk", 25)
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    daemon.start()
    wait_for(lambda: _speeds(daemon), "the restarted daemon knows it", 10)
    assert _speeds(daemon) == once
    day = _series(daemon, "seconds=86400&points=1500&entity=llama")["llama", "server.generation_tps"]
    assert [value for value in day["max"] if value is not None] == once


def _written_until(daemon: Sentinel) -> float:
    with contextlib.closing(sqlite3.connect(daemon.folder / "state/series.sqlite")) as file:
        (until,) = file.execute("SELECT max(at + seconds) FROM recent").fetchone()
        return float(until or 0)


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("signal=server.genration_tps", 404, "did you mean 'server.generation_tps'"),
        ("entity=lama", 404, "there are no series of 'lama'"),
        ("seconds=0", 400, "from 1 to 2678400"),
        ("points=1501", 400, "from 1 to 1500"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(daemon: Sentinel, query: str, code: int, words: str) -> None:
    answered, answer = get(f"/v1/series?{query}", [daemon.socket])
    assert answered == code
    assert words in answer["error"]["message"]
