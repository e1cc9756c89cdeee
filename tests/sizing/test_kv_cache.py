"""The KV cache arithmetic against what llama-server logged, and silence where the layout is not known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.model.labels import Unknown
from sentinel.sizing.kv_cache import PLAIN, least_context, token_bytes
from sentinel.sizing.shape import ModelShape

#: the tiny model of the recordings (corpus/logs/PROVENANCE.md): 4 layers, 4 heads, 2 of them for K and V, 256 wide
RECORDED = ModelShape(arch="llama", layers=4, ctx_train=2048, embed=256, heads=4, heads_kv=(2,))


def expect_bytes(shape: ModelShape, type_k: str = "f16", type_v: str = "f16") -> int:
    sizes = token_bytes(shape, type_k, type_v)
    assert not isinstance(sizes, Unknown)
    return sum(sizes)


@pytest.mark.parametrize(
    "log",
    ["b395x-default", "b395x-fa-bare2", "b395x-overtrain", "b617x-default", "b617x-defrag", "b617x-overtrain", "b10434-lv4",
     "b10434-mlock", "b11434-lv4"],
)  # fmt: skip
def test_the_recorded_caches_have_the_computed_size(corpus: Path, log: str) -> None:
    text = (corpus / f"logs/{log}.log").read_text(encoding="utf-8", errors="replace")
    size = re.search(r"CPU KV buffer size = +([\d.]+) MiB", text)
    cells = re.search(r"(?:kv_size|n_ctx) += (\d+)", text)
    assert size is not None
    assert cells is not None
    assert expect_bytes(RECORDED) * int(cells[1]) == float(size[1]) * (1 << 20)


@pytest.mark.parametrize(
    ("type_k", "type_v", "share"), [("q8_0", "q8_0", 34 / 64), ("q4_0", "q4_0", 18 / 64), ("f32", "f32", 2.0), ("bf16", "f16", 1)]
)
def test_cache_types_have_their_blocks_size(type_k: str, type_v: str, share: float) -> None:
    assert expect_bytes(RECORDED, type_k, type_v) == expect_bytes(RECORDED) * share


def test_layers_may_differ_in_heads_and_keys_may_be_wider_than_the_embedding_says() -> None:
    wide = replace(RECORDED, heads_kv=(2, 0, 1, 2), key_length=128, value_length=64)
    assert token_bytes(wide, "f16", "f16") == (768, 0, 384, 768)


@pytest.mark.parametrize("arch", ["gemma3", "gpt-oss", "deepseek2", "qwen3next", "mamba2", "glm-dsa", "llama4", "", "\x1b[31m"])
def test_a_layout_that_is_not_known_is_unknown(arch: str) -> None:
    assert arch not in PLAIN
    assert isinstance(token_bytes(replace(RECORDED, arch=arch), "f16", "f16"), Unknown)


def test_what_the_file_does_not_say_is_unknown() -> None:
    for shape in (
        replace(RECORDED, layers=0),
        replace(RECORDED, heads_kv=()),
        replace(RECORDED, heads_kv=(1, 2)),
        replace(RECORDED, heads=0),
        replace(RECORDED, is_mla=True),
    ):
        assert isinstance(token_bytes(shape, "f16", "f16"), Unknown)
    assert isinstance(token_bytes(RECORDED, "f16", "turbo3"), Unknown)


def test_the_least_context_is_what_was_asked_for_else_the_smallest_that_any_build_takes() -> None:
    assert least_context(8192, 131072, fit_floor_known=True) == 8192
    assert least_context(8192, 131072, fit_floor_known=False) == 8192
    assert least_context(0, 131072, fit_floor_known=True) == 4096
    assert least_context(0, 2048, fit_floor_known=True) == 2048
    assert isinstance(least_context(0, 131072, fit_floor_known=False), Unknown)
    assert isinstance(least_context(0, 0, fit_floor_known=True), Unknown)


def test_layers_of_known_layouts_count_and_shorter_caches_do_not() -> None:
    latent = replace(RECORDED, arch="deepseek2", is_mla=True, rows=((576, 0), (0, 0), (576, 0), (576, 0)))
    assert token_bytes(latent, "f16", "f16") == (1152, 0, 1152, 1152)
    assert token_bytes(latent, "q8_0", "f16") == (612, 0, 612, 612)
