"""The usual speed of a real server's configuration is learned from its log, and known again after daemon and server restarted."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import PROMISE, Sentinel, wait_for
from real_server import free_port, request, server

from sentinel.engine.facts.baselines import ENOUGH

pytestmark = pytest.mark.real_server


def answer(url: str, tokens: int = 24) -> None:
    body = {"prompt": "word " * 4, "n_predict": tokens, "ignore_eos": True}
    # What a model of random weights says is not always text, which the server answers with an error after it has generated it.
    with contextlib.suppress(urllib.error.HTTPError):
        request(f"{url}/completion", json.dumps(body).encode())


def reads(sentinel: Sentinel, name: str, signal: str) -> dict[str, Any]:
    (subject,) = sentinel.ask("why", "cpu-fallback", name)["subjects"]
    return next(r for c in subject["checks"] for r in c["reads"] if r["name"] == signal)


def test_a_usual_speed_outlives_the_daemon_and_the_server_and_is_not_that_of_other_flags(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    daemon = new_sentinel().start()
    port, log = free_port(), tmp_path / "log"
    asked = ["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1"]
    with server(*asked, log=log, port=port) as running:
        name = daemon.name_of(running.process.pid)
        for _ in range(ENOUGH + 1):
            answer(running.url)

        def usual() -> Any:
            return reads(daemon, name, "server.usual_tps")

        wait_for(lambda: usual()["value"] is not None, lambda: f"a usual speed; {usual()}", PROMISE)
    daemon.end()
    with sqlite3.connect(daemon.folder / "state/history.sqlite") as history:
        ((configuration, depth, samples),) = history.execute("SELECT configuration, depth, samples FROM baselines").fetchall()
    history.close()
    # The usual speed is known with the fifth answer; whether the daemon has read of the sixth before it is ended is left open.
    assert (len(configuration), depth, len(json.loads(samples)) in (ENOUGH, ENOUGH + 1)) == (16, 0, True)

    daemon.start()
    with server(*asked, "--no-webui", log=log, port=port) as running:
        assert daemon.name_of(running.process.pid) == name
        answer(running.url)
        wait_for(lambda: usual()["value"] is not None, lambda: f"it is known at the first answer; {usual()}", PROMISE)
    with server(*asked, "-t", "1", log=log, port=port) as running:
        assert daemon.name_of(running.process.pid) == name
        answer(running.url)
        wait_for(
            lambda: "fewer than 5" in str(usual()["missing"]), lambda: f"one thread is another configuration; {usual()}", PROMISE
        )
