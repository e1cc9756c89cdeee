"""Two real servers that could be taken for each other: what one says or answers is never said of the other."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from live import Sentinel, needs_root, wait_for
from real_server import READY_SECONDS, free_port, is_ready, server, wait

pytestmark = pytest.mark.real_server

#: Seconds; a busy machine may need them.
_SOON = 60.0


def about(sentinel: Sentinel, pid: int) -> dict[str, Any]:
    """What the daemon says of the process, as soon as it knows it."""
    wait_for(lambda: sentinel.server(pid) is not None, f"process {pid} is found", _SOON)
    found = sentinel.server(pid)
    assert found is not None
    return found


def told(sentinel: Sentinel, *names: str) -> list[str]:
    """Rules with an open alert about these servers, but for the one that says what cannot be seen."""
    alerts = sentinel.ask("alerts")["alerts"]
    return [one["rule"] for one in alerts if one["entity"]["name"] in names and one["rule"] != "blind-spot"]


def test_a_log_that_two_servers_write_is_of_neither(sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
    """One has eight times the context of the other: it was said of the wrong one that it got too little."""
    log, model = tmp_path / "both.log", str(models / "long.gguf")
    flags = ("-m", model, "-np", "1", "--device", "none", "-lv", "4")
    with server(*flags, "-c", "8192", log=log) as large, server(*flags, "-c", "1024", log=log) as small:

        def contexts() -> list[object]:
            return [about(sentinel, one.process.pid)["ctx_per_slot"] for one in (large, small)]

        # Both are asked over HTTP, which is certain.
        wait_for(lambda: contexts() == [8192, 1024], lambda: f"each has its own context: {contexts()}", _SOON)

        def both() -> list[dict[str, Any]]:
            return [about(sentinel, one.process.pid) for one in (large, small)]

        # The second one's process is looked at after its answers are there.
        wait_for(lambda: [one["log_readable"] for one in both()] == [False, False], lambda: f"neither's: {both()}", _SOON)
        assert all("writes there as well" in one["log_where"] for one in both())
        assert told(sentinel, *(str(one["name"]) for one in both())) == []


def test_a_server_in_another_network_is_not_judged_by_who_answers_here(sentinel: Sentinel, models: Path) -> None:
    """A container's server on 0.0.0.0 and a server of the host with the same port, and no log to read of either."""
    needs_root()
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    model, port = str(models / "long.gguf"), free_port()
    flags = ("-m", model, "-np", "1", "--device", "none", "--host", "0.0.0.0")
    nowhere = Path("/dev/null")
    wrap = ["unshare", "--net"]
    with (
        server(*flags, "-c", "8192", log=nowhere, port=port, wrap=wrap, wait_ready=False) as inside,
        server(*flags, "-c", "1024", log=nowhere, port=port, wait_ready=False) as outside,
    ):
        assert wait(lambda: is_ready(port), READY_SECONDS)
        wait_for(
            lambda: about(sentinel, outside.process.pid)["ctx_per_slot"] == 1024, "the server of this network is asked", _SOON
        )
        other = about(sentinel, inside.process.pid)
        assert (other["ctx_per_slot"], other["state"]) == (None, None)
        assert told(sentinel, str(other["name"])) == []
