"""What a footprint comes to on a machine: fits, tight, fails and how, or unknown."""

from __future__ import annotations

import pytest

from sentinel.llama.settings import Device, Item, MemoryKind
from sentinel.memory.fit import Budget, FitNote, headroom, judge
from sentinel.memory.footprint import Footprint

GIB = 1 << 30
CARD = Device("ROCm0", 24 * GIB, 24 * GIB)


def item(
    place: str, kind: MemoryKind, low: float, high: float | None = None, *, locked: bool = False, mapped: bool = False
) -> Item:
    least, most = int(low * GIB), int((low if high is None else high) * GIB)
    return Item(place, kind, least, least, most, locked, mapped)


def on_host(gib: float, **more: int) -> Budget:
    return Budget((), int(gib * GIB), **more)  # type: ignore[arg-type]


def reasons(items: list[Item], budget: Budget, missing: tuple[str, ...] = ()) -> tuple[str, dict[str, FitNote]]:
    verdict, whys = judge(Footprint(tuple(items), missing=missing), budget)
    return verdict, {why.id: why for why in whys}


def test_what_fits_with_its_high_bound_fits_without_a_word() -> None:
    assert reasons([item("host", "weights", 4, mapped=True), item("host", "kv", 1)], on_host(10)) == ("fits", {})


def test_locked_weights_are_killed_at_the_share_that_memory_has() -> None:
    items = [item("host", "weights", 200, locked=True, mapped=True), item("host", "kv", 4)]

    verdict, whys = reasons(items, on_host(120))

    assert verdict == "fails"
    assert whys["killed-while-loading"].at_share == 0.6
    assert "killed at about 60% of the load" in whys["killed-while-loading"].text


def test_what_a_server_has_before_its_weights_brings_the_kill_nearer() -> None:
    items = [item("host", "overhead", 0.5), Item("host", "weights", 100 << 20, 100 << 20, 100 << 20)]

    assert reasons(items, Budget((), 66 << 20))[1]["killed-while-loading"].at_share == 0.5


def test_weights_that_fit_are_killed_at_the_end_when_the_cache_is_written() -> None:
    verdict, whys = reasons([item("host", "weights", 100), item("host", "kv", 40)], on_host(120, most=400 * GIB))

    assert (verdict, whys["killed-while-loading"].at_share) == ("fails", 1.0)


def test_swap_takes_what_is_not_locked_but_that_is_thrashing_and_no_kill() -> None:
    copied = [item("host", "weights", 100)]

    assert list(reasons(copied, on_host(80, swap=64 * GIB))[1]) == ["will-thrash"]
    assert list(reasons([item("host", "weights", 100, locked=True)], on_host(80, swap=64 * GIB))[1]) == ["killed-while-loading"]


def test_mapped_weights_larger_than_memory_thrash_and_are_not_killed() -> None:
    verdict, whys = reasons([item("host", "weights", 200, mapped=True), item("host", "kv", 2)], on_host(120))

    assert verdict == "fails"
    assert list(whys) == ["will-thrash"]


def test_a_cache_larger_than_the_machine_is_refused_at_once() -> None:
    verdict, whys = reasons([item("host", "kv", 900)], on_host(20, most=24 * GIB))

    assert verdict == "fails"
    assert "kernel refuses it at once" in whys["kv-cannot-be-allocated"].text


def test_a_lock_beyond_the_limit_is_refused_and_what_is_mapped_can_then_be_dropped() -> None:
    items = [item("host", "weights", 8, locked=True, mapped=True)]

    verdict, whys = reasons(items, on_host(32, lock_limit=4 * GIB))

    assert verdict == "fails"
    assert list(whys) == ["mlock-denied"]
    assert whys["mlock-denied"].at_share == 0.5


@pytest.mark.parametrize(
    ("items", "expected", "share"),
    [
        ([item("ROCm0", "weights", 30)], "vram-allocation-fails-at-start", 0.0),
        ([item("ROCm0", "weights", 20), item("ROCm0", "kv", 8)], "kv-cannot-be-allocated", 1.0),
        (
            [item("ROCm0", "weights", 20), item("ROCm0", "kv", 3), item("ROCm0", "compute", 2)],
            "vram-allocation-fails-at-start",
            1.0,
        ),
    ],
)
def test_a_gpu_fails_at_the_first_buffer_that_it_has_no_room_for(items: list[Item], expected: str, share: float) -> None:
    verdict, whys = reasons(items, Budget((CARD,), 64 * GIB))

    assert verdict == "fails"
    assert whys[expected].at_share == share


def test_between_its_bounds_a_gpu_is_tight() -> None:
    items = [item("ROCm0", "weights", 20), item("ROCm0", "compute", 1, 5)]

    assert reasons(items, Budget((CARD,), 64 * GIB))[0] == "tight"


def test_the_articles_47_layers_hold_with_one_and_a_half_gigabytes_and_48_are_tight() -> None:
    """47 layers leave 1.5 GB of 24 and hold; a layer of 0.45 GB more and generation fails above 2K of context."""
    card = Device("ROCm0", 24_000_000_000, 24_000_000_000)
    held = [Item("ROCm0", "weights", *(22_500_000_000,) * 3)]
    one_more = [Item("ROCm0", "weights", *(22_950_000_000,) * 3)]

    assert reasons(held, Budget((card,), 256 * GIB))[0] == "fits"
    verdict, whys = reasons(one_more, Budget((card,), 256 * GIB))
    assert verdict == "tight"
    assert "generation needs about" in whys["vram-headroom-small"].text


def test_a_small_gpu_needs_less_headroom() -> None:
    assert headroom(Device("Vulkan0", 2 * GIB, 2 * GIB)) == 128 << 20


def test_a_gpu_without_memory_of_its_own_takes_the_machines() -> None:
    shared = Device("Vulkan0", 60 * GIB, 64 * GIB, integrated=True)
    items = [item("Vulkan0", "weights", 30)]

    assert "killed-while-loading" in reasons(items, Budget((shared,), 20 * GIB))[1]


def test_a_shared_device_that_names_too_little_is_tight_and_no_failure() -> None:
    """Measured: llvmpipe says 2048 MiB, and a server with 3.4 GiB on it starts."""
    shared = Device("Vulkan0", 2 * GIB, 2 * GIB, software=True)

    verdict, whys = reasons([item("Vulkan0", "weights", 1), item("Vulkan0", "kv", 3)], Budget((shared,), 20 * GIB))
    assert (verdict, list(whys)) == ("tight", ["vram-may-not-suffice"])


def test_what_is_not_known_is_unknown_but_does_not_hide_a_certain_failure() -> None:
    gap = ("how this architecture lays out its cache",)

    assert reasons([item("host", "weights", 4)], on_host(32), gap)[0] == "unknown"
    assert reasons([item("host", "weights", 40)], on_host(32), gap)[0] == "fails"
    assert reasons([item("ROCm0", "weights", 4)], Budget((Device("ROCm0"),), 64 * GIB))[0] == "unknown"
    assert reasons([item("host", "weights", 4)], Budget((), None))[0] == "unknown"


def test_a_prompt_cache_that_may_outgrow_memory_is_tight_and_named() -> None:
    verdict, whys = reasons([item("host", "weights", 4), item("host", "cache", 0, 8)], on_host(10))

    assert verdict == "tight"
    assert "--cache-ram" in whys["memory-may-not-suffice"].text


def test_buffers_for_computing_kill_nobody_until_they_are_written() -> None:
    """Recorded: 885 MiB by the sum of all buffers, and the server starts below a limit of 480."""
    items = [item("host", "weights", 0.23, locked=True), item("host", "kv", 0.13), item("host", "compute", 0.5, 1.1)]

    verdict, whys = reasons(items, on_host(0.47))
    assert (verdict, list(whys)) == ("tight", ["memory-may-not-suffice"])


def test_memory_high_slows_down_and_does_not_kill() -> None:
    budget = on_host(64, memory_high=8 * GIB, memory_high_where="/system.slice/llama.service")  # type: ignore[arg-type]

    verdict, whys = reasons([item("host", "weights", 10)], budget)

    assert verdict == "fails"
    assert "memory.high" in whys["will-thrash"].text
