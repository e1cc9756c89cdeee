"""What `sentinel top` says where it cannot show its screen; what it makes of the daemon's answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sentinel.api import client
from sentinel.cli.main import main
from sentinel.cli.top import main as verb
from sentinel.cli.top import poll


def test_without_the_library_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "find_spec", lambda name: None)
    assert main(["top"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{sys.executable} -m pip install textual;" in said


def test_without_a_terminal_one_sentence_names_what_prints(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "top"], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "textual" in done.stderr.lower() or "sentinel status" in done.stderr


class Server:
    """Answers as the daemon does; a test changes the status."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {"servers": [], "alerts": [], "host": {}, "gpus": []}
        self.gone = ""

    def get(self, path: str, _sockets: object) -> tuple[int, Mapping[str, Any]]:
        if self.gone:
            raise client.DaemonUnreachable(self.gone)
        if path.startswith("/v1/series") or self.status == {}:
            return 404, {}
        return 200, self.status


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(client, "get", made.get)
    return made


def _loading(share: float) -> dict[str, Any]:
    return {"name": "a", "state": "loading", "load_share": share}


def test_the_time_left_comes_from_the_pace_of_the_last_half_minute(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    daemon = poll.DaemonPoll(None)
    left = []
    for seconds, share in ((0, 0.1), (2, 0.1), (4, 0.2), (60, 0.6), (62, 0.7), (64, 0.8)):
        now = 1000.0 + seconds
        server.status["servers"] = [_loading(share)]
        left.append(daemon.look().seconds_left.get("a"))
    # Unknown at first and where nothing moves; at the end five hundredths a second.
    assert left[:2] == [None, None]
    assert left[2] == pytest.approx(32.0)
    assert left[5] == pytest.approx(4.0)
    now += 2
    server.status["servers"] = [_loading(0.05)]
    # It began again.
    assert daemon.look().seconds_left == {}


def test_a_daemon_that_is_gone_leaves_what_was_last_known(server: Server) -> None:
    daemon = poll.DaemonPoll([Path("/nowhere")])
    server.status["servers"] = [{"name": "a", "state": "ready"}]
    assert daemon.look().fault == ""
    server.gone = "no daemon at /nowhere"
    shot = daemon.look()
    assert (shot.fault, shot.status["servers"][0]["name"]) == ("no daemon at /nowhere", "a")
    server.gone = ""
    assert daemon.look().fault == ""
    # What answers there is another program.
    server.status = {}
    assert daemon.look().fault == "the daemon answered 404"


def test_a_command_is_sentinels_own_whatever_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m` looks there first: in /tmp that would run what another user put there."""
    for module in ("sentinel", "json"):
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text("print('another program')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    said = poll.DaemonPoll(None).verb("completion", "bash")
    assert "another program" not in said
    assert "complete" in said
