"""The arithmetic of a server's memory, on models made by hand. The same against the real llama-server: eval/preflight.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sentinel.llama.model import Model, Tensor
from sentinel.llama.settings import ALL_LAYERS, HOST, Device, Settings
from sentinel.memory.footprint import Footprint, footprint

MIB = 1 << 20
CARD = Device("ROCm0", 2048 * MIB, 2048 * MIB)
CPU_ONLY = Settings(ctx=4096, ctx_given=True, gpu_layers=0, device_none=True, fit=False)


def dense(arch: str = "llama", layers: int = 4, **keys: int | tuple[int, ...]) -> Model:
    """Four layers of 1 MiB, 2 MiB of embeddings, no output matrix of its own."""
    metadata = {
        "block_count": layers, "context_length": 8192, "embedding_length": 256, "feed_forward_length": 1024,
        "attention.head_count": 4, "attention.head_count_kv": 2,
    } | keys  # fmt: skip
    tensors = [Tensor("token_embd.weight", "F16", (256, 4096), 2 * MIB, 0, 0)]
    tensors += [Tensor(f"blk.{n}.ffn_up_exps.weight", "F16", (256, 2048), MIB, 0, (2 + n) * MIB) for n in range(layers)]
    return Model(arch, {f"{arch}.{key}": value for key, value in metadata.items()}, tuple(tensors), ((2 + layers) * MIB,))


def mib(found: Footprint, place: str, kind: str) -> float:
    return sum(item.bytes for item in found.items if item.place == place and item.kind == kind) / MIB


def test_layers_go_to_the_gpu_from_the_last_and_the_output_layer_is_one_of_them() -> None:
    found = footprint(dense(), replace(CPU_ONLY, gpu_layers=3, device_none=False), [CARD])
    # two blocks, and a copy of the embeddings for the output layer
    assert (mib(found, "ROCm0", "weights"), mib(found, HOST, "weights")) == (4, 4)
    assert found.gpu_layers == 3


def test_the_embeddings_stay_on_the_host_whatever_goes_to_the_gpu() -> None:
    found = footprint(dense(), replace(CPU_ONLY, gpu_layers=ALL_LAYERS, device_none=False), [CARD])
    assert (mib(found, "ROCm0", "weights"), mib(found, HOST, "weights")) == (6, 2)


def test_experts_and_patterns_keep_tensors_on_the_host() -> None:
    asked = replace(CPU_ONLY, gpu_layers=ALL_LAYERS, device_none=False)
    assert mib(footprint(dense(), replace(asked, n_cpu_moe=3), [CARD]), "ROCm0", "weights") == 3
    assert mib(footprint(dense(), replace(asked, cpu_moe=True), [CARD]), "ROCm0", "weights") == 2
    assert mib(footprint(dense(), replace(asked, overrides=((r"blk\.[01]\.", "CPU"),)), [CARD]), "ROCm0", "weights") == 4


def test_a_pattern_that_cannot_be_read_is_named_and_not_guessed() -> None:
    found = footprint(dense(), replace(CPU_ONLY, overrides=(("(?!x)", "CPU"),)), [CARD])
    assert found.missing and "(?!x)" in found.missing[0]
    assert mib(found, HOST, "weights") == 0


def test_an_architecture_that_is_not_known_has_no_cache_and_says_so() -> None:
    found = footprint(dense("brand-new"), CPU_ONLY, [])
    assert "brand-new" in found.missing[0]
    assert not [item for item in found.items if item.kind == "kv"]
    assert mib(found, HOST, "weights") == 6


def test_every_interval_holds_its_figure() -> None:
    for settings in (CPU_ONLY, replace(CPU_ONLY, gpu_layers=2, device_none=False, flash_attn="off")):
        for item in footprint(dense(), settings, [CARD]).items:
            assert 0 <= item.low <= item.bytes <= item.high


def test_fit_shortens_the_context_no_more_than_it_must_and_takes_layers_only_then() -> None:
    model = dense(context_length=1 << 20)
    asked = Settings(parallel=1)
    roomy = footprint(model, asked, [Device("ROCm0", 4096 * MIB, 4096 * MIB)], 11434)
    assert 4096 < roomy.ctx < 1 << 20
    assert roomy.gpu_layers == 5
    assert roomy.at("ROCm0")[0] <= (4096 - 1024) * MIB
    # one step of context more would not fit
    longer = footprint(model, replace(asked, fit=False, ctx=roomy.ctx + 4096), [Device("ROCm0", 4096 * MIB, 4096 * MIB)], 11434)
    assert longer.at("ROCm0")[0] > (4096 - 1024) * MIB
    narrow = footprint(model, asked, [Device("ROCm0", 1340 * MIB, 4096 * MIB)], 11434)
    assert (narrow.ctx, narrow.gpu_layers < 5) == (4096, True)
    given = footprint(model, replace(asked, ctx=65536, ctx_given=True), [Device("ROCm0", 1340 * MIB, 4096 * MIB)], 11434)
    assert given.ctx == 65536


def test_rows_split_over_devices_are_named_as_not_known() -> None:
    two = [Device("ROCm0", 2048 * MIB, 2048 * MIB), Device("ROCm1", 2048 * MIB, 2048 * MIB)]
    asked = replace(CPU_ONLY, gpu_layers=ALL_LAYERS, device_none=False)
    assert "row" in footprint(dense(), replace(asked, split_mode="row"), two).missing[0]
    layered = footprint(dense(), replace(asked, tensor_split=(3.0, 1.0)), two)
    assert not layered.missing
    # four blocks up to three quarters of the five layers, then the output layer with its copy of the embeddings
    assert (mib(layered, "ROCm0", "weights"), mib(layered, "ROCm1", "weights")) == (4, 2)


TWO = [Device("Vulkan0", 2048 * MIB, 2048 * MIB), Device("Vulkan1", 2048 * MIB, 2048 * MIB)]
ON_TWO = replace(CPU_ONLY, gpu_layers=ALL_LAYERS, device_none=False)


def test_a_device_with_the_output_layer_alone_computes_next_to_nothing() -> None:
    """Of the real server: 0.05 to 0.5 MiB, where a block needs 19."""
    found = footprint(dense(), replace(ON_TWO, tensor_split=(4.0, 1.0)), TWO, 10434)
    assert mib(found, "Vulkan0", "compute") > 5
    assert mib(found, "Vulkan1", "compute") < 0.1


def test_devices_that_work_at_once_copy_their_inputs_four_times_and_not_where_a_tensor_was_placed_by_hand() -> None:
    at_once = footprint(dense(), ON_TWO, TWO, 10434)
    by_turns = footprint(dense(), replace(ON_TWO, n_cpu_moe=1), TWO, 10434)
    halved = footprint(dense(), replace(ON_TWO, gpu_layers=3), TWO, 10434)
    # masks of 512 x 4096 x 2 bytes, three times more
    assert mib(at_once, HOST, "compute") - mib(by_turns, HOST, "compute") == 12
    assert mib(at_once, HOST, "compute") - mib(halved, HOST, "compute") == 12
    assert mib(at_once, "Vulkan1", "compute") > mib(by_turns, "Vulkan1", "compute")


def test_a_device_that_computes_for_layers_on_the_host_copies_their_cache() -> None:
    """Of the real server: 118.9 MiB for 32 heads of 128 over 14,592 tokens with nine of twelve layers on the host."""
    keys: dict[str, Any] = {
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        "attention.key_length": 128,
        "attention.value_length": 128,
    }
    some = replace(ON_TWO, gpu_layers=2, ctx=16384)
    helped = footprint(dense(**keys), some, TWO[:1], 10434)
    alone = footprint(dense(**keys), replace(some, op_offload=False), TWO[:1], 10434)
    # a layer keeps 64 MiB; the next one's keys come before it is done
    assert 96 < mib(helped, "Vulkan0", "compute") - mib(alone, "Vulkan0", "compute") < 120


def test_a_software_renderer_is_a_gpu_and_processor_graphics_beside_one_are_not() -> None:
    card, inside = TWO[0], replace(TWO[1], integrated=True)
    assert footprint(dense(), ON_TWO, [card, inside], 10434).at("Vulkan1") == (0, 0, 0)
    assert footprint(dense(), ON_TWO, [card, replace(TWO[1], software=True)], 10434).at("Vulkan1")[0] > MIB
