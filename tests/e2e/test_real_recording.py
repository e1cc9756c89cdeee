"""The real daemon and the real llama-server: a replay reports what was reported live, and no request is in it."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import PROMISE, REPO, Sentinel, wait_for
from real_server import request, server

pytestmark = pytest.mark.real_server
SECRET = "zebrafinch"


def replayed(path: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "replay", str(path), "--json"], capture_output=True, text=True, check=False, cwd=REPO
    )
    assert done.returncode == 2, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_fallback_replays_as_it_was_reported_and_what_a_request_said_is_nowhere(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    sentinel = new_sentinel().start()
    log = tmp_path / "log"
    with server("-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99", "-v", log=log) as running:
        with contextlib.suppress(urllib.error.HTTPError):
            # At -v this build prints what a request said where it cannot use it: a grammar, a schema.
            request(running.url + "/completion", json.dumps({"prompt": SECRET, "grammar": f"root ::= {SECRET}"}).encode())
        name = sentinel.name_of(running.process.pid)
        sentinel.await_alert("cpu-fallback", name)
        wait_for(lambda: SECRET in log.read_text(errors="replace"), "the server prints what the request said", PROMISE)
        wait_for(lambda: sentinel.ask("status")["recorder"]["readings"] > 5, "readings are kept", PROMISE)
        out = tmp_path / "incident.jsonl.gz"
        done = sentinel.cli("record", "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert out.stat().st_mode & 0o777 == 0o600
        assert sentinel.cli("record", "--out", str(out)).returncode == 2
        told = [t for t in sentinel.told("cpu-fallback") if t["entity"]["name"] == name]

    rows = gzip.decompress(out.read_bytes())
    assert SECRET.encode() not in rows
    assert b"listening on" in rows
    again = [t for t in replayed(out) if t["rule"] == "cpu-fallback" and t["state"] == "firing" and t["entity"]["name"] == name]
    # The name for people is of the daemon's list of servers, which a replay does not have.
    assert again == [{key: value for key, value in one.items() if key not in ("called", "host")} for one in told]

    # The one that was kept around the alert is finished when the daemon ends, and a later daemon gives it out.
    sentinel.end()
    sentinel.start()
    listed = sentinel.ask("record", "--list")["recordings"]
    mine = listed[0]["name"]
    assert sentinel.cli("record", mine, "--out", str(tmp_path / "kept")).returncode == 0
    assert SECRET.encode() not in gzip.decompress((tmp_path / "kept").read_bytes())
    assert [t for t in replayed(tmp_path / "kept") if t["state"] == "firing"]
    assert "there is no recording 'nothing'" in sentinel.cli("record", "nothing").stderr
    sentinel.end()


def test_a_state_folder_that_takes_no_recordings_is_reported_and_alerts_go_on(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    sentinel = new_sentinel()
    (sentinel.folder / "state").mkdir()
    (sentinel.folder / "state" / "recordings").write_text("in the way")
    sentinel.start()
    with server("-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99", log=tmp_path / "log") as running:
        sentinel.await_alert("cpu-fallback", sentinel.name_of(running.process.pid))
        status = sentinel.cli("status").stdout
        assert "Flight recorder: recordings are not kept: " in " ".join(status.split())
    sentinel.end()


def test_it_can_be_switched_off(new_sentinel: Callable[..., Sentinel], tmp_path: Path) -> None:
    sentinel = new_sentinel("recorder = false").start()
    done = sentinel.cli("record", "--out", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "the flight recorder is switched off (recorder = false in sentinel.toml)" in done.stderr
    assert not (tmp_path / "x").exists()
    assert sentinel.ask("status")["recorder"] == {"on": False}
    sentinel.end()
