"""Memory that a llama-server will take, by place and kind, before it is started.

Every figure is an interval: `low` is certain, `high` is not passed, `bytes` is what to expect. What is not known is named in
`missing` and counts as nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentinel.model.labels import Unknown
from sentinel.model.pattern import BuildRange
from sentinel.sizing.architectures import Caches, caches
from sentinel.sizing.compute import compute
from sentinel.sizing.context import CacheBytes, Context, cache_bytes, context
from sentinel.sizing.model_file import Model, Tensor
from sentinel.sizing.placement import Weights, layer_places, used_devices, weights
from sentinel.sizing.settings import ALL_LAYERS, AUTO_LAYERS, HOST, Device, Item, Kind, Settings

__all__ = ("ALL_LAYERS", "AUTO_LAYERS", "HOST", "Device", "Footprint", "Item", "Kind", "Model", "Settings", "Tensor", "footprint")

_MIB = 1 << 20
Build = BuildRange | int | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """`ctx` and `ctx_per_slot` in tokens, `gpu_layers` as llama.cpp counts them (the output layer is one)."""

    items: tuple[Item, ...]
    ctx: int = 0
    ctx_per_slot: int = 0
    gpu_layers: int = 0
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def at(self, place: str) -> tuple[int, int, int]:
        """Bytes in one place: expected, least, most."""
        items = [item for item in self.items if item.place == place]
        return sum(i.bytes for i in items), sum(i.low for i in items), sum(i.high for i in items)


def footprint(model: Model, settings: Settings, devices: Sequence[Device], build: Build = None) -> Footprint:
    """The memory of this model with these flags on these devices."""
    used = used_devices(settings, devices)
    if settings.gpu_layers != AUTO_LAYERS:
        return _with(model, settings, used, settings.gpu_layers)
    whole = _with(model, settings, used, ALL_LAYERS)
    if not settings.fit or not used or not _too_large(whole, settings, used):
        return whole
    return _fitted(model, settings, used, whole)


def _too_large(found: Footprint, settings: Settings, devices: Sequence[Device]) -> bool:
    spare = settings.fit_target_mib * _MIB
    return any(device.free_bytes is not None and found.at(device.name)[0] + spare > device.free_bytes for device in devices)


def _fitted(model: Model, settings: Settings, devices: Sequence[Device], whole: Footprint) -> Footprint:
    """What --fit does (common/fit.cpp): a shorter context where none was asked for, then fewer layers."""
    note = "layers and context are what --fit would choose, as sentinel computes it; llama-fit-params asks llama.cpp itself"
    if not settings.ctx_given and whole.ctx > settings.fit_ctx:
        settings = replace(settings, ctx=settings.fit_ctx)
        whole = _with(model, settings, devices, ALL_LAYERS)
    low, high = 0, model.layers + 1
    best = whole
    while low <= high:
        middle = (low + high) // 2
        found = _with(model, settings, devices, middle)
        if _too_large(found, settings, devices):
            high = middle - 1
        else:
            best, low = found, middle + 1
    return replace(best, notes=(*best.notes, note))


def _with(model: Model, settings: Settings, devices: Sequence[Device], gpu_layers: int) -> Footprint:
    missing: list[str] = []
    notes: list[str] = []
    items: list[Item] = []
    places = layer_places(model, settings, devices, gpu_layers)
    if isinstance(places, Unknown):
        return Footprint((), missing=(places.why,))
    flash = settings.flash_attn != "off"
    found = weights(model, settings, places)
    if isinstance(found, Unknown):
        missing.append(found.why)
        found = {}
    for place, there in sorted(found.items()):
        items.append(_weights_item(place, there, settings))
    ctx = context(settings, model.number("context_length"))
    shape = caches(model)
    for unknown in (ctx, shape):
        if isinstance(unknown, Unknown):
            missing.append(unknown.why)
    if isinstance(ctx, Context) and isinstance(shape, Caches):
        kept = cache_bytes(shape, settings, ctx, places, flash=flash)
        if isinstance(kept, Unknown):
            missing.append(kept.why)
        else:
            items += _cache_items(kept, settings, ctx)
        names = [device.name for device in devices]
        for place, span in sorted(compute(model, settings, ctx, shape, places, names, flash=flash).items()):
            items.append(Item(place, "compute", span.bytes, span.low, span.high))
        output = 4 * model.vocabulary * ctx.slots
        items.append(Item(HOST, "output", output, output, output))
    if settings.mmproj_bytes:
        place = devices[0].name if devices and settings.mmproj_offload else HOST
        items.append(Item(place, "projector", settings.mmproj_bytes, settings.mmproj_bytes, settings.mmproj_bytes + 1024 * _MIB))
    if settings.draft_model:
        missing.append("the memory of the draft model")
    on_gpu = sum(1 for place in places if place != HOST)
    return Footprint(
        tuple(items),
        ctx.total if isinstance(ctx, Context) else 0,
        ctx.per_slot if isinstance(ctx, Context) else 0,
        on_gpu,
        tuple(notes),
        tuple(missing),
    )


def _weights_item(place: str, there: Weights, settings: Settings) -> Item:
    if place != HOST:
        return Item(place, "weights", there.bytes, there.bytes, there.bytes)
    mapped = settings.load_mode in {"auto", "mmap", "mmap+mlock"}
    locked = settings.load_mode in {"mlock", "mmap+mlock"}
    if mapped and locked:
        return Item(HOST, "weights", there.lock_bytes, there.span_bytes, there.lock_bytes, locked=True, mapped=True)
    return Item(HOST, "weights", there.bytes, there.bytes, there.span_bytes if mapped else there.bytes, locked, mapped)


def _cache_items(kept: CacheBytes, settings: Settings, ctx: Context) -> list[Item]:
    items = [Item(place, "kv", size, size, size) for place, size in sorted(kept.kv.items())]
    items += [Item(place, "recurrent", size, size, size) for place, size in sorted(kept.recurrent.items())]
    limit = max(settings.cache_ram_mib, 0) * _MIB + kept.checkpoint_bytes * ctx.slots * settings.ctx_checkpoints
    if limit:
        items.append(Item(HOST, "cache", 0, 0, limit))
    return items
