"""The memory that a llama-server will take, by place and kind, before it is started.

Every figure is an interval: at least `low`, at most `high`, `bytes` is expected. Unknown parts are named in `missing` and count
as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentinel.llama import builds as cut_offs
from sentinel.llama.architectures import Caches, caches
from sentinel.llama.model import Model
from sentinel.llama.settings import ALL_LAYERS, AUTO_LAYERS, HOST, Device, Item, Settings
from sentinel.memory.compute_buffers import Span, compute
from sentinel.memory.kv_cache import CacheBytes, Context, cache_bytes, context
from sentinel.memory.placement import Weights, layer_places, used_devices, weights
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Unknown

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Footprint:
    """`ctx` in tokens, `gpu_layers` as llama.cpp counts them (the output layer is one)."""

    items: tuple[Item, ...]
    ctx: int = 0
    gpu_layers: int = 0
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def at(self, place: str) -> tuple[int, int, int]:
        """Bytes in one place: expected, at least, at most."""
        items = [item for item in self.items if item.place == place]
        return sum(i.bytes for i in items), sum(i.low for i in items), sum(i.high for i in items)


def footprint(model: Model, settings: Settings, devices: Sequence[Device], build: BuildRange | int | None = None) -> Footprint:
    """The memory of this model with these flags on these devices."""
    used = used_devices(settings, devices)
    builds = build if isinstance(build, BuildRange) else BuildRange(build, build)
    if settings.gpu_layers != AUTO_LAYERS:
        return _with(model, settings, used, settings.gpu_layers, builds)
    whole = _with(model, settings, used, ALL_LAYERS, builds)
    if not settings.fit or not used or not _too_large(whole, settings, used):
        return whole
    return _fitted(model, settings, used, whole, builds)


def _too_large(found: Footprint, settings: Settings, devices: Sequence[Device]) -> bool:
    spare = settings.fit_target_mib * _MIB
    return any(device.free_bytes is not None and found.at(device.name)[0] + spare > device.free_bytes for device in devices)


def _fitted(model: Model, settings: Settings, devices: Sequence[Device], whole: Footprint, build: BuildRange) -> Footprint:
    """What --fit does (common/fit.cpp): a shorter context where none was asked for, then fewer layers."""
    note = "layers and context are what --fit would choose, as sentinel computes it; llama-fit-params asks llama.cpp itself"
    if not settings.ctx_given and whole.ctx > settings.fit_ctx > 0:
        # in steps of 256 tokens, not below --fit-ctx
        least, most = -(-settings.fit_ctx // 256), whole.ctx // 256
        shortest = _with(model, replace(settings, ctx=256 * least), devices, ALL_LAYERS, build)
        if not _too_large(shortest, settings, devices):
            while least < most:
                middle = (least + most + 1) // 2
                shorter = _with(model, replace(settings, ctx=256 * middle), devices, ALL_LAYERS, build)
                if _too_large(shorter, settings, devices):
                    most = middle - 1
                else:
                    shortest, least = shorter, middle
            return replace(shortest, notes=(*shortest.notes, note))
        settings, whole = replace(settings, ctx=256 * least), shortest
    low, high = 0, model.layers + 1
    best = whole
    while low <= high:
        middle = (low + high) // 2
        found = _with(model, settings, devices, middle, build)
        if _too_large(found, settings, devices):
            high = middle - 1
        else:
            best, low = found, middle + 1
    return replace(best, notes=(*best.notes, note))


def _with(model: Model, settings: Settings, devices: Sequence[Device], gpu_layers: int, build: BuildRange) -> Footprint:
    missing: list[str] = []
    notes: list[str] = []
    items: list[Item] = []
    places = layer_places(model, settings, devices, gpu_layers)
    if isinstance(places, Unknown):
        return Footprint((), missing=(places.why,))
    if len(devices) > 1 and settings.split_mode in {"row", "tensor"}:
        missing.append(f"how --split-mode {settings.split_mode} spreads matrices over the devices: they are counted by layer")
    flash = settings.flash_attn != "off"
    # a device's host buffer comes first if there is one, and is not repacked (make_cpu_buft_list)
    repack = settings.repack and (not devices or settings.no_host)
    found = weights(model, settings, places, repack=repack)
    if isinstance(found, Unknown):
        missing.append(found.why)
        found = {}
    for place, there in sorted(found.items()):
        items += _weights_items(place, there, settings, repack=repack)
    ctx = context(settings, model.number("context_length"))
    shape = caches(model)
    for unknown in (ctx, shape):
        if isinstance(unknown, Unknown):
            missing.append(unknown.why)
    if isinstance(ctx, Context) and isinstance(shape, Caches):
        kept = cache_bytes(shape, settings, ctx, places, flash=flash)
        host_cache = 0
        if isinstance(kept, Unknown):
            missing.append(kept.why)
        else:
            host_cache = kept.host_layers_bytes
            items += _cache_items(kept, settings, ctx, build)
        names = [device.name for device in devices]
        all_logits = False if build.is_from(cut_offs.FEW_LOGITS_SINCE) else None
        here, trunk = found.get(HOST, Weights()), model.layers - model.nextn
        around = (model, shape, settings, ctx, places, here, names)
        spans = compute(*around, flash=flash, trunk=trunk, host_cache=host_cache, all_logits=all_logits)
        if settings.flash_attn == "auto" and names and not settings.kv_offload:
            # a cache on the host can disable flash attention (llama-context.cpp, resolve_fused_ops)
            others = compute(*around, flash=False, trunk=trunk, host_cache=host_cache, all_logits=all_logits)
            spans = {place: Span(s.bytes, min(s.low, others[place].low), others[place].high) for place, s in spans.items()}
        for place, span in sorted(spans.items()):
            items.append(Item(place, "compute", span.bytes, span.low, span.high))
        output = 4 * model.vocabulary * ctx.slots
        items.append(Item(HOST, "output", output, output, output))
    if settings.mmproj_bytes:
        place = devices[0].name if devices and settings.mmproj_offload else HOST
        items.append(Item(place, "projector", settings.mmproj_bytes, settings.mmproj_bytes, settings.mmproj_bytes + 1024 * _MIB))
    items += _overhead(items, devices, model.vocabulary)
    if settings.draft_model:
        missing.append("the memory of the draft model")
    on_gpu = sum(1 for place in places if place != HOST)
    return Footprint(
        tuple(items),
        ctx.total if isinstance(ctx, Context) else 0,
        on_gpu,
        tuple(notes),
        tuple(missing),
    )


def _weights_items(place: str, there: Weights, settings: Settings, *, repack: bool) -> list[Item]:
    if place != HOST:
        return [Item(place, "weights", there.bytes, there.bytes, there.bytes)]
    mapped = settings.load_mode in {"auto", "mmap", "mmap+mlock"}
    locked = settings.load_mode in {"mlock", "mmap+mlock"}
    if not mapped:
        return [Item(HOST, "weights", there.bytes, there.bytes, there.bytes, locked)]
    items = []
    if repack and there.repackable:
        items.append(Item(HOST, "weights", there.repacked, 0, there.repackable))
    if locked:
        items.append(Item(HOST, "weights", there.lock_bytes, there.span_bytes, there.lock_bytes, locked=True, mapped=True))
    else:
        kept = there.bytes - (there.repacked if repack else 0)
        least = there.bytes - (there.repackable if repack else 0)
        items.append(Item(HOST, "weights", kept, least, max(there.span_bytes, kept), mapped=True))
    return items


def _cache_items(kept: CacheBytes, settings: Settings, ctx: Context, build: BuildRange) -> list[Item]:
    items = []
    for place in sorted(kept.kv.keys() | kept.further.keys()):
        least = kept.kv.get(place, 0)
        most = least + kept.further.get(place, 0)
        low = most if build.is_before(cut_offs.FURTHER_KEPT_UNTIL + 1) else least
        high = least if build.is_from(cut_offs.FURTHER_LEFT_SINCE) else most
        items.append(Item(place, "kv", high if low == high else least, low, high))
    items += [Item(place, "recurrent", size, size, size) for place, size in sorted(kept.recurrent.items())]
    limit = max(settings.cache_ram_mib, 0) * _MIB + kept.checkpoint_bytes * ctx.slots * settings.ctx_checkpoints
    if limit:
        items.append(Item(HOST, "cache", 0, 0, limit))
    return items


def _overhead(items: Sequence[Item], devices: Sequence[Device], words: int) -> list[Item]:
    """Page tables (eight bytes per page of 4096), the program with its vocabulary, and the driver's own memory.

    llama.cpp does not print the driver's share. CUDA and ROCm keep a context of some hundred MiB, Vulkan a few tens; on the
    host each maps its libraries. Lower bound: 14 MiB of anonymous memory were measured for a vocabulary of 286 words, 61 for one
    of 262,144.
    """
    here = [item for item in items if item.place == HOST and item.kind != "cache"]
    most = sum(item.high for item in here)
    program = 96 * _MIB
    found = [
        Item(HOST, "overhead", sum(i.bytes for i in here) // 512 + program, 8 * _MIB + 96 * words, most // 512 + 4 * program)
    ]
    for device in devices:
        vulkan = device.name.startswith("Vulkan")
        found.append(Item(device.name, "overhead", (64 if vulkan else 300) * _MIB, 0, (256 if vulkan else 768) * _MIB))
    return found
