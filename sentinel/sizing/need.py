"""What a server will at least hold in host memory that the kernel cannot drop, once its model is loaded.

Every figure here is a lower bound: what is not certain counts as nothing, so that a shortage that follows from it is certain.
Mapped weights that are not locked count as nothing, for the kernel drops and reads them again. Not counted either: compute
buffers, prompt cache, projector and draft model.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.model.labels import Unknown
from sentinel.sizing.kv_cache import least_context, token_bytes
from sentinel.sizing.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the layers may go. `gpu_layers` is -ngl as asked, -1 for auto or absent, -2 for all."""

    gpu_layers: int
    #: no GPU can be used: none in the machine, none in the container, or ``--device none``
    no_gpu: bool
    #: video memory of all cards together; None: not known
    vram_bytes: int | None = None
    #: experts of the first N blocks stay on the CPU (--n-cpu-moe; --cpu-moe is all of them)
    cpu_experts: int = 0
    #: another machine may take layers (--rpc)
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Loading:
    """How weights and cache are loaded. `lock_limit_bytes` is RLIMIT_MEMLOCK, -1 when nothing limits this process."""

    mapped: bool
    locked: bool
    lock_limit_bytes: int | Unknown
    ctx: int
    fit_floor_known: bool
    cache_type_k: str
    cache_type_v: str
    cache_on_gpu: bool


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes, at least. `locked_bytes` is the part of the weights that swap cannot take."""

    weights_bytes: int
    locked_bytes: int
    cache_bytes: int
    #: bytes of cache on the host for a token of context; Unknown where the cache is not counted
    cache_token_bytes: int | Unknown
    #: why the sum is smaller than it will be, empty when nothing is known to be left out
    left_out: str = ""

    @property
    def total(self) -> int:
        return self.weights_bytes + self.cache_bytes


def need(shape: ModelShape, where: Placement, how: Loading) -> Need:
    """The lower bound for this model, these flags, this machine."""
    on_host = _host_blocks(shape, where)
    weights = host_weights(shape, where, on_host)
    locked = 0
    if how.locked:
        limit = how.lock_limit_bytes
        locked = 0 if isinstance(limit, Unknown) else weights if limit < 0 else min(weights, limit)
    # "--load-mode mlock" maps in some builds and copies in others, "--mlock" too: what is locked is certain in both
    unmapped = weights if not how.mapped and not how.locked else locked
    per_layer = token_bytes(shape, how.cache_type_k, how.cache_type_v)
    context = least_context(how.ctx, shape.ctx_train, fit_floor_known=how.fit_floor_known)
    if isinstance(per_layer, Unknown) or isinstance(context, Unknown):
        why = per_layer if isinstance(per_layer, Unknown) else context
        assert isinstance(why, Unknown)
        return Need(unmapped, locked, 0, why, f"without the KV cache: {why.why}")
    token = sum(per_layer) if not how.cache_on_gpu else sum(size for il, size in enumerate(per_layer) if il in on_host)
    return Need(unmapped, locked, token * context, token)


def host_weights(shape: ModelShape, where: Placement, on_host: frozenset[int]) -> int:
    """Bytes of weights that no GPU can take, at least."""
    if where.elsewhere:
        return 0
    if where.no_gpu or where.gpu_layers == 0:
        return shape.weights_bytes
    if where.gpu_layers == -1:
        # as many layers as fit, by the build's own judgement: at most all the video memory there is
        return shape.input_bytes if where.vram_bytes is None else max(shape.input_bytes, shape.weights_bytes - where.vram_bytes)
    kept = sum(size for block, size in shape.block_bytes.items() if block in on_host)
    experts = sum(size for block, size in shape.block_expert_bytes.items() if block < where.cpu_experts and block not in on_host)
    return shape.input_bytes + kept + experts


def _host_blocks(shape: ModelShape, where: Placement) -> frozenset[int]:
    """Blocks that stay on the CPU for certain: the first ones (src/llama-model.cpp, i_gpu_start = n_layer + 1 - n_gpu_layers)."""
    if where.elsewhere:
        return frozenset()
    if where.no_gpu or where.gpu_layers == 0:
        return frozenset(range(shape.layers))
    if where.gpu_layers < 0:
        return frozenset()
    return frozenset(range(max(shape.layers + 1 - where.gpu_layers, 0)))
