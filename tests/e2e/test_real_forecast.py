"""A real llama-server that will not fit is reported before the kernel kills it, and one that fits is left alone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from control_groups import control_group, paced
from live import Sentinel, needs_root, wait_for
from make_models import write_moe
from real_server import large_model, server

from sentinel.gguf.header import read_model
from sentinel.llama.command_line import decode
from sentinel.memory.requirement import Need
from sentinel.preflight.command import held_firmly
from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import identity_signals
from sentinel.sources.processes.requirement import lock_limit, needed

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(400)]

#: Seconds between the forecast and the kill.
_AHEAD = 30.0
#: Bytes a second of a load that goes on for a minute, whatever the processor.
_SLOWLY, _WITH_A_NEIGHBOUR = 5e6, 7e6


@pytest.fixture
def weights() -> Iterator[Path]:
    """A model that takes a while to load on a slow processor."""
    yield large_model()


@pytest.fixture(scope="module")
def many_tensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """560 MB in tensors of 4 MB, whose load can be paced."""
    return write_moe(tmp_path_factory.mktemp("large") / "many.gguf", experts=0, layers=43, feed_forward=8192)


@pytest.mark.parametrize("flags", [(), ("-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on"), ("-np", "4")])
def test_the_cache_is_as_large_as_computed(models: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """-lv 4 makes the server print what it allocated."""
    path = write_moe(tmp_path / "dense.gguf", experts=0, layers=3)
    words = ["-m", str(path), "-c", "2048", *flags]
    found = needed(Roots(), decode(["llama-server", *words], {}), read_model(str(path)), -1, "")
    assert isinstance(found, Need)
    log = tmp_path / "log"

    def sizes() -> list[float]:
        text = log.read_text(encoding="utf-8", errors="replace")
        return [float(size) for size in re.findall(r"CPU KV buffer size = +([\d.]+) MiB", text)]

    with server(*words, "-lv", "4", log=log, wait_ready=False):
        wait_for(sizes, "it prints the size of its cache", 30.0)
    assert found.cache_bytes == pytest.approx(sizes()[-1] * (1 << 20), rel=0.004)


@pytest.mark.parametrize("flags", [(), ("--no-mmap",), ("--mlock",), ("-c", "16384", "-ub", "2048", "-b", "2048", "-fa", "off")])
def test_a_server_that_has_loaded_holds_no_less_than_it_was_said_to_need(
    tmp_path: Path, weights: Path, flags: tuple[str, ...]
) -> None:
    """The same bound for each way to load; 699 MiB of buffers for computing are reserved by the last, and not written."""
    words = ["-m", str(weights), *(flags if "-c" in flags else ("-c", "2048", *flags))]
    with server(*words, "--cache-ram", "0", log=tmp_path / "log") as running:
        pid = running.process.pid
        limit = identity_signals(Roots(), pid)["server.memlock_limit_bytes"]
        assert isinstance(limit, int)
        found = needed(
            Roots(), decode(["llama-server", *words], {}), read_model(str(weights)), lock_limit(Roots(), pid, limit), ""
        )
        held = held_firmly(Roots(), pid)
    assert isinstance(found, Need)
    assert isinstance(held, int)
    assert found.total <= held
    # and not much less: what it leaves out is the program's
    assert held < found.total + (160 << 20)


def forecasts(sentinel: Sentinel, pid: int, port: int) -> list[dict[str, Any]]:
    """Alerts of the rule about this server."""
    found = sentinel.ask("alerts")["alerts"]
    name = f"127.0.0.1:{port}"
    return [a for a in found if a["rule"] == "load-oom-forecast" and a["entity"]["name"] in (name, f"{name}:{pid}")]


def run_limited(
    sentinel: Sentinel,
    log: Path,
    limit: int,
    arguments: list[str],
    *,
    rate: float | None = None,
    ends: bool,
    neighbour: Callable[[list[Path]], subprocess.Popen[bytes]] | None = None,
) -> tuple[float | None, float | None, list[dict[str, Any]]]:
    """Seconds from the start to the forecast and to the kill (None: neither came), and the alerts. `rate` paces the load."""
    needs_root()
    told: list[dict[str, Any]] = []
    told_at = killed_at = None
    beside: subprocess.Popen[bytes] | None = None
    with control_group("sentinel-forecast", limit, 0.3 if rate is None else 0.1) as groups:
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        with (
            server(*arguments, log=log, wrap=["sh", "-c", f'{enter} exec "$0" "$@"'], wait_ready=False) as running,
            nullcontext() if rate is None else paced(groups, running.process.pid, rate),
        ):
            started = time.monotonic()

            def look() -> bool:
                nonlocal told_at, killed_at, beside
                if neighbour is not None and beside is None and time.monotonic() - started > 5.0:
                    beside = neighbour(groups)
                if told_at is None and (found := forecasts(sentinel, running.process.pid, running.port)):
                    told_at = time.monotonic() - started
                    told.extend(found)
                if running.process.poll() is not None:
                    killed_at = time.monotonic() - started
                return killed_at is not None or (not ends and "listening" in log.read_text(errors="replace"))

            try:
                wait_for(look, "the load ends, one way or the other", 240.0)
            finally:
                if beside is not None:
                    beside.kill()
                    beside.wait()
    print(f"told {told_at} s, killed {killed_at} s after the start")
    return told_at, killed_at, told


@pytest.mark.long
@pytest.mark.root
def test_a_load_that_the_header_dooms_is_reported_half_a_minute_before_the_kill(
    new_sentinel: Callable[..., Sentinel], many_tensors: Path, tmp_path: Path
) -> None:
    """560 MB copied into a group of 300 MB, at 5 MB a second."""
    sentinel = new_sentinel().start()
    arguments = ["-m", str(many_tensors), "-c", "512", "--no-mmap"]
    told_at, killed_at, alerts = run_limited(sentinel, tmp_path / "log", 300 << 20, arguments, rate=_SLOWLY, ends=True)
    assert killed_at is not None
    assert told_at is not None, sentinel.ask("why", "load-oom-forecast")
    assert killed_at - told_at >= _AHEAD, f"told {told_at:.0f} s and killed {killed_at:.0f} s after the start"
    (alert,) = alerts
    assert alert["cause"]["id"] == "unmapped-weights"
    assert "sentinel-forecast" in alert["cause"]["text"]
    assert any("Map the weights" in fix["do"] for fix in alert["fixes"])


@pytest.mark.root
def test_the_first_fix_ends_it_and_a_model_of_that_size_loads(
    new_sentinel: Callable[..., Sentinel], weights: Path, tmp_path: Path
) -> None:
    """Mapped, in the same group: page cache is dropped, nobody is killed, nothing is reported."""
    sentinel = new_sentinel().start()
    arguments = ["-m", str(weights), "-c", "512", "--no-warmup"]
    told_at, killed_at, told = run_limited(sentinel, tmp_path / "log", 300 << 20, arguments, ends=False)
    assert killed_at is None
    assert told_at is None, [(a["summary"], a["cause"], a["evidence"]) for a in told]


@pytest.mark.long
@pytest.mark.root
def test_memory_that_another_process_takes_meanwhile_is_reported_as_it_happens(
    new_sentinel: Callable[..., Sentinel], many_tensors: Path, tmp_path: Path
) -> None:
    """What would have fitted no longer does once a neighbour in its group has grown."""
    sentinel = new_sentinel().start()
    arguments = ["-m", str(many_tensors), "-c", "512", "--no-mmap"]

    def grow(groups: list[Path]) -> subprocess.Popen[bytes]:
        enter = f'echo $$ > {groups[0]}/cgroup.procs; exec "$0" -c \'x = bytearray(b"1") * (300 << 20); input()\''
        return subprocess.Popen(["sh", "-c", enter, sys.executable], stdin=subprocess.PIPE)

    told_at, killed_at, alerts = run_limited(
        sentinel, tmp_path / "log", 720 << 20, arguments, rate=_WITH_A_NEIGHBOUR, ends=True, neighbour=grow
    )
    assert killed_at is not None
    assert told_at is not None, sentinel.ask("why", "load-oom-forecast")
    assert told_at > 5.0
    assert killed_at - told_at >= _AHEAD, f"told {told_at:.0f} s and killed {killed_at:.0f} s after the start"
    assert "memory ends in" in alerts[0]["summary"]
