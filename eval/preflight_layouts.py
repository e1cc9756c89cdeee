"""Models of every layout, written with the reference package as sparse files: headers and sizes are real, the weights are zeros.

Dimensions are small but of the proportions of real models. Tensors and their shapes follow src/models/*.cpp of llama.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gguf
import numpy

Value = int | float | bool | Sequence[int]
E, FF, VOCAB, LAYERS = 512, 1536, 4096, 6
HEADS, HEADS_KV, HEAD = 8, 2, 64


class Layout:
    """A model in the making. Dimensions in ggml's order: the contiguous one first."""

    def __init__(self, arch: str, *, layers: int = LAYERS, vocabulary: int = VOCAB, **keys: Value) -> None:
        self.arch, self.layers, self.vocabulary = arch, layers, vocabulary
        defaults: dict[str, Value] = {
            "block_count": layers, "context_length": 32768, "embedding_length": E, "feed_forward_length": FF,
            "attention.head_count": HEADS, "attention.head_count_kv": HEADS_KV, "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.key_length": HEAD, "attention.value_length": HEAD, "rope.dimension_count": HEAD,
        }  # fmt: skip
        self.keys = defaults | {key.replace("__", "."): value for key, value in keys.items()}
        self.tensors: list[tuple[str, tuple[int, ...], str]] = []

    def put(self, prefix: str, shapes: Mapping[str, tuple[int, ...]], kind: str = "F16") -> None:
        """Matrices in one type, vectors in F32, as converters write them."""
        for name, dims in shapes.items():
            whole = (
                f"{prefix}{name}"
                if name.endswith((".bias", "ssm_a", "ssm_d")) or (self.arch == "falcon-h1" and name == "ffn_norm")
                else f"{prefix}{name}.weight"
            )
            small = len(dims) < 2 or "conv1d" in name or (name.startswith("ssm_") and dims[0] < 32) or "gate_inp" in name
            self.tensors.append((whole, dims, "F32" if small else kind))

    def ends(self, *, tied: bool, kind: str = "F16", norm: str = "output_norm") -> None:
        self.put("", {"token_embd": (E, self.vocabulary), norm: (E,)}, kind)
        if not tied:
            self.put("", {"output": (E, self.vocabulary)}, kind)

    def write(self, path: Path) -> Path:
        """Write the header; the data is a hole."""
        writer = gguf.GGUFWriter(path, self.arch)
        for key, value in self.keys.items():
            name = f"{self.arch}.{key}"
            if isinstance(value, bool):
                writer.add_bool(name, value)
            elif isinstance(value, int):
                writer.add_uint32(name, value)
            elif isinstance(value, float):
                writer.add_float32(name, value)
            else:
                writer.add_array(name, list(value))
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        tokens += [f"▁t{n}" for n in range(self.vocabulary - len(tokens))]
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0] * len(tokens))
        writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        for name, dims, kind in self.tensors:
            quant = gguf.GGMLQuantizationType[kind]
            block, size = gguf.GGML_QUANT_SIZES[quant]
            assert dims[0] % block == 0, (name, dims, kind)
            # a byte shape for quantized types, as GGUFWriter wants it
            shape = [*reversed(dims[1:]), dims[0] // block * size] if block > 1 else [*reversed(dims)]
            dtype = {"F32": numpy.float32, "F16": numpy.float16}.get(kind, numpy.uint8)
            if kind == "BF16":
                shape = [*reversed(dims[1:]), dims[0] * 2]
            writer.add_tensor_info(name, shape, numpy.dtype(dtype), _bytes(dims, kind), raw_dtype=quant)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        end = sum(-(-(_bytes(dims, kind)) // 32) * 32 for _, dims, kind in self.tensors)
        start = -(-path.stat().st_size // 32) * 32
        with path.open("r+b") as file:
            file.truncate(start + end)
        return path


def _bytes(dims: tuple[int, ...], kind: str) -> int:
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return math.prod(dims) // block * size


def _attention(heads: int = HEADS, heads_kv: int = HEADS_KV, head: int = HEAD) -> dict[str, tuple[int, ...]]:
    return {
        "attn_norm": (E,), "attn_q": (E, heads * head), "attn_k": (E, heads_kv * head), "attn_v": (E, heads_kv * head),
        "attn_output": (heads * head, E),
    }  # fmt: skip


def _forward(ff: int = FF) -> dict[str, tuple[int, ...]]:
    return {"ffn_norm": (E,), "ffn_gate": (E, ff), "ffn_up": (E, ff), "ffn_down": (ff, E)}


def _experts(count: int, ff: int, shared: int = 0) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "ffn_gate_inp": (E, count), "ffn_gate_exps": (E, ff, count), "ffn_up_exps": (E, ff, count),
        "ffn_down_exps": (ff, E, count),
    }  # fmt: skip
    if shared:
        shapes |= {"ffn_gate_shexp": (E, shared), "ffn_up_shexp": (E, shared), "ffn_down_shexp": (shared, E)}
    return shapes


def _dense(
    arch: str,
    *,
    tied: bool,
    kind: str = "F16",
    more: Mapping[str, tuple[int, ...]] | None = None,
    layers: int = LAYERS,
    **keys: Value,
) -> Layout:
    model = Layout(arch, layers=layers)
    model.keys |= {key.replace("__", "."): value for key, value in keys.items()}
    model.ends(tied=tied, kind=kind)
    for il in range(model.layers):
        model.put(f"blk.{il}.", {**_attention(), **_forward(), **(more or {})}, kind)
    return model


def llama() -> Layout:
    """Grouped heads, an output matrix of its own, shared rope factors."""
    model = _dense("llama", tied=False)
    model.put("", {"rope_freqs": (HEAD // 2,)})
    return model


def llama_tied() -> Layout:
    """As many KV heads as heads, embeddings used twice, Q8_0, a larger vocabulary."""
    model = Layout("llama", vocabulary=32000, attention__head_count_kv=HEADS)
    model.ends(tied=True, kind="Q8_0")
    for il in range(model.layers):
        model.put(f"blk.{il}.", {**_attention(heads_kv=HEADS), **_forward()}, "Q8_0")
    return model


def llama_mixed() -> Layout:
    """Types that differ by tensor, as in a Q4_K_M."""
    model = Layout("llama")
    model.put("", {"token_embd": (E, VOCAB)}, "Q4_K")
    model.put("", {"output": (E, VOCAB), "output_norm": (E,)}, "Q6_K")
    for il in range(model.layers):
        shapes = {**_attention(), **_forward()}
        six = {name: dims for name, dims in shapes.items() if name in {"attn_v", "ffn_down"} and il % 2}
        model.put(f"blk.{il}.", {name: dims for name, dims in shapes.items() if name not in six}, "Q4_K")
        model.put(f"blk.{il}.", six, "Q6_K")
    return model


def llama_moe() -> Layout:
    """Eight experts, two used (Mixtral)."""
    model = Layout("llama", expert_count=8, expert_used_count=2, feed_forward_length=768)
    model.ends(tied=False)
    for il in range(model.layers):
        model.put(f"blk.{il}.", {**_attention(), "ffn_norm": (E,), **_experts(8, 768)}, "Q8_0")
    return model


def gemma3() -> Layout:
    """A sliding window in five layers of six."""
    more = {"post_attention_norm": (E,), "post_ffw_norm": (E,), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
    return _dense("gemma3", tied=True, more=more, layers=12, attention__sliding_window=512)


def gemma2() -> Layout:
    """A sliding window in every second layer."""
    more = {"post_attention_norm": (E,), "post_ffw_norm": (E,)}
    return _dense("gemma2", tied=True, more=more, attention__sliding_window=1024)


def gpt_oss() -> Layout:
    """A short window, attention sinks, MXFP4 experts with biases."""
    model = Layout("gpt-oss", expert_count=16, expert_used_count=4, attention__sliding_window=128, expert_feed_forward_length=512)
    model.ends(tied=False)
    for il in range(model.layers):
        shapes = {
            **_attention(), "post_attention_norm": (E,), "attn_sinks": (HEADS,), "attn_output.bias": (E,),
            "attn_q.bias": (HEADS * HEAD,), "attn_k.bias": (HEADS_KV * HEAD,), "attn_v.bias": (HEADS_KV * HEAD,),
            "ffn_gate_inp.bias": (16,), "ffn_gate_exps.bias": (512, 16), "ffn_up_exps.bias": (512, 16),
            "ffn_down_exps.bias": (E, 16),
        }  # fmt: skip
        model.put(f"blk.{il}.", {k: v for k, v in shapes.items() if not k.endswith("exps.bias")})
        model.put(f"blk.{il}.", {k: v for k, v in shapes.items() if k.endswith("exps.bias")}, "F32")
        model.put(f"blk.{il}.", _experts(16, 512), "MXFP4")
    return model


def qwen2moe() -> Layout:
    """Small experts and a shared one, biases."""
    model = Layout("qwen2moe", expert_count=16, expert_used_count=4, expert_feed_forward_length=256)
    model.keys |= {"expert_shared_feed_forward_length": 1024}
    model.ends(tied=False, kind="Q8_0")
    bias = {"attn_q.bias": (E,), "attn_k.bias": (HEADS_KV * HEAD,), "attn_v.bias": (HEADS_KV * HEAD,)}
    for il in range(model.layers):
        shapes = {**_attention(), **bias, "ffn_norm": (E,), **_experts(16, 256, 1024), "ffn_gate_inp_shexp": (E,)}
        model.put(f"blk.{il}.", shapes, "Q8_0")
    return model


def qwen3moe() -> Layout:
    """Experts in every layer, heads wider than the embeddings suggest."""
    model = Layout("qwen3moe", expert_count=32, expert_used_count=8, expert_feed_forward_length=256)
    model.keys |= {"attention.key_length": 128, "attention.value_length": 128, "rope.dimension_count": 128}
    model.ends(tied=False, kind="Q4_0")
    for il in range(model.layers):
        norms = {"attn_q_norm": (128,), "attn_k_norm": (128,), "ffn_norm": (E,)}
        model.put(f"blk.{il}.", {**_attention(head=128), **norms, **_experts(32, 256)}, "Q4_0")
    return model


_MLA: dict[str, Value] = {
    "attention.head_count_kv": 1, "attention.q_lora_rank": 256, "attention.kv_lora_rank": 512, "attention.key_length": 576,
    "attention.value_length": 512, "attention.key_length_mla": 96, "attention.value_length_mla": 64, "rope.dimension_count": 64,
    "expert_count": 16, "expert_used_count": 4, "expert_feed_forward_length": 256, "expert_shared_count": 1,
    "leading_dense_block_count": 1, "expert_weights_scale": 2.5, "expert_gating_func": 2,
}  # fmt: skip


def _latent(layers: int = LAYERS) -> dict[str, tuple[int, ...]]:
    return {
        "attn_norm": (E,), "attn_q_a_norm": (256,), "attn_kv_a_norm": (512,), "attn_q_a": (E, 256), "attn_q_b": (256, HEADS * 96),
        "attn_kv_a_mqa": (E, 576), "attn_k_b": (32, 512, HEADS), "attn_v_b": (512, 64, HEADS), "attn_output": (HEADS * 64, E),
        "ffn_norm": (E,),
    }  # fmt: skip


def deepseek2() -> Layout:
    """Latent attention with experts after a dense layer."""
    model = Layout("deepseek2")
    model.keys |= _MLA
    model.keys |= {"rope.scaling.yarn_log_multiplier": 0.1, "attention.temperature_scale": 0.1}
    model.ends(tied=False, kind="Q8_0")
    for il in range(model.layers):
        forward = _experts(16, 256, 256) | {"exp_probs_b.bias": (16,)} if il else _forward()
        model.put(f"blk.{il}.", {**_latent(), **forward}, "Q8_0")
    return model


def glm_dsa() -> Layout:
    """GLM-5: latent attention with an indexer that has a cache of its own."""
    model = Layout("glm-dsa")
    model.keys |= _MLA
    model.keys |= {"attention.indexer.head_count": 4, "attention.indexer.key_length": 128, "attention.indexer.top_k": 256}
    model.ends(tied=False, kind="Q8_0")
    indexer = {
        "indexer.k_norm": (128,), "indexer.k_norm.bias": (128,), "indexer.proj": (E, 4), "indexer.attn_k": (E, 128),
        "indexer.attn_q_b": (256, 512),
    }  # fmt: skip
    for il in range(model.layers):
        forward = _experts(16, 256, 256) | {"exp_probs_b.bias": (16,)} if il else _forward()
        model.put(f"blk.{il}.", {**_latent(), **indexer, **forward}, "Q8_0")
    return model


def glm4moe() -> Layout:
    """GLM-4.5: experts, and a last layer that predicts further tokens."""
    model = Layout("glm4moe", layers=LAYERS + 1, nextn_predict_layers=1, expert_count=16, expert_used_count=4)
    model.keys |= {"expert_feed_forward_length": 256, "expert_shared_count": 1, "leading_dense_block_count": 1}
    model.keys |= {"expert_weights_scale": 1.0, "expert_gating_func": 2}
    model.ends(tied=False, kind="Q8_0")
    for il in range(model.layers):
        norms = {"post_attention_norm": (E,), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
        forward = _experts(16, 256, 256) | {"exp_probs_b.bias": (16,)} if il else _forward()
        forward.pop("ffn_norm", None)
        model.put(f"blk.{il}.", {**_attention(), **norms, **forward}, "Q8_0")
    last = f"blk.{model.layers - 1}.nextn."
    model.put(last, {"eh_proj": (2 * E, E), "enorm": (E,), "hnorm": (E,), "shared_head_norm": (E,)}, "Q8_0")
    return model


def _mamba(inner: int = 2 * E, state: int = 16, rank: int = 32) -> dict[str, tuple[int, ...]]:
    return {
        "attn_norm": (E,), "ssm_in": (E, 2 * inner), "ssm_conv1d": (4, inner), "ssm_conv1d.bias": (inner,),
        "ssm_x": (inner, rank + 2 * state), "ssm_dt": (rank, inner), "ssm_dt.bias": (inner,),
        "ssm_a": (state, inner), "ssm_d": (inner,), "ssm_out": (inner, E),
    }  # fmt: skip


_SSM: dict[str, Value] = {"ssm.conv_kernel": 4, "ssm.inner_size": 2 * E, "ssm.state_size": 16, "ssm.time_step_rank": 32}


def mamba() -> Layout:
    """Recurrent in every layer."""
    model = Layout("mamba")
    model.keys = {
        key: value for key, value in model.keys.items() if not key.startswith(("attention.head", "attention.key", "rope"))
    }
    model.keys = {key: value for key, value in model.keys.items() if key != "attention.value_length"} | _SSM
    model.keys |= {"attention.head_count": 0, "feed_forward_length": 0}
    model.keys.pop("attention.head_count_kv", None)
    model.ends(tied=True)
    for il in range(model.layers):
        model.put(f"blk.{il}.", _mamba())
    return model


def jamba() -> Layout:
    """Attention in every third layer, recurrent in the others; experts in every second."""
    kv = [HEADS_KV if il % 3 == 2 else 0 for il in range(LAYERS)]
    model = Layout("jamba", attention__head_count_kv=kv, expert_count=4, expert_used_count=2)
    model.keys |= _SSM
    model.ends(tied=False)
    for il in range(model.layers):
        norms = {"ssm_dt_norm": (32,), "ssm_b_norm": (16,), "ssm_c_norm": (16,)}
        shapes = _attention() if kv[il] else {**_mamba(), **norms}
        forward = _experts(4, FF) | {"ffn_norm": (E,)} if il % 2 else _forward()
        model.put(f"blk.{il}.", {**shapes, **forward})
    return model


def falcon_h1() -> Layout:
    """Attention and a recurrent state in every layer."""
    model = Layout("falcon-h1")
    model.keys |= {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 1024,
        "ssm.state_size": 64,
        "ssm.time_step_rank": 16,
        "ssm.group_count": 1,
    }
    model.ends(tied=True)
    conv = 1024 + 2 * 64
    for il in range(model.layers):
        shapes = {
            **_attention(), **_forward(), "ssm_in": (E, 1024 + conv + 16), "ssm_conv1d": (4, conv), "ssm_conv1d.bias": (conv,),
            "ssm_dt.bias": (16,), "ssm_a": (1, 16), "ssm_d": (1, 16), "ssm_norm": (1024, 1), "ssm_out": (1024, E),
        }  # fmt: skip
        model.put(f"blk.{il}.", {k: v for k, v in shapes.items() if k not in {"ssm_norm", "ssm_a", "ssm_d"}})
        model.put(f"blk.{il}.", {k: v for k, v in shapes.items() if k in {"ssm_norm", "ssm_a", "ssm_d"}}, "F32")
    return model


def lfm2() -> Layout:
    """Short convolutions, attention in every third layer."""
    kv = [HEADS_KV if il % 3 == 2 else 0 for il in range(LAYERS)]
    model = Layout("lfm2", attention__head_count_kv=kv, shortconv__l_cache=3, leading_dense_block_count=LAYERS)
    model.ends(tied=True, norm="token_embd_norm")
    for il in range(model.layers):
        if kv[il]:
            shapes = {**_attention(), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
        else:
            shapes = {"attn_norm": (E,), "shortconv.in_proj": (E, 3 * E), "shortconv.out_proj": (E, E)}
            model.put(f"blk.{il}.", {"shortconv.conv": (3, E)}, "F32")
        model.put(f"blk.{il}.", {**shapes, **_forward()})
    return model


def qwen3next() -> Layout:
    """A gated delta net, attention in every fourth layer, experts in all."""
    model = Layout("qwen3next", layers=8, expert_count=16, expert_used_count=4, expert_feed_forward_length=256)
    model.keys |= {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 512,
        "ssm.state_size": 64,
        "ssm.time_step_rank": 8,
        "ssm.group_count": 4,
    }
    model.keys |= {"expert_shared_feed_forward_length": 256, "full_attention_interval": 4}
    model.ends(tied=False)
    key, value = 64 * 4, 64 * 8
    for il in range(model.layers):
        if (il + 1) % 4 == 0:
            shapes = {**_attention(), "attn_q": (E, 2 * HEADS * HEAD), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,)}
        else:
            shapes = {
                "attn_norm": (E,), "attn_qkv": (E, 2 * key + value), "attn_gate": (E, value), "ssm_conv1d": (4, 2 * key + value),
                "ssm_dt.bias": (8,), "ssm_a": (8,), "ssm_ba": (E, 16), "ssm_norm": (64,), "ssm_out": (value, E),
            }  # fmt: skip
        more = {"post_attention_norm": (E,), **_experts(16, 256, 256), "ffn_gate_inp_shexp": (E,)}
        model.put(f"blk.{il}.", {**shapes, **more})
    return model


def openelm() -> Layout:
    """Heads and feed-forward lengths that grow from layer to layer, embeddings used twice."""
    heads, kv, ff = [4, 4, 8, 8, 12, 12], [1, 1, 2, 2, 3, 3], [512, 768, 1024, 1280, 1536, 1792]
    model = Layout("openelm", attention__head_count=heads, attention__head_count_kv=kv, feed_forward_length=ff)
    model.ends(tied=True)
    for il in range(model.layers):
        shapes = {
            "attn_norm": (E,), "attn_qkv": (E, (2 * kv[il] + heads[il]) * HEAD), "attn_q_norm": (HEAD,), "attn_k_norm": (HEAD,),
            "attn_output": (heads[il] * HEAD, E),
        }  # fmt: skip
        model.put(f"blk.{il}.", {**shapes, **_forward(ff[il])})
    return model


def deci() -> Layout:
    """Layers of other KV heads, one without attention, one with a matrix in its place."""
    heads, kv = [8, 8, 8, 0, 8, 8], [2, 4, 0, 0, 8, 2]
    model = Layout("deci", attention__head_count=heads, attention__head_count_kv=kv, feed_forward_length=[FF] * 6)
    model.ends(tied=False)
    for il in range(model.layers):
        if kv[il]:
            model.put(f"blk.{il}.", _attention(heads[il], kv[il]))
        elif heads[il]:
            model.put(f"blk.{il}.", {"attn_norm": (E,), "attn_output": (E, E)})
        model.put(f"blk.{il}.", _forward())
    return model


LAYOUTS: Mapping[str, Callable[[], Layout]] = {
    make.__name__: make
    for make in (
        llama, llama_tied, llama_mixed, llama_moe, gemma3, gemma2, gpt_oss, qwen2moe, qwen3moe, deepseek2, glm_dsa, glm4moe,
        mamba, jamba, falcon_h1, lfm2, qwen3next, openelm, deci,
    )
}  # fmt: skip
