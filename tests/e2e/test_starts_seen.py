"""Starts that fail at once, the short form of eval/starts.py: a server that nobody knew is named with the right cause."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from live import Sentinel
from real_server import server, wait

from eval import starts

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def cases(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, starts.Case]:
    assert models
    return {case.name: case for case in starts.cases(tmp_path_factory.mktemp("cases"))}


@pytest.fixture(scope="module")
def watching(sentinel: Sentinel, models: Path) -> Iterator[Sentinel]:
    """It has seen a start: for two minutes after it a program looks. Before, a thread does, which was too late for one in five
    that ended at once (ARCHITECTURE.md).
    """
    os.environ["SENTINEL_SOCKET"] = str(sentinel.socket)
    starts.settled(sentinel)
    with server("-m", str(models / "dense.gguf"), "-c", "512", "-np", "1") as running:
        sentinel.name_of(running.process.pid)
        # Without the kernel's events there is none.
        wait(lambda: looks(sentinel), 10.0)
    yield sentinel
    del os.environ["SENTINEL_SOCKET"]


def looks(sentinel: Sentinel) -> bool:
    """The program that looks at starts runs beside the daemon."""
    assert sentinel.process is not None
    with contextlib.suppress(psutil.Error):
        return any("sources/look.py" in " ".join(one.cmdline()) for one in psutil.Process(sentinel.process.pid).children())
    return False


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("model missing", "redirected"),
        ("file truncated", "--log-file"),
        ("unknown flag", "shell loop"),
        ("port taken", "sentinel exec"),
        ("library missing", "sentinel exec"),
        ("illegal instruction", "sentinel exec"),
    ],
)
def test_a_start_that_fails_is_named(
    cases: dict[str, starts.Case], watching: Sentinel, tmp_path: Path, name: str, way: str
) -> None:
    states = {s["name"]: s for s in watching.ask("status")["sources"]}
    if way != "sentinel exec" and states["starts"]["health"] != "up":
        pytest.skip(states["starts"]["why"])
    row = starts.tried(watching, tmp_path, cases[name], way, 1)
    assert row.wrong == []
    for alert in watching.ask("alerts")["alerts"]:
        if alert["rule"] in ("start-failed", "server-crashed", "flags-rejected", "unsupported-model"):
            words = [piece for piece in alert["evidence"] if "line" in piece or piece.get("text")]
            assert words, f"what {alert['rule']} shows is names of its checks: {alert['evidence']}"


def test_what_failed_once_is_acknowledged_and_its_server_forgotten(
    cases: dict[str, starts.Case], watching: Sentinel, tmp_path: Path
) -> None:
    row = starts.tried(watching, tmp_path, cases["model missing"], "sentinel exec", 1)
    assert row.wrong == []
    # Other tests' servers fail beside this one, for lack of other files.
    (missing,) = [word for word in cases["model missing"].words if word.endswith(".gguf")]
    alert = next(a for a in watching.ask("alerts")["alerts"] if a["rule"] == "start-failed" and missing in json.dumps(a))
    name = alert["entity"]["name"]
    assert "its process ended" in watching.cli("status").stdout
    done = watching.cli("ack", "start-failed", name)
    assert (done.returncode, done.stdout) == (0, f"Ended start-failed of {name}\n")
    assert watching.alert("start-failed", name) is None
    done = watching.cli("forget", name)
    assert (done.returncode, done.stdout) == (0, f"Forgot {name} (0 alerts ended)\n")
    assert name not in {server["name"] for server in watching.ask("status")["servers"]}
