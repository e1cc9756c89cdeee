"""What a server needs at least: certain bytes count, everything else counts as nothing."""

from __future__ import annotations

from dataclasses import replace

from sentinel.model.labels import Unknown
from sentinel.sizing.need import Loading, Placement, need
from sentinel.sizing.shape import ModelShape

#: 4 blocks of 100 bytes, 60 of them experts, 40 of embeddings, 10 of output: 450
SHAPE = ModelShape(
    arch="llama",
    layers=4,
    ctx_train=2048,
    embed=256,
    heads=4,
    heads_kv=(2,),
    weights_bytes=450,
    block_bytes=dict.fromkeys(range(4), 100),
    block_expert_bytes=dict.fromkeys(range(4), 60),
    input_bytes=40,
)
HOST = Placement(0, no_gpu=True)
MAPPED = Loading(
    mapped=True, locked=False, lock_limit_bytes=-1, ctx=512, fit_floor_known=True, cache_type_k="f16", cache_type_v="f16",
    cache_on_gpu=False,
)  # fmt: skip
COPIED = replace(MAPPED, mapped=False)
LOCKED = replace(MAPPED, locked=True)


def test_mapped_weights_need_nothing_but_their_cache() -> None:
    found = need(SHAPE, HOST, MAPPED)
    assert (found.weights_bytes, found.locked_bytes, found.cache_bytes) == (0, 0, 1 << 20)
    assert found.total == 1 << 20


def test_copied_and_locked_weights_count_in_full() -> None:
    assert need(SHAPE, HOST, COPIED).weights_bytes == 450
    assert need(SHAPE, HOST, COPIED).locked_bytes == 0
    assert need(SHAPE, HOST, LOCKED).locked_bytes == 450


def test_no_more_is_locked_than_the_limit_allows() -> None:
    assert need(SHAPE, HOST, replace(LOCKED, lock_limit_bytes=64)).weights_bytes == 64
    assert need(SHAPE, HOST, replace(LOCKED, lock_limit_bytes=Unknown("no access"))).weights_bytes == 0


def test_layers_on_a_gpu_leave_the_host_the_first_blocks_and_the_embeddings() -> None:
    for layers, host in ((1, 440), (2, 340), (4, 140), (5, 40), (99, 40), (-2, 40)):
        assert need(SHAPE, Placement(layers, no_gpu=False), COPIED).weights_bytes == host
    # the output layer goes first (llama-model.cpp): -ngl 1 leaves all four blocks here
    assert need(SHAPE, Placement(0, no_gpu=False), COPIED).weights_bytes == 450


def test_experts_kept_on_the_cpu_count_once() -> None:
    kept = Placement(99, no_gpu=False, cpu_experts=3)
    assert need(SHAPE, kept, COPIED).weights_bytes == 40 + 3 * 60
    assert need(SHAPE, replace(kept, gpu_layers=3), COPIED).weights_bytes == 40 + 200 + 60


def test_where_the_build_chooses_all_video_memory_is_taken_off() -> None:
    auto = Placement(-1, no_gpu=False, vram_bytes=300)
    assert need(SHAPE, auto, COPIED).weights_bytes == 150
    assert need(SHAPE, replace(auto, vram_bytes=None), COPIED).weights_bytes == 40
    assert need(SHAPE, replace(auto, vram_bytes=10_000), COPIED).weights_bytes == 40


def test_layers_that_may_go_to_another_machine_count_as_nothing() -> None:
    found = need(SHAPE, Placement(0, no_gpu=True, elsewhere=True), replace(COPIED, cache_on_gpu=True))
    assert found.total == 0


def test_the_cache_follows_its_layer_unless_it_is_kept_on_the_host() -> None:
    half = Placement(3, no_gpu=False)
    assert need(SHAPE, half, replace(MAPPED, cache_on_gpu=True)).cache_bytes == 512 * 1024
    assert need(SHAPE, half, MAPPED).cache_bytes == 512 * 2048
    assert need(SHAPE, Placement(-1, no_gpu=False), replace(MAPPED, cache_on_gpu=True)).cache_bytes == 0


def test_a_cache_of_unknown_layout_is_left_out_and_said_so() -> None:
    found = need(replace(SHAPE, arch="gemma3"), HOST, COPIED)
    assert (found.weights_bytes, found.cache_bytes) == (450, 0)
    assert "gemma3" in found.left_out
    assert isinstance(found.cache_token_bytes, Unknown)
