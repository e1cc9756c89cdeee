"""A GPU driver that hangs, under a real daemon: logs are read, alerts are reported, and the daemon ends when it is asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sentinel.api import client

REPO = Path(__file__).resolve().parents[2]
#: More tokens asked for than a slot has, as build 11434 prints it at default verbosity
LINES = (
    b"0.00.043.051 I cmn  common_param: common_params_print_info: verbosity = 3 (adjust with the `-lv N` CLI arg)\n"
    b"0.01.150.277 I srv  llama_server: listening on http://127.0.0.1:18080\n"
)
LOST = (
    b"0.09.000.000 E srv    send_error: task id = 21, error: request (18002 tokens) exceeds the available context size"
    b" (2048 tokens), try increasing it\n"
)


def test_a_driver_that_hangs_holds_up_neither_logs_nor_alerts_nor_the_end(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    log, socket = tmp_path / "server.log", tmp_path / "s.sock"
    log.write_bytes(LINES)
    config = tmp_path / "sentinel.toml"
    config.write_text(
        f'state_dir = "{tmp_path}/state"\nsocket = "{socket}"\nsink = "console"\ndiscover = true\n'
        f'[[server]]\nname = "mine"\nlog = "{log}"\n'
    )
    command = [sys.executable, str(REPO / "tests/support/stuck_driver.py"), "run", "--config", str(config)]
    daemon = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(REPO)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def alerts() -> list[tuple[str, str]]:
        try:
            _, answer = client.get("/v1/alerts", (socket,))
        except client.DaemonUnreachable:
            return []
        return [(alert["rule"], alert["entity"]["name"]) for alert in answer["alerts"]]

    try:
        eventually(socket.exists, "the daemon listens", within=20.0)
        with log.open("ab") as more:
            more.write(LOST * 5)
        eventually(lambda: ("context-collapse", "mine") in alerts(), "an alert from the log", within=20.0)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(5) == 0
    finally:
        daemon.kill()
        daemon.communicate()
