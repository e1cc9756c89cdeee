"""How each architecture caches its context: which layers have a KV cache, a sliding window, a recurrent state.

Facts from src/models/*.cpp (load_arch_hparams) and src/llama-model.cpp (create_memory) of b11434. An architecture that is not
listed is unknown: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.llama.flags import NEWEST
from sentinel.llama.model import Model
from sentinel.model.entity import Unknown

#: Every layer has its own cache, all of one kind.
PLAIN = frozenset(
    {
        "apertus", "arcee", "arctic", "baichuan", "bailingmoe", "bailingmoe2", "bitnet", "bloom", "chameleon", "chatglm",
        "codeshell", "cogvlm", "command-r", "dbrx", "deci", "deepseek", "deepseek2", "deepseek2-ocr", "dots1", "ernie4_5",
        "ernie4_5-moe", "exaone", "falcon", "gemma", "glm4", "glm4moe", "gpt2", "gptneox", "granite", "granitemoe", "grok",
        "grovemoe", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "internlm2", "jais", "jais2", "llama", "llama-embed",
        "maincoder", "minicpm", "minicpm3", "minimax-m2", "mistral3", "mistral4", "mpt", "nemotron", "olmo", "olmoe",
        "openelm", "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe", "plamo", "plm", "qwen", "qwen2",
        "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "refact", "seed_oss", "smollm3", "stablelm",
        "starcoder", "starcoder2", "xverse",
    }
)  # fmt: skip
#: Nothing is kept between batches (create_memory returns null).
WITHOUT_CACHE = frozenset(
    {
        "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada", "llada-moe", "modern-bert",
        "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1", "wavtokenizer-dec",
    }
)  # fmt: skip
#: No attention at all (llm_arch_is_recurrent).
RECURRENT = frozenset({"arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"})
#: Layers without KV heads are recurrent.
_BY_HEADS = frozenset({"granitehybrid", "jamba", "kimi-linear", "lfm2", "lfm2moe", "plamo2"})
#: Every `full_attention_interval`-th layer attends, the others are recurrent.
_BY_INTERVAL = frozenset({"qwen35", "qwen35moe", "qwen3next"})
#: A second cache for the keys of the indexer.
_INDEXED = frozenset({"deepseek32", "glm-dsa"})


@dataclass(frozen=True, slots=True)
class _Window:
    """A sliding window in all but every `pattern`-th layer. `size` 0: from the file; without it no window, or Unknown."""

    pattern: int
    dense_first: bool = False
    size: int = 0
    optional: bool = False


_WINDOWS: Mapping[str, _Window] = {
    "afmoe": _Window(4, optional=True),
    "cohere2": _Window(4),
    "cohere2moe": _Window(4, dense_first=True),
    "exaone-moe": _Window(4, size=128),
    "gemma2": _Window(2, size=4096),
    "gemma3": _Window(6, optional=True),
    "gemma3n": _Window(5),
    "gemma4": _Window(0),
    "gpt-oss": _Window(2),
    "granite_swa": _Window(0),
    "laguna": _Window(4, dense_first=True, optional=True),
    "maple": _Window(0),
    "mellum": _Window(4, optional=True),
    "mimo2": _Window(0),
    "muse-glimmer": _Window(4),
    "olmo2": _Window(4, optional=True),
    "plamo3": _Window(8, optional=True),
    "spark2_5": _Window(0),
    "step35": _Window(0),
}
#: with rules of their own below
_OWN = frozenset({"exaone4", "falcon-h1", "llama4", "nemotron_h", "nemotron_h_moe", "smallthinker"})
#: Of b11434 and b11549: their caches are not computed here. The architectures in the last line cannot be served by themselves.
NOT_COMPUTED = frozenset(
    {
        "bailingmoe3", "deepseek4", "dots3note", "gemma-embedding2", "glm5-next", "gptj", "graniteswitch", "hrm_text", "hy_v3",
        "hy_v4", "k2-horizon", "kimi-k3", "minimax-01", "minimax-m3", "nanbeige", "qwen4exp", "t5", "talkie",
        "clef", "clip", "dflash", "eagle3", "gemma4-assistant", "pockettts", "qwen3tts", "t5encoder",
    }
)  # fmt: skip
#: All architectures that are computed here.
COMPUTED = PLAIN | WITHOUT_CACHE | RECURRENT | _BY_HEADS | _BY_INTERVAL | _INDEXED | frozenset(_WINDOWS) | _OWN


@dataclass(frozen=True, slots=True)
class LayerCache:
    """The cache of one layer: elements per token of K and V, and bytes per sequence of recurrent state."""

    attends: bool = False
    k: int = 0
    v: int = 0
    windowed: bool = False
    recurrent_bytes: int = 0
    #: keys of the indexer, elements per token
    index: int = 0
    #: it predicts further tokens (nextn): whether it has a cache depends on the build
    further: bool = False


@dataclass(frozen=True, slots=True)
class Caches:
    """`window` in tokens, 0 for none. `widest_v`: if V differs by layer, all use this one without flash attention; else 0."""

    layers: tuple[LayerCache, ...]
    window: int = 0
    widest_v: int = 0

    @property
    def recurrent(self) -> bool:
        return any(layer.recurrent_bytes for layer in self.layers)


def caches(model: Model) -> Caches | Unknown:
    """The caches of a model by layer, or why they are unknown."""
    arch, count = model.arch, model.layers
    if not 1 <= count <= 4096:
        return Unknown("the model file does not say how many layers there are")
    if arch in WITHOUT_CACHE:
        return Caches((LayerCache(),) * count)
    if arch not in COMPUTED:
        return Unknown(_why_not(arch))
    heads = model.per_layer("attention.head_count")
    heads_kv = model.per_layer("attention.head_count_kv") if model.given("attention.head_count_kv") else heads
    if not heads or not heads_kv:
        return Unknown("the model file gives numbers of attention heads for other than its layers")
    window = _window(model)
    recurrent = _recurrent(model, heads_kv)
    if isinstance(window, Unknown):
        return window
    if isinstance(recurrent, Unknown):
        return recurrent
    size, windowed = window
    mla = model.number("attention.key_length_mla") > 0 and model.number("attention.value_length_mla") > 0
    head = model.number("embedding_length") // heads[0] if heads[0] else 0
    k_full, v_full = model.number("attention.key_length", head), model.number("attention.value_length", head)
    k_window, v_window = model.number("attention.key_length_swa", k_full), model.number("attention.value_length_swa", v_full)
    attends = _attends(model, heads_kv, recurrent)
    if any(attends) and not k_full:
        return Unknown("the model file does not say how wide its attention heads are")
    state = _state_bytes(model, heads) if any(recurrent) else 0
    if isinstance(state, Unknown):
        return state
    v_of = [(v_window if windowed[il] else v_full) * heads_kv[il] for il in range(count)]
    layers = tuple(
        LayerCache(
            attends=attends[il],
            k=(k_window if windowed[il] else k_full) * heads_kv[il] if attends[il] else 0,
            v=v_of[il] if attends[il] and not mla else 0,
            windowed=windowed[il],
            recurrent_bytes=state if recurrent[il] else 0,
            index=_index(model, il),
            further=attends[il] and il >= count - model.nextn,
        )
        for il in range(count)
    )
    variable = len(set(v_of)) > 1 and not mla
    return Caches(layers, size, max(v_of) if variable else 0)


def _why_not(arch: str) -> str:
    if arch in NOT_COMPUTED:
        return f"sentinel cannot compute the caches of the architecture {arch}"
    return f"the architecture {arch or '?':.40} is none of those that sentinel knows, up to b{NEWEST} of llama.cpp"


def _window(model: Model) -> tuple[int, tuple[bool, ...]] | Unknown:
    """The window in tokens, and the layers that have it."""
    count, trunk = model.layers, model.layers - model.nextn
    none = 0, (False,) * count
    given = model.number("attention.sliding_window")
    rule = _WINDOWS.get(model.arch)
    if model.arch == "llama4":
        # chunks, not a window: always 8192 (models/llama4.cpp)
        rule = None if model.given("attention.sliding_window") and not given else _Window(4, size=8192)
        given = 0
    elif model.arch == "exaone4":
        rule = _Window(4, size=4096) if count - model.nextn == 64 else None
    elif model.arch == "smallthinker":
        rule = _Window(4, dense_first=True, size=4096) if given else None
        given = 0
    elif model.arch in {"lfm2", "lfm2moe"} and given:
        return given, tuple(heads != 0 for heads in model.per_layer("attention.head_count_kv"))
    if rule is None or (rule.optional and not given):
        return none
    size = given or rule.size
    if not size:
        return Unknown("the model file does not say how long its sliding window is")
    pattern = model.metadata.get(f"{model.arch}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        if len(pattern) < trunk:
            return Unknown("the model file gives a sliding-window pattern for other than its layers")
        return size, tuple(bool(pattern[il]) if il < len(pattern) else False for il in range(count))
    period = pattern if isinstance(pattern, int) and not isinstance(pattern, bool) else rule.pattern
    if period == 0 and rule.pattern == 0:
        return Unknown("the model file does not say which layers have a sliding window")
    return size, tuple(il < trunk and _in_window(il, period, rule.dense_first) for il in range(count))


def _in_window(il: int, period: int, dense_first: bool) -> bool:
    """src/llama-hparams.cpp, set_swa_pattern."""
    if period == 0:
        return True
    return il % period != 0 if dense_first else il % period < period - 1


def _recurrent(model: Model, heads_kv: tuple[int, ...]) -> tuple[bool, ...] | Unknown:
    count, trunk = model.layers, model.layers - model.nextn
    if model.arch in RECURRENT or model.arch == "falcon-h1":
        return (True,) * count
    if model.arch in _BY_HEADS:
        return tuple(heads == 0 for heads in heads_kv)
    if model.arch in {"nemotron_h", "nemotron_h_moe"}:
        forward = model.per_layer("feed_forward_length")
        if not forward:
            return Unknown("the model file gives feed-forward lengths for other than its layers")
        return tuple(il < trunk and heads_kv[il] == 0 and forward[il] == 0 for il in range(count))
    if model.arch in _BY_INTERVAL:
        written = model.metadata.get(f"{model.arch}.attention.recurrent_layers")
        if isinstance(written, tuple):
            return tuple(bool(written[il]) if il < len(written) else False for il in range(count))
        interval = model.number("full_attention_interval", 4) or 4
        return tuple(il < trunk and (il + 1) % interval != 0 for il in range(count))
    return (False,) * count


def _attends(model: Model, heads_kv: tuple[int, ...], recurrent: tuple[bool, ...]) -> tuple[bool, ...]:
    """Layers with their own KV cache."""
    count = model.layers
    trunk = model.layers - model.nextn
    if model.arch in RECURRENT:
        return (False,) * count
    if model.arch == "falcon-h1":
        return (True,) * count
    if model.arch in {"nemotron_h", "nemotron_h_moe"}:
        forward = model.per_layer("feed_forward_length")
        return tuple(il < trunk and not recurrent[il] and not forward[il] for il in range(count))
    # hybrid architectures and indexers leave out the layers that predict further tokens
    own = trunk if model.arch in _BY_INTERVAL or model.arch in _INDEXED else count
    if model.arch == "gemma3n":
        # models/gemma3n.cpp, n_layer_kv_from_start: later layers read the caches of these
        own = 20
    elif model.arch == "gemma4":
        own = count - model.number("attention.shared_kv_layers")
    return tuple(il < own and not recurrent[il] for il in range(count))


def _state_bytes(model: Model, heads: tuple[int, ...]) -> int | Unknown:
    """Bytes of recurrent state per layer and sequence, in F32 (src/llama-hparams.cpp, n_embd_r and n_embd_s)."""
    embed = model.number("embedding_length")
    if wkv := model.number("wkv.head_size"):
        shift = model.number("token_shift_count", 2)
        return 4 * (shift * embed + embed * wkv)
    if conv := model.number("shortconv.l_cache"):
        return 4 * (embed * (conv - 1) + model.number("ssm.state_size") * model.number("ssm.inner_size"))
    kernel = model.number("ssm.conv_kernel")
    if kda := model.number("kda.head_dim"):
        inner = heads[0] * kda
        return 4 * (3 * (kernel - 1 if kernel else 3) * inner + kda * kda * heads[0])
    inner, state = model.number("ssm.inner_size"), model.number("ssm.state_size")
    if not inner or not state:
        return Unknown("the model file does not say how large its recurrent state is")
    groups = model.number("ssm.group_count")
    return 4 * (max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner)


def _index(model: Model, il: int) -> int:
    """Keys of the sparse attention's indexer, one head (src/llama-kv-cache-dsa.cpp)."""
    if model.arch not in _INDEXED or il >= model.layers - model.nextn:
        return 0
    if model.arch == "glm-dsa":
        written = model.metadata.get(f"{model.arch}.attention.indexer.types")
        if isinstance(written, tuple) and il < len(written) and not written[il]:
            return 0
        if not isinstance(written, tuple) and model.number("context_length") >= 1 << 20 and il > 2 and (il - 2) % 4 != 0:
            # GLM-5.2 shares an indexer between four layers (models/glm-dsa.cpp)
            return 0
    return model.number("attention.indexer.key_length")
