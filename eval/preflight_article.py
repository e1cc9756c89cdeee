"""The article's machine, computed from a header of its dimensions, beside what the article says.

24 GB of VRAM, 256 GB of RAM, a mixture of experts of 220 GB in 128 layers, 47 of them asked for on the GPU. No file of that
kind exists here: the header is made, with GLM-5's proportions (latent attention, 256 experts) and IQ2_XXS experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sentinel.gguf.tensor_types import TENSOR_TYPES
from sentinel.llama.model import Model, Tensor
from sentinel.llama.settings import ALL_LAYERS, HOST, Device, Settings
from sentinel.memory.footprint import Footprint, footprint

_GIB = 1 << 30
_LAYERS, _EMBED, _EXPERTS, _EXPERT_FF, _VOCABULARY = 128, 6144, 256, 1312, 151552
_TYPES = {name: (block, size) for name, block, size in TENSOR_TYPES.values()}
CARD = Device("ROCm0", 24 * _GIB, 24 * _GIB)


def header() -> Model:
    """The header: 220 GB of tensors."""
    tensors: list[Tensor] = []
    at = 0

    def add(name: str, kind: str, *dims: int) -> None:
        nonlocal at
        block, size = _TYPES[kind]
        weights = 1
        for dim in dims:
            weights *= dim
        tensors.append(Tensor(name, kind, dims, weights // block * size, 0, at))
        at += weights // block * size

    add("token_embd.weight", "Q4_K", _EMBED, _VOCABULARY)
    for il in range(_LAYERS):
        block = f"blk.{il}."
        add(block + "attn_norm.weight", "F32", _EMBED)
        add(block + "attn_q_a.weight", "Q5_K", _EMBED, 2048)
        add(block + "attn_q_b.weight", "Q5_K", 2048, 64 * 256)
        add(block + "attn_kv_a_mqa.weight", "Q5_K", _EMBED, 576)
        add(block + "attn_k_b.weight", "Q8_0", 192, 512, 64)
        add(block + "attn_v_b.weight", "Q8_0", 512, 256, 64)
        add(block + "attn_output.weight", "Q5_K", 64 * 256, _EMBED)
        add(block + "ffn_gate_inp.weight", "F32", _EMBED, _EXPERTS)
        for part in ("gate", "up"):
            add(f"{block}ffn_{part}_exps.weight", "IQ2_XXS", _EMBED, _EXPERT_FF // 256 * 256, _EXPERTS)
            add(f"{block}ffn_{part}_shexp.weight", "Q5_K", _EMBED, 2048)
        add(block + "ffn_down_exps.weight", "IQ2_XXS", _EXPERT_FF // 256 * 256, _EMBED, _EXPERTS)
        add(block + "ffn_down_shexp.weight", "Q5_K", 2048, _EMBED)
    add("output_norm.weight", "F32", _EMBED)
    add("output.weight", "Q6_K", _EMBED, _VOCABULARY)
    keys = {
        "block_count": _LAYERS, "context_length": 202752, "embedding_length": _EMBED, "feed_forward_length": 12288,
        "attention.head_count": 64, "attention.head_count_kv": 1, "attention.key_length": 576, "attention.value_length": 512,
        "attention.key_length_mla": 256, "attention.value_length_mla": 256, "attention.indexer.head_count": 32,
        "attention.indexer.key_length": 128, "expert_count": _EXPERTS, "expert_used_count": 8,
        "expert_feed_forward_length": _EXPERT_FF // 256 * 256,
    }  # fmt: skip
    return Model("glm-dsa", {f"glm-dsa.{key}": value for key, value in keys.items()}, tuple(tensors), (at,))


def _gib(found: Footprint, place: str, kind: str | None = None) -> float:
    return sum(item.bytes for item in found.items if item.place == place and kind in (None, item.kind)) / _GIB


def _largest(computed: Callable[[int], Footprint], low: int, high: int) -> int:
    """The largest number with which the card holds what it must at most; `low` where none does."""
    while low < high:
        middle = (low + high + 1) // 2
        if computed(middle).at("ROCm0")[2] <= 24 * _GIB:
            low = middle
        else:
            high = middle - 1
    return low


def article() -> str:
    """A table for people."""
    model = header()
    size = sum(tensor.bytes for tensor in model.tensors)
    asked = Settings(gpu_layers=47, ctx=4096, ctx_given=True, parallel=1, load_mode="mmap+mlock", flash_attn="on", fit=False)
    plain = footprint(model, asked, [CARD], 11434)
    longer = footprint(model, replace(asked, ctx=8192), [CARD], 11434)
    experts = footprint(model, replace(asked, gpu_layers=ALL_LAYERS, cpu_moe=True), [CARD], 11434)
    most = _largest(lambda n: footprint(model, replace(asked, gpu_layers=n), [CARD], 11434), 0, _LAYERS + 1)
    on_card = replace(asked, gpu_layers=ALL_LAYERS)
    kept = -_largest(lambda n: footprint(model, replace(on_card, n_cpu_moe=-n), [CARD], 11434), -_LAYERS, 0)
    best = footprint(model, replace(on_card, n_cpu_moe=kept), [CARD], 11434)
    per_layer = (size - sum(t.bytes for t in model.tensors if not t.name.startswith("blk."))) / _LAYERS / _GIB
    rows = [
        (
            "47 layers x 0.45 GB fit 24 GB",
            f"a layer is {per_layer:.2f} GiB, -ngl 47 takes {_gib(plain, 'ROCm0'):.0f} GiB of VRAM: fails",
        ),
        ("47 layers hold, 48 fail above 2K", f"at most {most} whole layers fit 24 GiB"),
        ("the KV cache of 4096 is large", f"{_gib(plain, 'ROCm0', 'kv') + _gib(plain, HOST, 'kv'):.2f} GiB at 4096"),
        ("8192 does not fit, the context collapses", f"{_gib(longer, 'ROCm0', 'kv') + _gib(longer, HOST, 'kv'):.2f} GiB at 8192"),
        ("page tables exceed RAM at 97 %", f"{_gib(plain, HOST, 'overhead'):.2f} GiB of page tables and program"),
        ("--mlock keeps it in RAM", f"locks {_gib(plain, HOST, 'weights'):.0f} GiB of 256 (and needs that memlock limit)"),
        (
            "(not in the article) -ngl all --cpu-moe",
            f"{_gib(experts, 'ROCm0'):.1f} GiB on the card, {_gib(experts, HOST):.0f} GiB on the host",
        ),
        (
            f"(not in the article) -ngl all --n-cpu-moe {kept}",
            f"{_gib(best, 'ROCm0'):.1f} GiB on the card, at most {best.at('ROCm0')[2] / _GIB:.1f}",
        ),
    ]
    lines = [
        f"the article's machine: {size / 1e9:.0f} GB, {_LAYERS} layers, 24 GiB of VRAM, 256 GB of RAM (header made, no file)"
    ]
    lines += [f"  {claim:<46}{computed}" for claim, computed in rows]
    return "\n".join(lines)
