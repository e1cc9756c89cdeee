"""Whether a footprint fits the available memory, and how it fails if not. Pure: bytes in, a verdict with its reasons out.

Intervals decide: the verdict is `fails` only if the low bound does not fit, `fits` only if the high bound does, else tight.
An unknown figure makes the verdict at best unknown, but a certain failure stays a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sentinel.llama.settings import HOST, Device, Item
from sentinel.memory.footprint import Footprint
from sentinel.memory.requirement import unlocked, unreclaimable
from sentinel.model.text import size, size_range

Effect = Literal["fails", "tight", "unknown", "note"]
FitVerdict = Literal["fits", "tight", "fails", "unknown"]

#: GPU memory that generation needs besides all buffers: pools of the runtime that grow with the context in use. llama.cpp's
#: --fit keeps 1 GiB free on a device; the article's machine held with 1.5 GB left and failed above 2K of context with 1.05.
HEADROOM_BYTES = 1280 << 20
#: The same for a small GPU, as a share of its memory: its models are smaller, too.
_HEADROOM_SHARE = 16
#: Swap and dropped pages are disk: a host with less than this left is one program away from both.
_HOST_MARGIN_SHARE = 50
#: A server's overhead before the weights are loaded is at most this (14 MiB of anonymous memory at a kill, measured).
_BEFORE_WEIGHTS = 16 << 20
#: Part of the free memory that suggestions do not use.
_SLACK_SHARE = 32


@dataclass(frozen=True, slots=True)
class FitNote:
    """One reason. `at_share` is the share of the load at which it happens; None if that is meaningless."""

    id: str
    text: str
    effect: Effect
    at_share: float | None = None
    #: the obstacle if no flag removes it: the model's file, or the GPU backend
    about: Literal["model", "gpu", ""] = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """Available memory, in bytes. `host` is None if unknown; `lock_limit` -1: no limit, None: unknown.

    `where` says whose limit `host` is, `most` is the largest single allocation that the kernel grants (memory and swap of the
    whole machine, mm/util.c, __vm_enough_memory).
    """

    devices: Sequence[Device]
    host: int | None
    where: str = "the machine"
    swap: int = 0
    lock_limit: int | None = -1
    most: int | None = None
    #: below memory.high; None: no such limit
    memory_high: int | None = None
    memory_high_where: str = ""


def judge(footprint: Footprint, budget: Budget) -> tuple[FitVerdict, tuple[FitNote, ...]]:
    """The verdict and its reasons, the worst first."""
    whys = [*_devices(footprint, budget), *_host(footprint, budget)]
    whys += [FitNote("not-known", text, "unknown") for text in footprint.missing]
    return verdict_of(whys), tuple(sorted(whys, key=lambda why: _ORDER.index(why.effect)))


_ORDER: tuple[Effect, ...] = ("fails", "unknown", "tight", "note")


def verdict_of(whys: Iterable[FitNote]) -> FitVerdict:
    """The verdict that follows from all reasons."""
    effects = {why.effect for why in whys}
    return "fails" if "fails" in effects else "unknown" if "unknown" in effects else "tight" if "tight" in effects else "fits"


def is_expected_to_start(footprint: Footprint, budget: Budget) -> bool:
    """Whether it starts by the expected figures, between the bounds: a tight suggestion must at least do that."""
    shared = {device.name for device in budget.devices if device.in_host_memory}
    for device in budget.devices:
        there = sum(item.bytes for item in footprint.items if item.place == device.name)
        if device.name not in shared and device.free_bytes is not None and there > device.free_bytes:
            return False
    held = sum(
        item.bytes
        for item in footprint.items
        if (item.place == HOST or item.place in shared)
        and (item.locked or not item.mapped)
        and item.kind not in ("compute", "output", "cache")
    )
    return budget.host is None or held <= budget.host + budget.swap


def with_slack(budget: Budget) -> Budget:
    """A budget with a margin: free memory changes between the check and the start, and a suggestion must survive that."""
    devices = tuple(
        device if device.free_bytes is None else replace(device, free_bytes=device.free_bytes - device.free_bytes // _SLACK_SHARE)
        for device in budget.devices
    )
    return replace(budget, devices=devices, host=None if budget.host is None else budget.host - budget.host // _SLACK_SHARE)


def needed(items: Iterable[Item]) -> tuple[int, int]:
    """Low and high bound of a sum."""
    lows, highs = 0, 0
    for item in items:
        lows, highs = lows + item.low, highs + item.high
    return lows, highs


def headroom(device: Device) -> int:
    """Bytes that should stay free on a device for generation."""
    return HEADROOM_BYTES if device.total_bytes is None else min(HEADROOM_BYTES, device.total_bytes // _HEADROOM_SHARE)


def _devices(footprint: Footprint, budget: Budget) -> list[FitNote]:
    whys = []
    for device in budget.devices:
        items = [item for item in footprint.items if item.place == device.name]
        if needed(items)[1]:
            whys += _device(items, device)
    return whys


def _device(items: Sequence[Item], device: Device) -> list[FitNote]:
    if device.free_bytes is None:
        return [FitNote("vram-unknown", f"how much memory of {device.name} is free is not known", "unknown")]
    free, (low, high) = device.free_bytes, needed(items)
    there = f"{device.name} has {size(free)} free"
    if device.in_host_memory:
        # its reported size is no limit: llvmpipe reports 2 GiB and takes 3.4 (measured), integrated graphics overflow
        if high <= free:
            return []
        text = f"{device.name} shares the machine's memory and needs {size_range(low, high)}, and {there} as it says"
        return [FitNote("vram-may-not-suffice", text, "tight")]
    if low > free:
        return [_first_that_fails(items, device, there)]
    if high > free:
        text = f"{device.name} needs {size_range(low, high)}, and {there}: whether the last buffers can be allocated is open"
        return [FitNote("vram-may-not-suffice", text, "tight")]
    left = free - sum(item.bytes for item in items)
    if left < headroom(device):
        text = (
            f"{size(left)} stay free on {device.name} after the load; generation needs about {size(headroom(device))}"
            " beside the buffers, more as the context fills"
        )
        return [FitNote("vram-headroom-small", text, "tight")]
    return []


def _first_that_fails(items: Sequence[Item], device: Device, there: str) -> FitNote:
    """llama.cpp allocates weights, then the KV cache, then the compute buffers (src/llama-model.cpp, llama-context.cpp)."""
    assert device.free_bytes is not None
    so_far = needed(item for item in items if item.kind in ("weights", "overhead", "projector"))[0]
    if so_far > device.free_bytes:
        text = f"the weights for {device.name} take {size(so_far)}, and {there}: the allocation fails at the start of the load"
        return FitNote("vram-allocation-fails-at-start", text, "fails", 0.0)
    cache = needed(item for item in items if item.kind in ("kv", "recurrent"))[0]
    if so_far + cache > device.free_bytes:
        text = f"the cache of {size(cache)} comes on {device.name} after {size(so_far)} of weights, and {there}"
        return FitNote(
            "kv-cannot-be-allocated", f"{text}: the server ends with 'failed to allocate buffer for kv cache'", "fails", 1.0
        )
    rest = needed(items)[0] - so_far - cache
    before = f"{size(so_far + cache)} of weights and cache"
    text = f"the compute buffers of {size(rest)} come on {device.name} after {before}, and {there}"
    return FitNote("vram-allocation-fails-at-start", text, "fails", 1.0)


def _host(footprint: Footprint, budget: Budget) -> list[FitNote]:
    # a GPU without its own memory uses the host's
    shared = {device.name for device in budget.devices if device.in_host_memory}
    items = [item for item in footprint.items if item.place == "host" or item.place in shared]
    whys, items = _locking(items, budget)
    if budget.host is None:
        return [*whys, FitNote("memory-unknown", "how much memory it can take is not known", "unknown")]
    lasting = unreclaimable(items)
    low, high = needed(lasting)
    locked = needed(item for item in items if item.locked)[0]
    there = f"{budget.where} can give {size(budget.host)}"
    kept = [item for item in items if item.mapped and not item.locked]
    largest = max((item for item in lasting if item.kind == "kv"), key=lambda item: item.low, default=None)
    if budget.most is not None and largest is not None and largest.low > budget.most:
        text = f"the KV cache of {size(largest.low)} is larger than memory and swap of the machine ({size(budget.most)})"
        return [*whys, FitNote("kv-cannot-be-allocated", f"{text}: the kernel refuses it at once", "fails", 1.0)]
    if low > budget.host + budget.swap or locked > budget.host:
        return [*whys, _kill(lasting, low, budget, there)]
    if low > budget.host:
        swapped = size(low - budget.host)
        text = f"{size(low)} is unreclaimable, and {there}: {swapped} go to swap and are read again for each token"
        return [*whys, FitNote("will-thrash", text, "fails")]
    mapped = needed(kept)[0]
    if low + mapped > budget.host:
        text = (
            f"{size(mapped)} of mapped weights stay on the host beside {size(low)} that is unreclaimable, and {there}: it"
            f" starts, but {size(low + mapped - budget.host)} are dropped and read from the disk again and again"
        )
        return [*whys, FitNote("will-thrash", text, "fails")]
    if budget.memory_high is not None and low > budget.memory_high:
        limit = f"{budget.memory_high_where} is slowed down above memory.high, which leaves {size(budget.memory_high)}"
        text = f"{limit}; {size(low)} are unreclaimable"
        return [*whys, FitNote("will-thrash", text, "fails")]
    if high + needed(kept)[1] > budget.host:
        return [*whys, _may_outgrow(lasting, high + needed(kept)[1], there)]
    if budget.host - high - needed(kept)[1] < budget.host // _HOST_MARGIN_SHARE:
        left = budget.host - high - needed(kept)[1]
        return [*whys, FitNote("memory-headroom-small", f"{size(left)} of memory stay free, and {there}", "tight")]
    return whys


def _locking(items: Sequence[Item], budget: Budget) -> tuple[list[FitNote], list[Item]]:
    """Checks locked memory against the limit. If locking is refused, mapped pages can be dropped."""
    locked = needed(item for item in items if item.locked)
    if not locked[1]:
        return [], list(items)
    if budget.lock_limit is None:
        return [FitNote("lock-limit-unknown", "how much memory the server may lock is not known", "unknown")], list(items)
    if budget.lock_limit < 0 or locked[1] <= budget.lock_limit:
        return [], list(items)
    text = (
        f"{size(locked[0])} are to be locked in memory, and the limit (memlock) is {size(budget.lock_limit)}: the lock is"
        " refused on the way, the server goes on without it and says so in one line"
    )
    share = min(budget.lock_limit / locked[0], 1.0) if locked[0] else 0.0
    return [FitNote("mlock-denied", text, "fails", round(share, 2))], unlocked(items)


def _kill(lasting: Sequence[Item], low: int, budget: Budget, there: str) -> FitNote:
    """Weights come first, then the cache, which is zeroed. The share is that of the model, at the low bound."""
    assert budget.host is not None
    weights = needed(item for item in lasting if item.kind == "weights")[0]
    before = min(needed(item for item in lasting if item.kind == "overhead")[0], _BEFORE_WEIGHTS)
    capacity = budget.host + (0 if any(item.locked for item in lasting) else budget.swap)
    need = f"{size(low)} is unreclaimable ({size(weights)} of weights), and {there}"
    if budget.swap:
        need += f" and {size(budget.swap)} of swap"
    if weights and before + weights > capacity:
        share = max(capacity - before, 0) / weights
        return FitNote("killed-while-loading", f"{need}: killed at about {share:.0%} of the load", "fails", round(share, 2))
    return FitNote("killed-while-loading", f"{need}: killed at the end of the load, when the cache is written", "fails", 1.0)


def _may_outgrow(lasting: Sequence[Item], high: int, there: str) -> FitNote:
    grows = max(lasting, key=lambda item: item.high - item.low, default=None)
    what = f", mostly for {_KINDS.get(grows.kind, grows.kind)}" if grows is not None and grows.high > grows.low else ""
    text = f"it may grow to {size(high)}{what}, and {there}"
    return FitNote("memory-may-not-suffice", text, "tight")


_KINDS = {"cache": "prompts kept in RAM (--cache-ram) and checkpoints", "compute": "compute buffers", "overhead": "overhead"}
