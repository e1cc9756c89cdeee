"""The size of the KV cache against what llama-server logged, and silence where the layout is not known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sentinel.llama.architectures import Caches, caches
from sentinel.llama.model import Model
from sentinel.llama.settings import HOST, Settings
from sentinel.memory.kv_cache import cache_bytes, context
from sentinel.model.entity import Unknown

#: the tiny model of the recordings (corpus/logs/PROVENANCE.md): 4 layers, 4 heads, 2 of them for K and V, 256 wide
RECORDED: dict[str, int | tuple[int, ...]] = {
    "block_count": 4, "context_length": 2048, "embedding_length": 256, "attention.head_count": 4, "attention.head_count_kv": 2,
}  # fmt: skip


Keys = dict[str, int | tuple[int, ...]]


def model(arch: str = "llama", keys: Keys | None = None) -> Model:
    return Model(arch, {f"{arch}.{key}": value for key, value in (RECORDED | (keys or {})).items()})


def expect_bytes(of: Model, tokens: int = 256, type_k: str = "f16", type_v: str = "f16") -> int:
    settings = Settings(ctx=tokens, ctx_given=True, parallel=1, cache_type_k=type_k, cache_type_v=type_v)
    shape, ctx = caches(of), context(settings, 0)
    assert isinstance(shape, Caches)
    assert not isinstance(ctx, Unknown)
    found = cache_bytes(shape, settings, ctx, (HOST,) * 9, flash=True)
    assert not isinstance(found, Unknown), found
    return sum(found.kv.values())


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
    assert expect_bytes(model(), int(cells[1])) == float(size[1]) * (1 << 20)


@pytest.mark.parametrize(
    ("type_k", "type_v", "share"), [("q8_0", "q8_0", 34 / 64), ("q4_0", "q4_0", 18 / 64), ("f32", "f32", 2.0), ("bf16", "f16", 1)]
)
def test_cache_types_have_their_blocks_size(type_k: str, type_v: str, share: float) -> None:
    assert expect_bytes(model(), 256, type_k, type_v) == expect_bytes(model()) * share


def test_layers_may_differ_in_heads_and_keys_may_be_wider_than_the_embedding_says() -> None:
    keys: Keys = {
        "attention.head_count_kv": (2, 0, 1, 2), "attention.key_length": 128, "attention.value_length": 64,
    }  # fmt: skip
    assert expect_bytes(model(keys=keys)) == 256 * (768 + 0 + 384 + 768)


@pytest.mark.parametrize("arch", ["brand-new", "", "\x1b[31m"])
def test_a_layout_that_is_not_known_is_unknown(arch: str) -> None:
    assert isinstance(caches(model(arch)), Unknown)


def test_what_the_file_does_not_say_is_unknown() -> None:
    odd: list[Keys] = [
        {"block_count": 0}, {"attention.head_count_kv": (1, 2)}, {"attention.head_count": 0, "attention.head_count_kv": 2},
    ]  # fmt: skip
    for keys in odd:
        assert isinstance(caches(model(keys=keys)), Unknown), keys


def test_the_compressed_rows_of_latent_attention_count_once() -> None:
    latent: Keys = {
        "attention.head_count_kv": 1, "attention.key_length": 576, "attention.value_length": 512,
        "attention.key_length_mla": 192, "attention.value_length_mla": 128,
    }  # fmt: skip
    assert expect_bytes(model("deepseek2", latent)) == 256 * 4 * 1152
    assert expect_bytes(model("deepseek2", latent), 256, "q8_0") == 256 * 4 * 612
