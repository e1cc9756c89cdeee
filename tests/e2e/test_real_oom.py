"""The kernel really kills a real llama-server while it loads, and the alert says who, why and how far it had come."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_groups import control_group
from live import Sentinel, needs_root, wait_for
from real_server import large_model, server

pytestmark = [pytest.mark.real_server, pytest.mark.root, pytest.mark.timeout(300)]

_LIMIT = 300 << 20
#: Share of one core: 300 MB that come from the page cache then take seconds, as 200 GB from a disk take minutes.
_CORE_SHARE = 0.12
#: Seconds from the end of the process to the alert.
_ATTRIBUTED = 3.0


def _kernel_log_can_be_read() -> bool:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_a_kill_while_loading_is_told_with_its_cause(new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path) -> None:
    """--mlock, 540 MB of weights, a limit of 300 MB: nothing in the server's log, the whole story in the alert."""
    needs_root()
    if not _kernel_log_can_be_read():
        pytest.skip("/dev/kmsg cannot be read here")
    sentinel = new_sentinel().start()
    weights = large_model()
    with control_group("sentinel-test", _LIMIT, _CORE_SHARE) as groups:
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
        arguments = ["-m", str(weights), "-c", "512", "--mlock"]
        with server(*arguments, log=tmp_path / "log", wrap=wrap, wait_ready=False) as running:
            pid = running.process.pid
            wait_for(lambda: running.process.poll() is not None, "the kernel kills it", 120.0)
            assert running.process.returncode == -9

    def found() -> list[dict[str, Any]]:
        alerts = sentinel.ask("alerts")["alerts"]
        return [a for a in alerts if a["rule"] == "load-oom" and f"pid {pid} " in a["cause"]["text"]]

    wait_for(found, f"the kill of {pid} is told", _ATTRIBUTED)
    (alert,) = found()

    assert alert["severity"] == "critical"
    assert alert["cause"]["id"] == "cgroup-limit"
    assert "while loading" in alert["summary"]
    assert alert["entity"]["name"] == f"127.0.0.1:{running.port}"
    assert any("control group" in fix["do"] for fix in alert["fixes"])
    assert any("--mlock" in fix["do"] or "Do not lock" in fix["do"] for fix in alert["fixes"])
    assert "control group /sentinel-test" in alert["cause"]["text"]
    assert "300 MiB" in alert["cause"]["text"]
    assert "of the model was in memory" in alert["summary"]
    lines = [piece["line"] for piece in alert["evidence"] if "line" in piece]
    assert any(f"Killed process {pid}" in line for line in lines)
