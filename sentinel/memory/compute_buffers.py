"""The size of the compute buffers, as an interval.

The scheduler reserves them for the largest graph it can meet (src/llama-context.cpp, sched_reserve): a full micro-batch against
a full cache. What lives at one time decides: the masks all along, and the widest step of a layer, which is the feed-forward
with its gate, its product and what both are made of, or attention where all scores are written down. The sums below were read
off the graphs of src/llama-graph.cpp and held against the sizes that llama-server prints (eval/preflight.py): mostly within a
tenth, since the allocator leaves gaps that depend on the order of steps. The interval covers what was seen and some more, also of
models and flags that were drawn by chance after this was written (eval/preflight_held_out.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sentinel.llama.architectures import Caches
from sentinel.llama.model import Model
from sentinel.llama.settings import HOST, Settings
from sentinel.memory.kv_cache import Context
from sentinel.memory.placement import Weights

_FLOAT, _INDEX = 4, 8
_MIB = 1 << 20
#: a device computes for weights on the host from this many tokens on (ggml-cuda.cu and ggml-vulkan.cpp, min_batch_size)
_OFFLOAD_TOKENS = 32
#: copies of each input when several devices work at once (ggml-backend.cpp, GGML_SCHED_MAX_COPIES)
_PIPELINE = 4


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes: the expected value between two bounds."""

    bytes: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The steps of the largest graph, in bytes."""

    #: one embedding vector for every token
    row: int
    #: masks, and other inputs of their size
    masks: int
    #: the widest step: expected, and at least; the step that writes all scores
    widest: int
    narrow: int
    scores: int
    #: queries of all heads
    queries: int
    #: the feed-forward's intermediate for one token
    forward: int
    #: scores of the sparse attention's indexer, unless a fused operation avoids them
    indexer: int
    logits: int
    #: recurrent layers, whose steps differ by backend
    mixed: bool
    #: what one layer hands over if a device leaves an operation to the host: the scan, or latent attention of several streams
    handed: int


def graph(model: Model, ctx: Context, shape: Caches, *, flash: bool, blocks: Collection[int]) -> Graph:
    """The sizes of the steps for a full micro-batch through these blocks."""
    tokens, embed = ctx.ubatch, model.number("embedding_length")
    unit = _FLOAT * tokens
    attends = [layer for at, layer in enumerate(shape.layers) if layer.attends and at in blocks]
    cell = 2 if flash else _FLOAT
    masks = cells = 0
    for windowed in (True, False):
        there = [layer for layer in attends if layer.windowed is windowed]
        if there:
            cells = ctx.window(shape.window) if windowed else ctx.per_stream
            masks += cell * tokens * cells
            # V is kept transposed, and each of its elements has an index (llama-kv-cache.cpp, build_input_v_idxs)
            masks += 0 if flash else _INDEX * tokens * max(layer.v for layer in there)
    indexed = any(layer.index for layer in attends)
    if indexed:
        masks += _FLOAT * tokens * ctx.per_stream
    heads = _widest(model.per_layer("attention.head_count"), blocks)
    dense = _widest(model.per_layer("feed_forward_length"), blocks)
    used = model.number("expert_used_count")
    expert = used * (model.number("expert_feed_forward_length") or dense)
    if not used or model.number("leading_dense_block_count") or model.arch == "jamba":
        expert = max(expert, dense)
    queries = heads * model.number("attention.key_length") if attends else 0
    # gate, up and their product; with experts also the output of each, twice; attention with its queries and its output
    widths = [3 * expert, 2 * used * embed, 2 * queries + 2 * max((layer.k for layer in attends), default=0)]
    narrow = used * embed if used else 2 * expert
    latent = model.number("attention.key_length") if model.given("attention.key_length_mla") else 0
    wide = heads * (latent + 2 * model.number("attention.value_length")) - 3 * embed if latent and attends else 0
    if latent:
        widths = [*widths[:2], wide]
    if shape.recurrent:
        inner, groups = model.number("ssm.inner_size") or embed, model.number("ssm.group_count")
        convolved = inner + 2 * groups * model.number("ssm.state_size")
        widths.append(4 * convolved + 2 * inner if groups else 5 * inner)
    scores = 0
    if not flash and attends:
        # plus the queries and the output
        scores = unit * (heads * cells + (max(wide, 0) if latent else 2 * queries))
        if latent:
            # V is written as well, from a cache that has none
            scores = max(scores, unit * heads * cells + 2 * ctx.streams * cells * model.number("attention.value_length"))
    handed = unit * max(widths) // 2 if shape.recurrent else 0
    if latent and ctx.streams > 1:
        handed = unit * heads * model.number("attention.value_length")
    return Graph(
        row=unit * embed,
        masks=masks,
        widest=unit * max(widths),
        narrow=unit * min(narrow, max(widths)),
        scores=scores,
        queries=unit * queries,
        forward=unit * expert,
        indexer=2 * unit * model.number("attention.indexer.head_count") * ctx.per_stream if indexed else 0,
        logits=unit * model.vocabulary,
        mixed=shape.recurrent,
        handed=handed,
    )


def _widest(numbers: Sequence[int], blocks: Collection[int]) -> int:
    return max((number for at, number in enumerate(numbers) if at in blocks), default=0)


def compute(
    model: Model,
    shape: Caches,
    settings: Settings,
    ctx: Context,
    places: Sequence[str],
    on_host: Weights,
    devices: Sequence[str],
    *,
    flash: bool,
    trunk: int,
    host_cache: int,
    all_logits: bool | None,
) -> dict[str, Span]:
    """Compute buffers by place.

    `trunk`: computed blocks, without those for further tokens. `host_cache`: what a device copies of the host's caches
    to compute with them. `all_logits`: the build reserves logits for every token (older ones do), None: unknown.
    """
    whole = graph(model, ctx, shape, flash=flash, blocks=range(trunk))
    alone = whole.masks + 4 * whole.row + max(whole.widest, whole.scores)
    if not devices:
        least = whole.masks + 2 * whole.row + max(whole.narrow, whole.scores)
        return {HOST: _span(alone, least, alone + whole.indexer, whole, all_logits)}
    computes = HOST in places[:-1] or on_host.computed > 0
    borrows = computes and settings.op_offload and ctx.ubatch >= _OFFLOAD_TOKENS
    pipeline = len(devices) > 1 and HOST not in places and settings.kv_offload and not _overridden(settings)
    # several batches in flight keep the transfers between two places for each layer, in as many copies
    handed = whole.handed if pipeline else 0
    spans: dict[str, Span] = {}
    for name in devices:
        blocks = [at for at, place in enumerate(places[:trunk]) if place == name]
        # the first device that can takes the host's operations (ggml-backend.cpp, ggml_backend_sched_backend_id_from_cur)
        helps = borrows and name == devices[0]
        if helps:
            blocks = list(range(trunk))
        if not blocks:
            # the output layer at most, for the last token of each slot
            last = _FLOAT * model.vocabulary * ctx.slots if places[-1] == name else 0
            spans[name] = _span(last, 0, last + whole.row, whole, all_logits if last else False)
            continue
        sizes = graph(model, ctx, shape, flash=flash, blocks=blocks)
        masks, row, step = sizes.masks, sizes.row, max(sizes.widest, sizes.scores)
        guess = masks + 2 * row + max(step, sizes.indexer)
        # experts may be elsewhere
        least = masks + 2 * row + max(0 if _overridden(settings) else sizes.narrow, sizes.scores)
        copies = (_PIPELINE - 1) * (masks + row) if pipeline else 0
        guess += copies
        if helps:
            guess = max(guess + 4 * row, 2 * on_host.largest + sizes.forward + row)
        most = guess + sizes.indexer + (2 * on_host.largest + step // 2 if helps else 0)
        if host_cache and (helps or not settings.kv_offload):
            borrowed = masks + 3 * row + 2 * sizes.queries + host_cache
            guess, most = max(guess, borrowed) if helps else guess, max(most, borrowed + step)
        if handed:
            most += (_PIPELINE - 1) * max(step, handed)
        if blocks == [trunk - 1]:
            # the last layer computes its feed-forward for the last token alone
            least = masks // 2 + row
            guess = guess if helps else masks + 3 * row + sizes.scores + copies
        # without flash attention a device that cannot hold the scores leaves them to the host
        least = min(least, guess) - sizes.scores - sizes.indexer
        if not settings.kv_offload:
            # attention runs where its cache is
            least -= masks
        spans[name] = _span(guess, least, most, sizes, all_logits if places[-1] == name else False)
    inputs = whole.masks + 2 * whole.row
    guess = alone if computes and not borrows else inputs + (whole.scores if HOST in places[:-1] else 0)
    least = min(inputs, guess)
    elsewhere = computes or not settings.kv_offload or whole.scores or whole.handed
    most = max(guess, alone + whole.indexer + whole.handed) if elsewhere else guess
    if pipeline:
        guess += (_PIPELINE - 1) * whole.masks
        most = max(most, guess) + (_PIPELINE - 1) * whole.row + _PIPELINE * trunk * handed
    spans[HOST] = _span(guess, least, most, whole, all_logits if places[-1] == HOST else False)
    return spans


def _overridden(settings: Settings) -> bool:
    """Any tensor was placed by hand, which disables the pipeline (src/llama-context.cpp, has_tensor_overrides)."""
    return bool(settings.overrides or settings.cpu_moe or settings.n_cpu_moe or settings.n_cpu_ffn)


def _span(guess: int, least: int, most: int, sizes: Graph, all_logits: bool | None) -> Span:
    """An interval around a figure: the allocator's gaps, and older builds' logits."""
    logits = sizes.logits + 2 * sizes.row
    least = max(least, 0) * 3 // 4
    most = most * 4 // 3 + 4 * sizes.row + _MIB
    if sizes.mixed:
        least, most = least * 2 // 3, most * 3 // 2
    if all_logits:
        guess, least = max(guess, logits), max(least, logits)
    if all_logits is not False:
        most = max(most, logits + sizes.masks + 4 * sizes.row)
    return Span(guess, min(least, guess), max(most, guess))
