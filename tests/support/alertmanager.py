"""A real Alertmanager on the loopback, which notifies a receiver of ours at once."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import wait_for
from real_server import free_port
from receivers import HttpReceiver

#: Each alert is a message of its own, sent at once.
AT_ONCE = "{receiver: us, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}"


class Alertmanager:
    """Its API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def alerts(self) -> list[dict[str, Any]]:
        """What it holds as active."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def alertmanager(folder: Path, receiver: HttpReceiver, route: str = AT_ONCE) -> Iterator[Alertmanager]:
    """One that runs while the block lasts; skips where there is none. `route`: to the receiver `us`."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("needs Alertmanager (apt-get install prometheus-alertmanager)")
    config = folder / "alertmanager.yml"
    config.write_text(
        f"route: {route}\nreceivers: [{{name: us, webhook_configs: [{{url: '{receiver.url}/', send_resolved: true}}]}}]\n"
    )
    port = free_port()
    words = [f"--config.file={config}", f"--storage.path={folder / 'am'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "am.log").open("wb") as log:
        process = subprocess.Popen([program, *words, "--cluster.listen-address="], stdout=log, stderr=log, cwd=folder)
    try:
        one = Alertmanager(port)
        wait_for(one.ready, lambda: f"Alertmanager is ready; it said {(folder / 'am.log').read_text()[-2000:]}", 30.0)
        yield one
    finally:
        process.kill()
        process.wait()
