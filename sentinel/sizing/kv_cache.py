"""Size of the KV cache, as llama.cpp allocates it.

src/llama-kv-cache.cpp (constructor): for each layer one K tensor of ``n_embd_k_gqa x cells`` and one V tensor of
``n_embd_v_gqa x cells``, with ``n_embd_k_gqa = key_length * n_head_kv`` (src/llama-hparams.cpp), written with zeros at once, so
that all of it becomes resident. Cells are those of the whole context: the parts of the slots add up to it.
"""

from __future__ import annotations

from sentinel.model.labels import Unknown
from sentinel.sizing.shape import ModelShape

#: Architectures whose layers all have a plain cache: no sliding window, no recurrent state, no indexer, no layers that are
#: left out (src/models/*.cpp of b11434: neither swa_type nor nextn nor recurrent layers). For the rest the sum would be wrong.
PLAIN = frozenset(
    {
        "arcee", "bailingmoe", "baichuan", "command-r", "dbrx", "deepseek", "dots1", "ernie4_5", "ernie4_5-moe", "falcon",
        "gemma", "granite", "granitemoe", "grok", "hunyuan-dense", "hunyuan-moe", "internlm2", "llama", "minicpm",
        "minimax-m2", "mistral3", "nemotron", "olmo", "olmoe", "phi2", "qwen", "qwen2", "qwen2moe", "qwen3", "qwen3moe",
        "seed_oss", "smollm3", "stablelm", "starcoder", "starcoder2", "xverse",
    }
)  # fmt: skip
#: bytes and weights of a block (ggml/src/ggml-common.h); the types that -ctk and -ctv take (common/arg.cpp, kv_cache_types)
_TYPES = {
    "f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32), "q4_1": (20, 32),
    "q4_0": (18, 32), "iq4_nl": (18, 32),
}  # fmt: skip


def token_bytes(shape: ModelShape, type_k: str, type_v: str) -> tuple[int, ...] | Unknown:
    """Bytes that one token of context takes in each layer's cache. Recorded: 4 layers, K and V 128 wide, f16: 2048 in all."""
    k_type, v_type = _TYPES.get(type_k), _TYPES.get(type_v)
    if k_type is None or v_type is None:
        return Unknown(f"the size of the cache type {type_k if k_type is None else type_v!s:.20} is not known")
    if shape.rows:
        return tuple(k * k_type[0] // k_type[1] + v * v_type[0] // v_type[1] for k, v in shape.rows)
    if shape.arch not in PLAIN or shape.is_mla:
        return Unknown(f"how the architecture {shape.arch or '?':.40} lays out its KV cache is not known to sentinel")
    if shape.layers < 1 or len(shape.heads_kv) not in (1, shape.layers):
        return Unknown("the model file does not say how many layers and KV heads there are")
    head = shape.embed // shape.heads if shape.heads else 0
    k_length, v_length = shape.key_length or head, shape.value_length or head
    if not k_length or not v_length:
        return Unknown("the model file does not say how wide its attention heads are")
    heads = shape.heads_kv if len(shape.heads_kv) == shape.layers else shape.heads_kv * shape.layers
    return tuple(n * k_length * k_type[0] // k_type[1] + n * v_length * v_type[0] // v_type[1] for n in heads)


def least_context(asked: int, ctx_train: int, *, fit_floor_known: bool) -> int | Unknown:
    """The fewest tokens that the cache can have.

    What -c asks for is allocated in full. Without -c it is the training context or 4096, by the build, and --fit does not go
    below 4096 (common.h, fit_params_min_ctx) unless told to.
    """
    if asked > 0:
        return asked
    if not fit_floor_known:
        return Unknown("the context is fitted to memory with a limit of the user's own")
    return min(4096, ctx_train) if ctx_train > 0 else Unknown("neither -c nor the model file gives a context")
