"""Models and flags that nobody looked at while the arithmetic was written: drawn by a seed, each started for real.

The families are those whose graph the server builds from any dimensions: dense, with a sliding window, with experts, with latent
attention. Recurrent ones are left out: the server's own checks abort on most dimensions that are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eval.preflight_layouts import Layout
from sentinel.llama.settings import Settings

#: bytes of one tensor that Mesa's software renderer takes; scores beyond it go to the host, as on no card that people have
_LARGEST = 120 << 20
_QUANTS = ("F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "MXFP4")


@dataclass(frozen=True)
class Drawn:
    """A model, a command line, and what that is to the arithmetic."""

    layout: Layout
    flags: str
    settings: Settings
    cards: int


def draw(seed: int, count: int) -> Iterator[Drawn]:
    """The same for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        layout = dice.choice((_dense, _windowed, _experts, _latent))(dice)
        yield Drawn(layout, *_flags(dice, layout))


@dataclass(frozen=True)
class _Size:
    embed: int
    forward: int
    layers: int
    vocabulary: int
    heads: int
    heads_kv: int
    head: int
    kind: str

    @classmethod
    def of(cls, dice: random.Random) -> _Size:
        heads_kv = dice.choice((1, 2, 4, 8))
        return cls(
            embed=256 * dice.randint(1, 6),
            forward=256 * dice.randint(1, 12),
            layers=dice.randint(2, 14),
            vocabulary=256 * dice.randint(4, 160),
            # of 256 elements at least, the block of a K quantization
            heads=max(heads_kv * dice.choice((1, 2, 4)), 4),
            heads_kv=heads_kv,
            head=dice.choice((64, 128)),
            kind=dice.choice(_QUANTS),
        )

    def model(self, arch: str, **keys: Any) -> Layout:
        model = Layout(arch, layers=self.layers, vocabulary=self.vocabulary)
        model.keys |= {
            "embedding_length": self.embed, "feed_forward_length": self.forward, "attention.head_count": self.heads,
            "attention.head_count_kv": self.heads_kv, "attention.key_length": self.head, "attention.value_length": self.head,
            "rope.dimension_count": self.head, **{key.replace("__", "."): value for key, value in keys.items()},
        }  # fmt: skip
        return model

    def ends(self, model: Layout, dice: random.Random) -> None:
        model.put("", {"token_embd": (self.embed, self.vocabulary), "output_norm": (self.embed,)}, self.kind)
        if dice.random() < 0.5:
            model.put("", {"output": (self.embed, self.vocabulary)}, dice.choice((self.kind, "Q6_K")))

    def attention(self) -> dict[str, tuple[int, ...]]:
        return {
            "attn_norm": (self.embed,), "attn_q": (self.embed, self.heads * self.head),
            "attn_k": (self.embed, self.heads_kv * self.head), "attn_v": (self.embed, self.heads_kv * self.head),
            "attn_output": (self.heads * self.head, self.embed),
        }  # fmt: skip

    def feeds(self) -> dict[str, tuple[int, ...]]:
        return {
            "ffn_norm": (self.embed,), "ffn_gate": (self.embed, self.forward), "ffn_up": (self.embed, self.forward),
            "ffn_down": (self.forward, self.embed),
        }  # fmt: skip

    def routes(self, count: int, width: int) -> dict[str, tuple[int, ...]]:
        return {
            "ffn_norm": (self.embed,), "ffn_gate_inp": (self.embed, count), "ffn_gate_exps": (self.embed, width, count),
            "ffn_up_exps": (self.embed, width, count), "ffn_down_exps": (width, self.embed, count),
        }  # fmt: skip


def _dense(dice: random.Random) -> Layout:
    size = _Size.of(dice)
    model = size.model("llama")
    size.ends(model, dice)
    for il in range(size.layers):
        model.put(f"blk.{il}.", {**size.attention(), **size.feeds()}, size.kind)
    return model


def _windowed(dice: random.Random) -> Layout:
    size = _Size.of(dice)
    model = size.model(dice.choice(("gemma2", "gemma3")), attention__sliding_window=256 * dice.randint(1, 8))
    model.put("", {"token_embd": (size.embed, size.vocabulary), "output_norm": (size.embed,)}, size.kind)
    norms: dict[str, tuple[int, ...]] = {"post_attention_norm": (size.embed,), "post_ffw_norm": (size.embed,)}
    if model.arch == "gemma3":
        norms |= {"attn_q_norm": (size.head,), "attn_k_norm": (size.head,)}
    for il in range(size.layers):
        model.put(f"blk.{il}.", {**size.attention(), **norms, **size.feeds()}, size.kind)
    return model


def _experts(dice: random.Random) -> Layout:
    size = _Size.of(dice)
    count, width = dice.choice((8, 16, 32)), 256 * dice.randint(1, 3)
    arch = dice.choice(("llama", "qwen3moe"))
    model = size.model(arch, expert_count=count, expert_used_count=dice.choice((2, 4, 8)))
    model.keys["feed_forward_length" if arch == "llama" else "expert_feed_forward_length"] = width
    size.ends(model, dice)
    norms = {"attn_q_norm": (size.head,), "attn_k_norm": (size.head,)} if arch == "qwen3moe" else {}
    for il in range(size.layers):
        model.put(f"blk.{il}.", {**size.attention(), **norms, **size.routes(count, width)}, size.kind)
    return model


def _latent(dice: random.Random) -> Layout:
    size = _Size.of(dice)
    rank, latent, rope, plain, value = 256, dice.choice((256, 512)), 64, dice.choice((32, 64)), dice.choice((32, 64))
    count, width = dice.choice((8, 16)), 256 * dice.randint(1, 2)
    model = size.model("deepseek2", expert_count=count, expert_used_count=dice.choice((2, 4)))
    model.keys |= {
        "attention.head_count_kv": 1, "attention.q_lora_rank": rank, "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rope, "attention.value_length": latent, "attention.key_length_mla": plain + rope,
        "attention.value_length_mla": value, "rope.dimension_count": rope, "expert_feed_forward_length": width,
        "expert_shared_count": 1, "leading_dense_block_count": 1, "expert_weights_scale": 2.5, "expert_gating_func": 2,
        "rope.scaling.yarn_log_multiplier": 0.1, "attention.temperature_scale": 0.1,
    }  # fmt: skip
    kind = "Q8_0" if size.kind not in {"F16", "Q8_0"} else size.kind
    model.put("", {"token_embd": (size.embed, size.vocabulary), "output_norm": (size.embed,)}, kind)
    model.put("", {"output": (size.embed, size.vocabulary)}, kind)
    heads = size.heads
    for il in range(size.layers):
        attention: dict[str, tuple[int, ...]] = {
            "attn_norm": (size.embed,), "attn_q_a_norm": (rank,), "attn_kv_a_norm": (latent,), "attn_q_a": (size.embed, rank),
            "attn_q_b": (rank, heads * (plain + rope)), "attn_kv_a_mqa": (size.embed, latent + rope),
            "attn_k_b": (plain, latent, heads), "attn_v_b": (latent, value, heads), "attn_output": (heads * value, size.embed),
        }  # fmt: skip
        shared: dict[str, tuple[int, ...]] = {
            "ffn_gate_shexp": (size.embed, width), "ffn_up_shexp": (size.embed, width), "ffn_down_shexp": (width, size.embed),
            "exp_probs_b.bias": (count,),
        }  # fmt: skip
        model.put(f"blk.{il}.", {**attention, **({**size.routes(count, width), **shared} if il else size.feeds())}, kind)
    return model


def _flags(dice: random.Random, layout: Layout) -> tuple[str, Settings, int]:
    """A command line, and what it is to the arithmetic."""
    words: list[str] = []
    known: dict[str, Any] = {"fit": False, "ctx_given": True, "gpu_layers": 0}
    cards = dice.choice((0, 1, 1, 2))

    def say(text: str, **settings: Any) -> None:
        words.append(text)
        known.update(settings)

    ctx = 256 * dice.randint(2, 64)
    say(f"-c {ctx}", ctx=ctx)
    if dice.random() < 0.6:
        slots = dice.randint(1, 4)
        say(f"-np {slots}", parallel=slots)
    ubatch = 512
    if dice.random() < 0.4:
        ubatch = dice.choice((64, 128, 256, 1024))
        say(f"-b {max(ubatch, 512)} -ub {ubatch}", batch=max(ubatch, 512), ubatch=ubatch)
    scores = 4 * _number(layout.keys, "attention.head_count") * ubatch * ctx
    if dice.random() < 0.25 and scores < _LARGEST:
        say("-fa off", flash_attn="off")
    elif dice.random() < 0.3 and layout.arch != "deepseek2":
        kind = dice.choice(("q8_0", "q4_0"))
        say(f"-ctk {kind} -ctv {kind} -fa on", cache_type_k=kind, cache_type_v=kind, flash_attn="on")
    if dice.random() < 0.3:
        mode = dice.choice(("none", "mmap+mlock"))
        say(f"--load-mode {mode}", load_mode=mode)
    if not cards:
        say("--device none", device_none=True)
        return " ".join(words), Settings(**known), cards
    layers = dice.choice((99, 99, dice.randint(0, layout.layers + 1)))
    say(f"-ngl {layers}", gpu_layers=layers)
    if dice.random() < 0.15:
        say("--no-kv-offload", kv_offload=False)
    if layout.keys.get("expert_count") and dice.random() < 0.5:
        some = dice.randint(1, layout.layers)
        say(f"--n-cpu-moe {some}", n_cpu_moe=some)
    elif dice.random() < 0.15:
        pattern = rf"blk\.[0-{dice.randint(0, 3)}]\.ffn"
        say(f"-ot {pattern}=CPU", overrides=((pattern, "CPU"),))
    if cards == 2 and dice.random() < 0.4:
        shares = (float(dice.randint(1, 4)), float(dice.randint(1, 4)))
        say(f"-ts {shares[0]:g},{shares[1]:g}", tensor_split=shares)
    return " ".join(words), Settings(**known), cards


def _number(keys: Mapping[str, Any], key: str) -> int:
    return int(keys[key])
