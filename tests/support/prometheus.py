"""A real Prometheus that scrapes a real daemon, through a port in front of its socket."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import REPO, wait_for
from real_server import free_port
from tcp_bridge import bridge

#: A minute of the shipped alerts, in seconds. That the minutes are right is promtool's to say (prometheus/alerts.test.yml).
MINUTE = 6


class Prometheus:
    """Its API."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    def get(self, path: str, **query: str) -> Any:
        """The data of an answer; fails if it is an error."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Series of an expression, now."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def firing(self, name: str) -> list[dict[str, Any]]:
        """Alerts of a rule that fire."""
        found = self.get("/api/v1/alerts")["alerts"]
        return [one for one in found if one["labels"]["alertname"] == name and one["state"] == "firing"]

    def ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def prometheus(folder: Path, socket: Path, alertmanager: str = "", jobs: str = "") -> Iterator[Prometheus]:
    """One that runs with the shipped alerts, at ten times their pace, while the block lasts; skips where there is none.

    `jobs`: what it scrapes instead.
    """
    with bridge(socket) as scraped:
        alerts = folder / "alerts.yml"
        shipped = (REPO / "prometheus/alerts.yml").read_text(encoding="utf-8")
        quick, changed = re.subn(r"(for: )(\d+)m$", lambda found: f"{found[1]}{int(found[2]) * MINUTE}s", shipped, flags=re.M)
        assert changed
        alerts.write_text(quick, encoding="utf-8")
        bridged = f"{{targets: ['127.0.0.1:{scraped}'], labels: {{instance: gpu-1}}}}"
        lines = [
            "global: {scrape_interval: 1s, evaluation_interval: 1s}",
            f"rule_files: ['{alerts}']",
            jobs or f"scrape_configs:\n- job_name: sentinel\n  static_configs: [{bridged}]",
        ]
        if alertmanager:
            target = alertmanager.removeprefix("http://")
            lines.append(f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{target}']}}]}}]}}")
        with running(folder, "\n".join(lines) + "\n") as one:
            yield one


@contextlib.contextmanager
def running(folder: Path, config: str) -> Iterator[Prometheus]:
    """One with this configuration; skips where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs Prometheus (apt-get install prometheus)")
    file = folder / "prometheus.yml"
    file.write_text(config, encoding="utf-8")
    port = free_port()
    words = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdout=log, stderr=log, cwd=folder)
    try:
        one = Prometheus(port, process)
        wait_for(one.ready, lambda: f"Prometheus is ready; it said {(folder / 'prometheus.log').read_text()[-2000:]}", 60.0)
        yield one
    finally:
        process.kill()
        process.wait()
