"""The unreclaimable host memory that a server will hold at least, once its model is loaded.

The low bounds of its footprint, as a preflight's verdict uses them; unknown builds and GPUs count as the ones that need least.
Uncertain parts count as zero, so that a shortage is certain: mapped weights that are not locked, since the kernel drops and reads
them again; prompt cache, projector, draft model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sentinel.llama.model import Model
from sentinel.llama.settings import ALL_LAYERS, AUTO_LAYERS, HOST, Device, Item, Settings
from sentinel.memory.footprint import Footprint, footprint
from sentinel.model.entity import Unknown

#: tokens; llama.cpp makes a context a multiple of this
_STEP = 256
#: One device without a limit: which of several a layer goes to makes no difference to the host.
_ELSEWHERE = (Device("elsewhere"),)


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes, at least. `locked_bytes` is the part of the weights that cannot be swapped out."""

    weights_bytes: int
    locked_bytes: int
    #: KV cache and recurrent states of `ctx` tokens
    cache_bytes: int
    ctx: int
    #: host cache bytes per further token of context; Unknown if the cache is not counted
    cache_token_bytes: int | Unknown
    #: the program itself with its vocabulary
    program_bytes: int
    #: compute buffers on the host: reserved with the context and written only by full batches, so not part of the total
    compute_bytes: int
    #: what the sum leaves out although the server will have it; empty if nothing is known to be
    left_out: str = ""

    @property
    def total(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.program_bytes


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of the machine. `lock_limit_bytes`: how much the process may lock, -1 for no limit."""

    #: layers may go to a GPU or to another machine (--rpc)
    elsewhere: bool
    lock_limit_bytes: int | Unknown
    #: memory of all GPUs together; None: unknown
    vram_bytes: int | None = None


def need(model: Model, settings: Settings, around: Around, load_modes: Sequence[str]) -> Need:
    """The lower bound for this model, these flags, this machine. `load_modes`: the modes that the flags may mean, by build."""
    base = _at_least(settings, model.number("context_length"))
    return min((_need(model, replace(base, load_mode=mode), around) for mode in load_modes), key=lambda found: found.total)


def unreclaimable(items: Iterable[Item]) -> list[Item]:
    """The unreclaimable part of the items on the host."""
    return [_touched(item) for item in items if item.locked or not item.mapped]


def unlocked(items: Iterable[Item]) -> list[Item]:
    """The same if the lock is refused: mapped pages can be dropped then."""
    return [replace(item, locked=False) if item.locked else item for item in items]


def _touched(item: Item) -> Item:
    """Compute buffers are allocated whole and become resident only where they are written: of 512 MiB that a server had
    reserved for logits, 8 were resident after a long prompt; of 699 MiB of scores none after the load (measured)."""
    return replace(item, low=0) if item.kind in ("compute", "output") else item


def _need(model: Model, settings: Settings, around: Around) -> Need:
    devices = _ELSEWHERE if around.elsewhere else ()
    found = footprint(model, settings, devices)
    host = [item for item in found.items if item.place == HOST]
    if settings.gpu_layers == AUTO_LAYERS and around.elsewhere and around.vram_bytes is not None:
        host += _beyond(found, around.vram_bytes)
    # a lock that may be refused on the way guarantees nothing: it reaches as far as the tensors before the failure
    limit, most = around.lock_limit_bytes, sum(item.high for item in host if item.locked)
    if isinstance(limit, Unknown) or 0 <= limit < most:
        host = unlocked(host)
    here = unreclaimable(host)
    cache = _sum(here, "kv", "recurrent")
    return Need(
        weights_bytes=_sum(here, "weights"),
        locked_bytes=_sum((item for item in here if item.locked), "weights"),
        cache_bytes=cache,
        ctx=found.ctx,
        cache_token_bytes=_token(model, settings, devices, found, cache),
        program_bytes=_sum(here, "overhead"),
        compute_bytes=_sum(host, "compute", "output"),
        left_out="; ".join(found.missing),
    )


def _sum(items: Iterable[Item], *kinds: str) -> int:
    return sum(item.low for item in items if item.kind in kinds)


def _beyond(found: Footprint, vram_bytes: int) -> list[Item]:
    """If the build chooses, the part that exceeds all GPU memory together stays on the host."""
    weights = [item for item in found.items if item.kind == "weights"]
    here = [item for item in weights if item.place == HOST]
    left = sum(item.bytes for item in weights if item.place != HOST) - vram_bytes
    return [replace(here[-1], bytes=left, low=left, high=left)] if here and left > 0 else []


def _token(model: Model, settings: Settings, devices: Sequence[Device], found: Footprint, cache: int) -> int | Unknown:
    """Growth of the cache per token from here on; below, a sliding window may make it grow by more."""
    if found.missing and not any(item.kind in ("kv", "recurrent") for item in found.items):
        return Unknown(found.missing[0])
    if not found.ctx:
        return 0
    twice = footprint(model, replace(settings, ctx=2 * found.ctx), devices)
    return (_sum((item for item in twice.items if item.place == HOST), "kv", "recurrent") - cache) // found.ctx


def _at_least(settings: Settings, trained: int) -> Settings:
    """The same flags for any build and any device, chosen so that the result is the least."""
    if settings.ctx > 0:
        # newer builds round the requested size up to a multiple, older ones use no less than it
        ctx = settings.ctx // _STEP * _STEP
    elif settings.fit:
        ctx = min(trained, settings.fit_ctx if settings.fit_ctx > 0 else _STEP)
    else:
        ctx = trained
    layers = settings.gpu_layers
    return replace(
        settings,
        ctx=max(ctx, _STEP) if settings.ctx > 0 or trained > 0 else 0,
        # one slot if none are requested, and one cache for all of them: four slots by default came late
        parallel=max(settings.parallel, 1),
        kv_unified=True,
        flash_attn="off" if settings.flash_attn == "off" else "on",
        gpu_layers=layers if layers >= AUTO_LAYERS else ALL_LAYERS,
        fit=False,
        device_none=False,
        devices=(),
        split_mode="layer",
        tensor_split=(),
        mmproj_bytes=0,
        # repacked weights are copied, and the others are locked or copied all the same
        repack=False,
    )
