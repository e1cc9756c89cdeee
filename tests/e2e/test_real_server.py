"""The real daemon beside the real llama-server: what fails in silence is reported in time, what is well is not."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import PROMISE, Sentinel, wait_for
from real_server import Running, request, server

pytestmark = pytest.mark.real_server


def ask(running: Running, path: str, **body: object) -> None:
    """A request whose answer does not matter: the weights are noise, so the server may well refuse its own output."""
    with contextlib.suppress(urllib.error.HTTPError):
        request(running.url + path, json.dumps(body).encode())


class TestCpuFallback:
    """99 layers are asked for, none is placed, and at default verbosity llama-server does not say a word about it."""

    @pytest.mark.parametrize("log_file", [False, True], ids=["output in a file", "--log-file"])
    def test_it_is_reported_in_time_with_cause_and_fix(
        self, sentinel: Sentinel, models: Path, tmp_path: Path, log_file: bool
    ) -> None:
        more = ["--log-file", str(tmp_path / "own.log")] if log_file else []
        with server("-m", str(models / "dense.gguf"), "-c", "512", "-ngl", "99", *more, log=tmp_path / "output") as running:
            ready = time.monotonic()
            name = sentinel.name_of(running.process.pid)
            alert = sentinel.await_alert("cpu-fallback", name)
            took = time.monotonic() - ready
            seen = sentinel.server(running.process.pid)
        assert took < PROMISE
        assert alert["severity"] == "critical"
        assert "-ngl 99" in alert["summary"]
        assert alert["cause"] is not None
        assert alert["fixes"]
        assert seen is not None
        assert seen["log_where"].endswith("own.log" if log_file else "output")
        if not log_file:
            wait_for(lambda: sentinel.alert("cpu-fallback", name) is None, "the alert ends with its server", PROMISE)
            ended = [t["reason"] for t in sentinel.told("cpu-fallback", "resolved") if t["entity"]["name"] == name]
            assert ended == ["server-gone"]


class TestContextCollapse:
    def test_more_than_the_model_was_trained_for(self, sentinel: Sentinel, models: Path, tmp_path: Path) -> None:
        """8192 asked for, 2048 served, one line about it at default verbosity."""
        with server("-m", str(models / "dense.gguf"), "-c", "8192", "-np", "1", log=tmp_path / "log") as running:
            alert = sentinel.await_alert("context-collapse", sentinel.name_of(running.process.pid))

        assert alert["cause"]["id"] == "capped-at-training-length"
        assert "2048 tokens of context, 8192 were asked for" in alert["summary"]
        assert any("-c 2048" in fix["do"] for fix in alert["fixes"])

    def test_the_third_request_that_does_not_fit_is_news_the_first_two_are_not(
        self, sentinel: Sentinel, models: Path, tmp_path: Path
    ) -> None:
        log = tmp_path / "log"
        with server("-m", str(models / "dense.gguf"), "-c", "256", "-np", "1", log=log) as running:
            name = sentinel.name_of(running.process.pid)
            for _ in range(2):
                ask(running, "/completion", prompt="word " * 400, n_predict=4)

            def counted() -> Any:
                return sentinel.reads("context-collapse", name).get("lost_requests")

            wait_for(lambda: counted() == 2, lambda: f"two oversized requests are counted, not {counted()}", PROMISE)
            assert sentinel.verdict("context-collapse", name)[0] == "no-match"

            ask(running, "/completion", prompt="word " * 400, n_predict=4)
            alert = sentinel.await_alert("context-collapse", name)

        assert alert["cause"]["id"] == "requests-larger-than-slot"
        lines = [piece for piece in alert["evidence"] if "line" in piece]
        assert lines
        assert lines[-1]["line"] in log.read_text().splitlines()[lines[-1]["n"] - 1]


#: healthy ways to run a server: none may raise more than advice
HEALTHY = {
    "no -ngl": ["-m", "dense.gguf", "-c", "512"],
    "-ngl 0": ["-m", "dense.gguf", "-c", "512", "-ngl", "0"],
    "--device none": ["-m", "dense.gguf", "-c", "512", "-ngl", "99", "--device", "none"],
    "embeddings": ["-m", "dense.gguf", "-c", "512", "--embeddings", "--pooling", "mean"],
    "--cpu-moe": ["-m", "moe.gguf", "-c", "512", "--cpu-moe"],
    "-np 2": ["-m", "dense.gguf", "-c", "1024", "-np", "2"],
    "-lv 4": ["-m", "dense.gguf", "-c", "512", "-lv", "4"],
    "sleeping": ["-m", "dense.gguf", "-c", "512", "--sleep-idle-seconds", "1"],
    "router": ["--models-dir", "routed", "-c", "512"],
    "mislabelled": ["-m", "mislabelled.gguf", "-c", "512"],
    "low-bit dense": ["-m", "low-bit-dense.gguf", "-c", "512", "--no-warmup"],
    "low-bit experts": ["-m", "low-bit.gguf", "-c", "512", "--no-warmup"],
}


@pytest.fixture(scope="module")
def healthy(sentinel: Sentinel, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """All of them at once, each with a request behind it, and known to the daemon."""
    logs = tmp_path_factory.mktemp("logs")
    with contextlib.ExitStack() as stack:
        running: dict[str, Running] = {}
        for number, (what, words) in enumerate(HEALTHY.items()):
            arguments = [str(models / word) if word.endswith(".gguf") or word == "routed" else word for word in words]
            running[what] = stack.enter_context(server(*arguments, log=logs / f"{number}.log"))
        for what, one in running.items():
            if what == "embeddings":
                ask(one, "/embeddings", content="abc")
            elif what == "router":
                ask(one, "/v1/chat/completions", model="dense", max_tokens=4, messages=[{"role": "user", "content": "a"}])
            else:
                ask(one, "/completion", prompt="abc", n_predict=8)
        yield running


@pytest.mark.parametrize("what", HEALTHY)
def test_a_healthy_server_raises_nothing(sentinel: Sentinel, healthy: dict[str, Running], what: str) -> None:
    """No rule above advice finds anything, with everything known that it reads."""
    pid = healthy[what].process.pid
    state = "sleeping" if what == "sleeping" else "ready"
    wait_for(lambda: (sentinel.server(pid) or {}).get("state") == state, f"{what} is {state}", PROMISE)
    name = str((sentinel.server(pid) or {})["name"])

    def sampled() -> Any:
        return sentinel.reads("cpu-fallback", name).get("server.gpu_nodes_open") is not None

    wait_for(sampled, f"what {what} holds on GPUs is known", PROMISE)

    found: dict[str, tuple[str, str]] = {}
    # A router serves nothing itself: what its context would be cannot be known.
    allowed = {"context-collapse"} if what == "router" else set()

    def unknown() -> set[str]:
        found.update(sentinel.verdicts(name))
        return {rule for rule, (verdict, _) in found.items() if verdict == "unknown"} - allowed

    wait_for(lambda: not unknown(), lambda: f"all is known that is read: {unknown()}", PROMISE)
    assert {rule for rule, (_, state) in found.items() if state != "inactive"} == set()
    assert {rule for rule, (verdict, _) in found.items() if verdict == "match"} == set()


def test_a_child_of_a_router_is_a_server_of_its_own_and_healthy(sentinel: Sentinel, healthy: dict[str, Running]) -> None:
    """Found as a process, with its model; its lines in the router's log are its own."""
    port = healthy["router"].port

    def child() -> dict[str, object] | None:
        routed = [s for s in sentinel.ask("status")["servers"] if "routed" in str(s["model_path"])]
        return routed[0] if routed else None

    found: list[dict[str, object]] = []

    def there() -> bool:
        if (entry := child()) is not None:
            found.append(entry)
        return bool(found)

    wait_for(there, "the router's child is found", PROMISE)
    entry = found[0]
    assert sentinel.alert("cpu-fallback", str(entry["name"])) is None
    assert str(port) not in str(entry["name"])


@pytest.mark.parametrize(
    ("what", "told"), [("low-bit experts", True), ("low-bit dense", False), ("mislabelled", False), ("--cpu-moe", False)]
)
def test_low_bit_experts_are_advice_by_the_tensors_not_by_the_label(
    sentinel: Sentinel, healthy: dict[str, Running], what: str, told: bool
) -> None:
    name = sentinel.name_of(healthy[what].process.pid)
    if told:
        alert = sentinel.await_alert("routing-noise", name)
        assert alert["severity"] == "info"
        assert "1.69 bits per weight" in alert["summary"]
    else:
        # What its tensors are is known a moment after the process.
        wait_for(lambda: sentinel.verdict("routing-noise", name)[0] != "unknown", "its tensors are known", PROMISE)
        assert sentinel.verdict("routing-noise", name) == ("no-match", "inactive")


class TestHostileServer:
    """Who may start a server or send it a request chooses names and log lines; the reader's terminal and eyes are not his."""

    def test_nothing_it_says_reaches_a_terminal_raw_or_passes_for_sentinels_own(
        self, sentinel: Sentinel, models: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "m\x1b[2J\n● CRITICAL  forged"
        folder.mkdir()
        model = folder / "a\x07\x9b31m$(touch x);'.gguf"
        model.symlink_to(models / "low-bit.gguf")
        arguments = ["-m", str(model), "-c", "8192", "-np", "1", "-ngl", "99", "--no-warmup", "--alias", "x\x1b]0;owned\x07"]
        log = tmp_path / "log\x1b[31m\r\n.log"
        with server(*arguments, log=log) as running:
            name = sentinel.name_of(running.process.pid)
            for rule in ("cpu-fallback", "context-collapse", "routing-noise"):
                sentinel.await_alert(rule, name)
            texts = [
                sentinel.cli(*words)
                for words in (
                    ["status"],
                    ["status", "--verbose"],
                    ["alerts", "--verbose"],
                    ["alerts", "--all"],
                    ["why", "cpu-fallback", name],
                )
            ]
            wire = [sentinel.cli(*words, "--json") for words in (["status"], ["alerts"], ["why", "context-collapse", name])]
        forbidden = {chr(code) for code in [*range(0x20), 0x7F, *range(0x80, 0xA0)]} - {"\n"}
        for done in texts:
            assert set(done.stdout) & forbidden == set()
            assert not any(line.startswith("● CRITICAL  forged") for line in done.stdout.splitlines())
        assert set(sentinel.said()) & forbidden == set()
        assert "x\\x1b]0;owned" in texts[0].stdout
        assert any("\\x1b[2J" in done.stdout for done in texts)
        for done in wire:
            assert set(done.stdout) & forbidden == set()
            json.loads(done.stdout)
