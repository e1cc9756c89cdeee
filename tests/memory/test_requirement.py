"""What a server needs at least: the low bounds of its footprint, certain for every build and every GPU that it may have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentinel.llama.model import Model, Tensor
from sentinel.llama.settings import ALL_LAYERS, AUTO_LAYERS, HOST, Device, Settings
from sentinel.memory.footprint import footprint
from sentinel.memory.requirement import Around, Need, need, unreclaimable
from sentinel.model.entity import Unknown

MIB = 1 << 20
ALONE = Around(elsewhere=False, lock_limit_bytes=-1)
CARD = replace(ALONE, elsewhere=True)
MAPPED, COPIED, LOCKED = ("auto",), ("none",), ("mmap+mlock", "mlock")
#: bytes of K and V that a token takes in a layer: 2 heads of 64 in 16 bits, twice
ROW = 512


def model(arch: str = "llama", **keys: int | tuple[int, ...]) -> Model:
    """Four blocks of 5 MiB, 3 of them experts; 2 MiB of embeddings, 1 MiB for the output layer: 23."""
    metadata = {
        "block_count": 4, "context_length": 8192, "embedding_length": 256, "feed_forward_length": 1024,
        "attention.head_count": 4, "attention.head_count_kv": 2, "expert_count": 8, "expert_used_count": 2,
    } | keys  # fmt: skip
    sizes = [("token_embd.weight", 2), ("output.weight", 1)]
    sizes += [(f"blk.{n}.{name}.weight", size) for n in range(4) for name, size in (("attn_q", 2), ("ffn_up_exps", 3))]
    tensors, at = [], 0
    for name, size in sizes:
        tensors.append(Tensor(name, "F16", (256, size * 2048), size * MIB, 0, at))
        at += size * MIB
    return Model(arch, {f"{arch}.{key}": value for key, value in metadata.items()}, tuple(tensors), (at,))


SETTINGS = Settings(ctx=512, ctx_given=True, gpu_layers=0)


def least(
    settings: Settings = SETTINGS, modes: tuple[str, ...] = MAPPED, around: Around = ALONE, of: Model | None = None
) -> Need:
    return need(model() if of is None else of, settings, around, modes)


def weights(settings: Settings, modes: tuple[str, ...] = COPIED, around: Around = ALONE) -> float:
    return least(settings, modes, around).weights_bytes / MIB


def test_mapped_weights_need_nothing_but_their_cache_and_the_program() -> None:
    found = least()
    assert (found.weights_bytes, found.locked_bytes, found.cache_bytes) == (0, 0, 512 * 4 * ROW)
    assert (found.cache_token_bytes, found.ctx) == (4 * ROW, 512)
    assert found.total == found.cache_bytes + found.program_bytes


def test_the_program_counts_for_less_than_the_smallest_server_was_measured_with() -> None:
    # a b10434 with a vocabulary of 286 words had 15 MiB of anonymous memory, of which 1 was its cache
    assert 0 < least().program_bytes < 14 * MIB


def test_copied_and_locked_weights_count_in_full() -> None:
    assert least(modes=COPIED).weights_bytes == 23 * MIB
    assert least(modes=COPIED).locked_bytes == 0
    assert least(modes=LOCKED).locked_bytes == least(modes=LOCKED).weights_bytes == 23 * MIB


def test_a_lock_that_may_be_refused_on_the_way_holds_nothing_for_certain() -> None:
    # the tensor at the end of the file may be the first that is read: the lock reaches from the beginning to it
    assert least(modes=LOCKED, around=replace(ALONE, lock_limit_bytes=22 * MIB)).weights_bytes == 0
    assert least(modes=LOCKED, around=replace(ALONE, lock_limit_bytes=23 * MIB)).locked_bytes == 23 * MIB
    assert least(modes=LOCKED, around=replace(ALONE, lock_limit_bytes=Unknown("no access"))).total == least().total
    # where they are copied first, they are there whether the lock is granted or not
    copied = least(modes=("mlock",), around=replace(ALONE, lock_limit_bytes=0))
    assert (copied.weights_bytes, copied.locked_bytes) == (23 * MIB, 0)


@pytest.mark.parametrize(("layers", "host"), [(0, 23), (1, 22), (2, 17), (4, 7), (5, 2), (99, 2), (ALL_LAYERS, 2), (-7, 2)])
def test_layers_on_a_gpu_leave_the_host_the_first_blocks_and_the_embeddings(layers: int, host: int) -> None:
    # the output layer goes first (llama-model.cpp): -ngl 1 leaves all four blocks here
    assert weights(replace(SETTINGS, gpu_layers=layers), around=CARD) == host


def test_experts_and_patterns_kept_on_the_cpu_count_once() -> None:
    kept = replace(SETTINGS, gpu_layers=99, n_cpu_moe=3)
    assert weights(kept, around=CARD) == 2 + 3 * 3
    assert weights(replace(kept, gpu_layers=3), around=CARD) == 2 + 2 * 5 + 3
    assert weights(replace(SETTINGS, gpu_layers=99, overrides=(("attn_q", "CPU"),)), around=CARD) == 2 + 4 * 2


def test_where_the_build_chooses_all_video_memory_is_taken_off() -> None:
    auto = replace(SETTINGS, gpu_layers=AUTO_LAYERS)
    assert weights(auto, around=replace(CARD, vram_bytes=16 * MIB)) == 7
    assert weights(auto, around=CARD) == 2
    assert weights(auto, around=replace(CARD, vram_bytes=1 << 40)) == 2
    assert weights(auto, MAPPED, replace(CARD, vram_bytes=16 * MIB)) == 0
    assert weights(auto, LOCKED, replace(CARD, vram_bytes=16 * MIB)) == 7


def test_how_layers_are_spread_over_devices_makes_no_difference_to_the_host() -> None:
    spread = replace(SETTINGS, gpu_layers=3, devices=("CUDA0", "CUDA1"), split_mode="row", tensor_split=(3.0, 1.0))
    assert least(spread, COPIED, CARD) == least(replace(SETTINGS, gpu_layers=3), COPIED, CARD)
    assert least(spread, COPIED, CARD).left_out == ""


def test_the_cache_follows_its_layer_unless_it_is_kept_on_the_host() -> None:
    half = replace(SETTINGS, gpu_layers=3)
    assert least(half, around=CARD).cache_bytes == 512 * 2 * ROW
    assert least(replace(half, kv_offload=False), around=CARD).cache_bytes == 512 * 4 * ROW
    everything = least(replace(SETTINGS, gpu_layers=AUTO_LAYERS), around=CARD)
    assert (everything.cache_bytes, everything.cache_token_bytes) == (0, 0)


def test_recurrent_states_count() -> None:
    mamba = model(
        "mamba",
        **{"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "attention.head_count": 0},
    )
    assert least(of=mamba).cache_bytes == 4 * 4 * (3 * 512 + 2 * 0 + 16 * 512)
    assert least(replace(SETTINGS, parallel=3), of=mamba).cache_bytes == 3 * least(of=mamba).cache_bytes


def test_buffers_for_computing_are_reported_and_not_added() -> None:
    wide = least(replace(SETTINGS, ctx=8192, ubatch=2048, flash_attn="off"))
    narrow = least(replace(SETTINGS, ctx=8192, ubatch=512, flash_attn="off"))
    assert wide.compute_bytes > 2 * narrow.compute_bytes > 0
    assert wide.total == narrow.total


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        (Settings(ctx=4000, ctx_given=True), 3840),
        (Settings(ctx=100, ctx_given=True), 256),
        (Settings(), 4096),
        (Settings(ctx_given=True), 4096),
        (Settings(fit_ctx=1024), 1024),
        (Settings(fit_ctx=1 << 20), 8192),
        (Settings(fit=False), 8192),
        # of slots that are not asked for newer builds have four, older ones one; those asked for may share one cache
        (Settings(ctx=4096, ctx_given=True, parallel=3), 4096),
    ],
)
def test_the_context_is_the_least_that_any_build_makes_of_the_flags(settings: Settings, tokens: int) -> None:
    found = least(replace(settings, gpu_layers=0))
    assert (found.ctx, found.cache_bytes) == (tokens, tokens * 4 * ROW)


def test_a_window_counts_once_and_a_token_costs_what_the_other_layers_keep() -> None:
    windowed = model("gemma2", **{"attention.sliding_window": 256})
    found = least(replace(SETTINGS, ctx=8192), of=windowed)
    assert found.cache_token_bytes == 2 * ROW
    assert found.cache_bytes == 2 * ROW * (8192 + 256 + 512)


def test_a_cache_of_unknown_layout_is_left_out_and_said_so() -> None:
    found = least(modes=COPIED, of=model("brand-new"))
    assert (found.weights_bytes, found.cache_bytes) == (23 * MIB, 0)
    assert "brand-new" in found.left_out
    assert isinstance(found.cache_token_bytes, Unknown)
    odd = least(replace(SETTINGS, cache_type_k="turbo3"))
    assert odd.cache_bytes == 0
    assert "turbo3" in odd.left_out


@pytest.mark.parametrize("layers", [0, 3, 99])
@pytest.mark.parametrize("mode", ["none", "mlock", "mmap+mlock", "auto"])
def test_it_is_the_sum_of_what_a_preflight_calls_firm(mode: str, layers: int) -> None:
    """The same start by both ways, on a build of today with one GPU."""
    settings = replace(SETTINGS, gpu_layers=layers, parallel=1, load_mode=mode)
    items = footprint(model(), settings, [Device("ROCm0", 1 << 40, 1 << 40)]).items
    low = sum(item.low for item in unreclaimable(item for item in items if item.place == HOST))
    assert least(settings, (mode,), CARD).total == low
