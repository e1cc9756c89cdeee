"""A real Prometheus scrapes a real daemon that watches a real llama-server: the alerts fire, every panel has its answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alertmanager import alertmanager
from live import REPO, Sentinel, wait_for
from real_server import request, server
from receivers import HttpReceiver, http_receiver

from prometheus import MINUTE, Prometheus, prometheus

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(300)]

#: Queries that have no answer here: no GPU, no request under way, no usual speed yet, nothing wrong with sentinel itself; a
#: kernel may be without pressure figures.
EMPTY_HERE = {
    "sentinel_gpu_", "sentinel_server_slot_fill", "sentinel_server_usual_tps", "sentinel_rule_healthy", "sentinel_sink_up",
    "sentinel_history_writable", "sentinel_rule_unknown", "sentinel_host_psi",
}  # fmt: skip


class Watched(NamedTuple):
    """What the tests of this module share."""

    sentinel: Sentinel
    name: str
    prometheus: Prometheus
    receiver: HttpReceiver


@pytest.fixture(scope="module")
def watched(new_sentinel: Callable[..., Sentinel], models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("prometheus")
    sentinel = new_sentinel("watch_slots = true").start()
    arguments = ("-m", str(models / "dense.gguf"), "-c", "512", "-np", "1", "-ngl", "99")
    with (
        http_receiver() as receiver,
        alertmanager(folder, receiver) as manager,
        prometheus(folder, sentinel.socket, manager.url) as one,
        server(*arguments, log=folder / "log") as running,
    ):
        name = sentinel.name_of(running.process.pid)
        sentinel.await_alert("cpu-fallback", name)
        body = {"prompt": "word " * 4, "n_predict": 24, "ignore_eos": True}
        # What a model of random weights says is not always text: the server answers with an error after it has generated it.
        with contextlib.suppress(urllib.error.HTTPError):
            request(f"{running.url}/completion", json.dumps(body).encode())
        wait_for(lambda: one.ask("sentinel_server_prompt_tps"), "Prometheus has the speed of the answer", 30.0)
        yield Watched(sentinel, name, one, receiver)


def of(watched: Watched, alert: str) -> list[dict[str, Any]]:
    """What Prometheus says of our server; the machine may have others."""
    return [one for one in watched.prometheus.firing(alert) if one["labels"]["entity"] == watched.name]


def told(watched: Watched) -> list[dict[str, Any]]:
    """What Alertmanager told a webhook of our server."""
    return [alert for got in watched.receiver.taken for alert in got.body["alerts"] if alert["labels"]["entity"] == watched.name]


def test_a_failure_is_critical_with_its_rule_entity_and_cause_and_reaches_people(watched: Watched) -> None:
    wait_for(lambda: of(watched, "SentinelCritical"), "Prometheus fires", 20.0)
    (alert,) = of(watched, "SentinelCritical")
    known = watched.sentinel.alert("cpu-fallback", watched.name)
    assert known is not None
    assert alert["labels"]["rule"] == "cpu-fallback"
    assert alert["labels"]["cause"] == known["cause"]["id"]
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/rules/cpu-fallback.md#{known['cause']['id']}")
    wait_for(lambda: told(watched), "a webhook has it", 20.0)
    annotations = told(watched)[0]["annotations"]
    assert annotations["summary"] == f"cpu-fallback: {watched.name} on gpu-1"
    assert (annotations["cause"], annotations["fix"]) == (known["cause"]["text"], known["fixes"][0]["do"])
    assert (annotations["description"], annotations["host"]) == (known["summary"], os.uname().nodename)


def filled(expression: str) -> str:
    """A query with its variables."""
    return expression.replace("$instance", ".*").replace("$entity", ".*").replace("$__rate_interval", "30s")


def test_every_query_of_the_dashboard_is_answered(watched: Watched) -> None:
    """Those that this machine has something for are not empty."""
    board = json.loads((REPO / "prometheus/dashboard.json").read_text(encoding="utf-8"))

    def empty() -> list[tuple[str, str]]:
        asked = [(panel["title"], filled(target["expr"])) for panel in board["panels"] for target in panel.get("targets", ())]
        here = [(title, query) for title, query in asked if not any(word in query for word in EMPTY_HERE)]
        return [(title, query) for title, query in here if not watched.prometheus.ask(query)]

    # A rate has no value before the second scrape.
    wait_for(lambda: not empty(), lambda: f"all are answered but {empty()}", 20.0, pause=1.0)
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            label = one["definition"].rpartition(",")[2].strip(" )")
            assert watched.prometheus.get(f"/api/v1/label/{label}/values")


@pytest.mark.long
def test_a_silence_ends_it_within_a_minute_and_a_half_and_a_dead_daemon_is_reported(watched: Watched) -> None:
    """Of the alerts' own minutes."""
    wait_for(lambda: of(watched, "SentinelCritical"), "it fires", 20.0)
    done = watched.sentinel.cli("silence", "cpu-fallback", "--for", "1h")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not of(watched, "SentinelCritical"), "what is silenced does not fire", 1.5 * MINUTE + 10.0)
    watched.sentinel.end(signal.SIGKILL)
    wait_for(lambda: watched.prometheus.firing("SentinelDown"), "two minutes later", 2.5 * MINUTE + 10.0)
