"""The length of the context, and the size of its caches in bytes (src/llama-context.cpp, src/llama-kv-cache*.cpp)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sentinel.llama.architectures import Caches
from sentinel.llama.settings import AUTO_SLOTS, HOST, Settings
from sentinel.model.entity import Unknown

#: bytes and weights of a block (ggml/src/ggml-common.h); the types that -ctk and -ctv take (common/arg.cpp, kv_cache_types)
CACHE_TYPES: Mapping[str, tuple[int, int]] = {
    "f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32), "q4_1": (20, 32),
    "q4_0": (18, 32), "iq4_nl": (18, 32),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """Tokens. `streams` caches of `per_stream` tokens each: one for all slots, or one per slot."""

    total: int
    per_stream: int
    streams: int
    slots: int
    ubatch: int

    def window(self, tokens: int, *, full: bool = False) -> int:
        """Cells of a cache with a sliding window (src/llama-kv-cache-iswa.cpp)."""
        sequences = self.slots if self.streams == 1 else 1
        return self.per_stream if full else pad(min(self.per_stream, tokens * sequences + self.ubatch), 256)


def context(settings: Settings, trained: int) -> Context | Unknown:
    """The context that the flags result in (src/llama-context.cpp, the constructor)."""
    asked = settings.ctx if settings.ctx > 0 else trained
    if asked <= 0:
        return Unknown("neither -c nor the model file gives a context")
    slots = settings.parallel if settings.parallel > 0 else AUTO_SLOTS
    unified = settings.parallel <= 0 if settings.kv_unified is None else settings.kv_unified
    total = pad(asked, 256)
    per_stream = total if unified else pad(total // slots, 256)
    streams = 1 if unified else slots
    total = per_stream * streams
    # before the context is rounded
    batch = min(asked, settings.batch)
    return Context(total, per_stream, streams, slots, min(batch, settings.ubatch or batch))


def pad(number: int, to: int) -> int:
    return -(-number // to) * to


@dataclass(frozen=True, slots=True)
class CacheBytes:
    """By place. `further`: for layers that predict further tokens, if a build keeps a cache for them."""

    kv: dict[str, int]
    recurrent: dict[str, int]
    further: dict[str, int]
    #: a checkpoint of one slot, at most
    checkpoint_bytes: int = 0
    #: what a device copies of the host's caches to compute with them: one layer's, and half of the next
    host_layers_bytes: int = 0


def cache_bytes(shape: Caches, settings: Settings, ctx: Context, places: Sequence[str], *, flash: bool) -> CacheBytes | Unknown:
    """KV caches and recurrent states by place."""
    k_type, v_type = CACHE_TYPES.get(settings.cache_type_k), CACHE_TYPES.get(settings.cache_type_v)
    if k_type is None or v_type is None:
        odd = settings.cache_type_k if k_type is None else settings.cache_type_v
        return Unknown(f"the size of the cache type {odd:.20}")
    window = ctx.window(shape.window, full=settings.swa_full)
    kv: dict[str, int] = {}
    further: dict[str, int] = {}
    recurrent: dict[str, int] = {}
    checkpoint = 0
    on_host: list[int] = []
    for il, layer in enumerate(shape.layers):
        place = places[il] if settings.kv_offload else HOST
        v = shape.widest_v if shape.widest_v and not flash and layer.attends else layer.v
        token = _row(layer.k, k_type) + _row(v, v_type) + _row(layer.index, k_type)
        if token:
            cells = (window if layer.windowed else ctx.per_stream) * ctx.streams
            into = further if layer.further else kv
            into[place] = into.get(place, 0) + token * cells
            if place == HOST:
                # latent attention keeps no V: its keys are copied once more in its place
                on_host.append(token * cells * (1 if v else 2))
            if layer.windowed:
                checkpoint += token * min(window, shape.window + ctx.ubatch)
        if layer.recurrent_bytes:
            recurrent[place] = recurrent.get(place, 0) + layer.recurrent_bytes * ctx.slots
            checkpoint += layer.recurrent_bytes
    copied = max(on_host, default=0) + max((min(pair) for pair in pairwise(on_host)), default=0) // 2
    return CacheBytes(kv, recurrent, further, checkpoint, copied)


def _row(elements: int, kind: tuple[int, int]) -> int:
    return elements * kind[0] // kind[1]
