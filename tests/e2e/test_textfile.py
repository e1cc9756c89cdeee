"""The metrics by node_exporter's textfile collector: the command of the shipped unit, a real daemon, a real node_exporter."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from live import REPO, wait_for
from notifier import Switched
from real_server import free_port


def write(daemon: Switched, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the timer starts, with this daemon's socket and another folder."""
    unit = (REPO / "prometheus/sentinel-textfile.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit)
    words = shlex.split(line.replace("/run/sentinel/sentinel.sock", str(daemon.socket)))
    environ = {**os.environ, "OUT": str(folder / "sentinel.prom")}
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_what_the_timer_writes_comes_out_of_node_exporter_and_grows_old_when_the_daemon_ends(tmp_path: Path) -> None:
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None or shutil.which("curl") is None:
        pytest.skip("needs node_exporter and curl (apt-get install prometheus-node-exporter curl)")
    folder = tmp_path / "textfiles"
    folder.mkdir()
    daemon = Switched(tmp_path).start()
    port = free_port()
    options = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    with (tmp_path / "exporter.log").open("wb") as log:
        exporter = subprocess.Popen([program, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def scraped() -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    try:
        assert write(daemon, folder).returncode == 0
        wait_for(lambda: "sentinel_build_info{" in scraped(), "the figures come out", 30.0)
        text = scraped()
        daemon.end(signal.SIGKILL)
        before = (folder / "sentinel.prom").read_bytes()
        failed = write(daemon, folder)
    finally:
        exporter.kill()
        exporter.wait()
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)

    # The label by which the alerts know the file.
    (file,) = re.findall(r'node_textfile_mtime_seconds\{file="([^"]*)"\}', text)
    (pattern,) = set(re.findall(r'file=~"([^"]*)"', (REPO / "prometheus/alerts.yml").read_text(encoding="utf-8")))
    assert re.fullmatch(pattern, file)
    assert "node_textfile_scrape_error 0" in text
    assert failed.returncode != 0
    assert (folder / "sentinel.prom").read_bytes() == before
