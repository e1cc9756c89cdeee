"""The kernel really kills a real llama-server while it loads: the alert says who and why, and its first fix ends it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_groups import control_group, lift_quota, raise_memory_limit
from live import PROMISE, Sentinel, first_flags, needs_root, wait_for
from real_server import large_model, model, server

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


def told(alert: dict[str, Any], pid: int) -> None:
    """Who, why, and how far it had come."""
    assert alert["severity"] == "critical"
    assert alert["cause"]["id"] == "cgroup-limit"
    assert "while loading" in alert["summary"]
    assert any("--mlock" in fix["do"] or "Do not lock" in fix["do"] for fix in alert["fixes"])
    assert "control group /sentinel-test" in alert["cause"]["text"]
    assert "300 MiB" in alert["cause"]["text"]
    assert "of the model was in memory" in alert["summary"]
    lines = [piece["line"] for piece in alert["evidence"] if "line" in piece]
    assert any(f"Killed process {pid}" in line for line in lines)


def test_a_kill_while_loading_is_reported_with_its_cause_and_ended_by_the_first_fix(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
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
        told(alert, pid)
        assert alert["entity"]["name"] == f"127.0.0.1:{running.port}"

        first = re.search(
            r"Raise the memory limit .* control group that it runs in: (/\S+); the weights alone have (\d+) MiB",
            alert["fixes"][0]["do"],
        )
        assert first, alert["fixes"]
        assert int(first[2]) << 20 == pytest.approx(weights.stat().st_size, rel=0.01)
        # The rest is for the context and the program.
        raise_memory_limit(first[1], (int(first[2]) + 300) << 20)
        lift_quota(groups)
        with server(*arguments, log=tmp_path / "log", port=running.port, wrap=wrap) as again:
            assert sentinel.name_of(again.process.pid) == alert["entity"]["name"]
            # That it was killed stays true for a day; that it serves again ends the alert.
            wait_for(lambda: sentinel.alert("load-oom", alert["entity"]["name"]) is None, "the alert is over", PROMISE)
            assert len(sentinel.told("load-oom", "resolved")) == 1


def test_the_flags_that_were_computed_before_the_kill_are_its_first_fix_and_end_it(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    """235 MiB locked and a cache for 131072 tokens in 420 MiB: less context in a smaller type fits, as the alert says."""
    needs_root()
    if not _kernel_log_can_be_read():
        pytest.skip("/dev/kmsg cannot be read here")
    sentinel = new_sentinel().start()
    with control_group("sentinel-fitting", 420 << 20, _CORE_SHARE) as groups:
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
        arguments = ["-m", str(model()), "-c", "131072", "--mlock"]
        with server(*arguments, log=tmp_path / "log", wrap=wrap, wait_ready=False) as running:
            wait_for(lambda: running.process.poll() is not None, "the kernel kills it", 120.0)
            assert running.process.returncode == -9
        name = f"127.0.0.1:{running.port}"
        alert = sentinel.await_alert("load-oom", name)
        assert alert["fixes"][0]["do"].startswith("Start with flags that fit: "), alert["fixes"]
        added = first_flags(alert)
        assert "-c" in added
        lift_quota(groups)
        with server(*arguments, *added, log=tmp_path / "log", port=running.port, wrap=wrap) as again:
            assert sentinel.name_of(again.process.pid) == name
            wait_for(lambda: sentinel.alert("load-oom", name) is None, "the alert is over", PROMISE)
