"""The daily check of answers: the real daemon, its child, the real llama-server. Tiny models and a quarter of the prefixes; gemma
in the test that is long."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from live import Sentinel, over, wait_for
from real_server import Running, free_port, large_model, server
from scaled_model import scaled

from eval import quality_models

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(900)]
# The model was made for 2048 tokens.
_USUAL = ("-c", "2048", "-np", "1", "-t", "1", "-ngl", "0", "-fit", "off", "--no-warmup")
#: Read by every Python that starts with this folder in PYTHONPATH, the daemon's child among them. The daemon looks every half
#: second whether a server is due and what a child found, in place of every five: each verdict came up to ten seconds late.
_FEWER = """
import sys
if "sentinel" in " ".join(sys.orig_argv):
    import sentinel.quality.prefixes as known
    every = known.prefixes
    known.prefixes = lambda: every()[::4]
    if "run" in sys.orig_argv:
        from sentinel.quality.daily.source import QualityChecks
        QualityChecks.interval = 0.5
"""


class Checked:
    """A daemon that checks the answers at one port, after five seconds of rest."""

    def __init__(self, new_sentinel: Callable[..., Sentinel], folder: Path, more: str = "") -> None:
        self.port = free_port()
        self.model = folder / "m.gguf"
        self.sentinel = new_sentinel(
            f'[quality]\nidle = "5s"\ntokens_a_day = 200000\n[[quality.server]]\nport = {self.port}\ncheck = true\n{more}'
        )
        (folder / "sitecustomize.py").write_text(_FEWER, encoding="ascii")
        self.sentinel.environ["PYTHONPATH"] = str(folder)
        self.sentinel.start()
        self.name = ""

    def put(self, source: Path) -> None:
        """Another file under the same name."""
        fresh = self.model.with_suffix(".new")
        shutil.copyfile(source, fresh)
        fresh.replace(self.model)

    @contextmanager
    def serving(self, *flags: str) -> Iterator[Running]:
        with server("-m", str(self.model), *(flags or _USUAL), port=self.port) as running:
            self.name = self.sentinel.name_of(running.process.pid)
            yield running

    def signals(self) -> dict[str, Any]:
        (mine,) = [one for one in self.sentinel.ask("status")["servers"] if one["name"] == self.name]
        return {key.removeprefix("quality_"): value for key, value in mine.items() if key.startswith("quality_")}

    def await_verdict(self, verdict: str, within: float = 240.0) -> dict[str, Any]:
        wait_for(lambda: self.signals()["verdict"] == verdict, lambda: f"{verdict}; it has {self.signals()}", within)
        return self.signals()


def test_other_weights_under_the_same_name_are_an_alert(
    new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path
) -> None:
    checked = Checked(new_sentinel, tmp_path)
    checked.put(models / "dense.gguf")
    with checked.serving():
        checked.await_verdict("learned")
    checked.put(scaled(models / "dense.gguf", tmp_path / "other.gguf", "output.weight", -20.0))
    with checked.serving():
        alert = checked.sentinel.await_alert("quality-shift", checked.name, 240.0)
    assert alert["cause"]["id"] == "model-file-replaced"


@pytest.mark.long
def test_the_whole_path(new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path) -> None:
    """Learned; the same after a healthy restart; shifted when the file is replaced; broken; the same again. Kills between."""
    checked = Checked(new_sentinel, tmp_path)
    sentinel = checked.sentinel
    checked.put(models / "dense.gguf")
    with checked.serving():
        checked.await_verdict("learned")
    with checked.serving("-c", "4096", "-np", "2", "-b", "64", "-ub", "32", "-t", "1", "-ngl", "0", "-fit", "off", "--no-warmup"):
        found = checked.await_verdict("same")
        assert found["divergence"] < 0.0005
        assert "as they were learned" in sentinel.cli("status", "--verbose").stdout
        assert f'sentinel_server_quality_divergence_bits{{entity="{checked.name}"}}'.replace("_bits", "") in metrics(sentinel)

    checked.put(scaled(models / "dense.gguf", tmp_path / "other.gguf", "output.weight", -20.0))
    with checked.serving():
        alert = sentinel.await_alert("quality-shift", checked.name, 240.0)
        assert alert["cause"]["id"] == "model-file-replaced"
        assert checked.signals()["verdict"] == "shifted"
        sentinel.end(signal.SIGKILL)
        sentinel.start()
        assert sentinel.await_alert("quality-shift", checked.name)["cause"]["id"] == "model-file-replaced"

    checked.put(scaled(models / "dense.gguf", tmp_path / "nan.gguf", "output_norm.weight", float("nan")))
    with checked.serving():
        alert = sentinel.await_alert("output-broken", checked.name, 240.0)
        assert alert["cause"]["id"] == "probabilities-are-no-numbers"
        assert alert["severity"] == "critical"

    checked.put(models / "dense.gguf")
    with checked.serving():
        checked.await_verdict("same")
        over(sentinel, "output-broken", checked.name)
        over(sentinel, "quality-shift", checked.name)
    past = [one for one in sentinel.ask("alerts", "--all")["transitions"] if one["entity"]["name"] == checked.name]
    others = [(one["rule"], one["summary"]) for one in past if one["rule"] not in ("quality-shift", "output-broken")]
    assert others == [], "its own questions make no other rule speak"
    kept = [path for path in (sentinel.folder / "state/quality/daily").iterdir() if path.suffix == ".json"]
    assert len(kept) == 2
    assert not any(str(tmp_path) in path.read_text() for path in kept)


def metrics(sentinel: Sentinel) -> str:
    """What Prometheus would read."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sentinel.socket))
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_request_stops_it(new_sentinel: Callable[..., Sentinel], tmp_path: Path) -> None:
    """The check ends when somebody asks, and goes on after the next rest; the request waits for one answer at most.

    With a real model: a small one is asked within the moment between two looks.
    """
    checked = Checked(new_sentinel, tmp_path)
    checked.put(large_model())
    with checked.serving() as running:
        wait_for(lambda: checked.signals()["waits"] == "it is being asked", lambda: f"it is asked: {checked.signals()}", 120.0)
        body = json.dumps({"prompt": "x " * 600, "n_predict": 400, "ignore_eos": True, "cache_prompt": False}).encode()
        request = urllib.request.Request(f"{running.url}/completion", body, {"Content-Type": "application/json"})
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(urllib.request.urlopen, request, timeout=300)
            wait_for(lambda: checked.signals()["waits"] != "it is being asked", "it is left alone", 30.0)
            assert not answer.done(), "it was left alone because it was asked"
            answer.result().close()
        checked.await_verdict("learned", 600.0)


def test_a_key_comes_from_a_file(new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret\n", encoding="ascii")
    checked = Checked(new_sentinel, tmp_path, f"api_key_file = '{key}'\n")
    checked.put(models / "dense.gguf")
    with checked.serving(*_USUAL, "--api-key", "s3cret"):
        checked.await_verdict("learned")
    assert not any(b"s3cret" in path.read_bytes() for path in checked.sentinel.folder.rglob("*") if path.is_file())


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_weights_of_fewer_bits_and_a_cache_of_four(new_sentinel: Callable[..., Sentinel], tmp_path: Path) -> None:
    """gemma-3-270m: F16 learned, Q2_K in its place, F16 again with other flags, a cache of four bits."""
    checked = Checked(new_sentinel, tmp_path)
    checked.put(large_model())
    usual = ("-c", "2048", "-np", "1", "-t", "1", "-ngl", "0", "-fit", "off", "--no-warmup")
    with checked.serving(*usual):
        checked.await_verdict("learned", 1200.0)
    checked.put(quality_models.quantized("Q2_K"))
    with checked.serving(*usual):
        alert = checked.sentinel.await_alert("quality-shift", checked.name, 1200.0)
        assert alert["cause"]["id"] == "model-file-replaced"
        assert checked.signals()["size"] == "large"
    checked.put(large_model())
    with checked.serving("-c", "8192", "-np", "4", "-t", "1", "-b", "64", "-ub", "17", *usual[6:]):
        checked.await_verdict("same", 1200.0)
        over(checked.sentinel, "quality-shift", checked.name)
    with checked.serving(*usual, "-fa", "on", "-ctk", "q4_0", "-ctv", "q4_0"):
        alert = checked.sentinel.await_alert("quality-shift", checked.name, 1200.0)
        assert alert["cause"]["id"] == "cache-type-changed"


def test_no_child_is_left_behind(new_sentinel: Callable[..., Sentinel], models: Path, tmp_path: Path) -> None:
    """A daemon that is killed takes the check with it."""
    checked = Checked(new_sentinel, tmp_path)
    checked.put(models / "dense.gguf")
    with checked.serving():
        found: list[int] = []

        def asks() -> bool:
            found[:] = children_of(checked.sentinel)
            return bool(found)

        wait_for(asks, "its child asks", 120.0)
        (child,) = found
        checked.sentinel.end(signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{child}/cmdline").exists() or not cmdline(child), "the child has ended", 30.0)


def children_of(sentinel: Sentinel) -> list[int]:
    """Processes of the daemon that ask."""
    assert sentinel.process is not None
    parent = sentinel.process.pid
    pids: set[int] = set()
    for task in Path(f"/proc/{parent}/task").iterdir():
        # A thread of the daemon may end while its list is read.
        with suppress(OSError):
            pids.update(map(int, (task / "children").read_text().split()))
    return [pid for pid in sorted(pids) if b"quality.daily.errand" in cmdline(pid)]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
