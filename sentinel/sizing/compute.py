"""How large the buffers for computing are, as an interval.

The scheduler reserves them for the largest graph it can meet (src/llama-context.cpp, sched_reserve): a full micro-batch against
a full cache. What lives at one time decides: the masks all along, and the widest step of a layer, which is the feed-forward
with its gate, its product and what both are made of, or attention where all scores are written down. The sums below were read
off the graphs of src/llama-graph.cpp and held against the sizes that llama-server prints (eval/preflight.py): mostly within a
tenth, since the allocator leaves gaps that depend on the order of steps. The interval covers what was seen and some more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentinel.sizing.architectures import Caches
from sentinel.sizing.context import Context
from sentinel.sizing.model_file import Model
from sentinel.sizing.placement import Weights
from sentinel.sizing.settings import HOST, Settings

_FLOAT = 4
_MIB = 1 << 20
#: a device computes for weights on the host from this many tokens on (ggml-cuda.cu and ggml-vulkan.cpp, min_batch_size)
_OFFLOAD_TOKENS = 32
#: copies of each input when several devices work at once (ggml-backend.cpp, GGML_SCHED_MAX_COPIES)
_PIPELINE = 4


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes: a best guess between two bounds."""

    bytes: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Graph:
    """What the steps of the largest graph take, in bytes: `row` is one vector of the embeddings' width for every token."""

    row: int
    masks: int
    widest: int
    mixed: bool
    logits: int
    #: scores of the sparse attention's indexer, where no fused operation spares them
    indexer: int = 0


def graph(model: Model, ctx: Context, shape: Caches, *, flash: bool) -> Graph:
    """The sizes of the steps for a full micro-batch."""
    tokens, embed = ctx.ubatch, model.number("embedding_length")
    unit = _FLOAT * tokens
    attends = [layer for layer in shape.layers if layer.k]
    cell = 2 if flash else _FLOAT
    masks = 0
    if any(not layer.windowed for layer in attends):
        masks += cell * tokens * ctx.per_stream
    if any(layer.windowed for layer in attends):
        masks += cell * tokens * ctx.window(shape.window)
    if any(layer.index for layer in attends):
        masks += _FLOAT * tokens * ctx.per_stream
    heads = max(model.per_layer("attention.head_count") or (0,))
    widths = [unit * embed]
    dense = max(model.per_layer("feed_forward_length") or (0,))
    used = model.number("expert_used_count")
    expert = model.number("expert_feed_forward_length") or (dense if used else 0)
    if used:
        widths += [3 * unit * used * expert, 2 * unit * (used - 1) * embed]
    if not used or model.number("leading_dense_block_count") or model.arch == "jamba":
        widths.append(3 * unit * dense)
    latent = model.number("attention.key_length") if model.given("attention.key_length_mla") else 0
    if shape.recurrent:
        inner, groups = model.number("ssm.inner_size") or embed, model.number("ssm.group_count")
        convolved = inner + 2 * groups * model.number("ssm.state_size")
        widths.append(unit * (4 * convolved + 2 * inner if groups else 5 * inner))
    scores = 0
    if attends:
        scores = 0 if flash else unit * heads * ctx.per_stream
        rows = heads * (latent + 2 * model.number("attention.value_length")) - 3 * embed if latent else 0
        widths.append(scores + unit * max(rows, 0))
    indexer = 2 * unit * model.number("attention.indexer.head_count") * ctx.per_stream if any(n.index for n in attends) else 0
    return Graph(unit * embed, masks, max(widths), shape.recurrent, unit * model.vocabulary, indexer)


def compute(
    model: Model,
    settings: Settings,
    ctx: Context,
    shape: Caches,
    places: Sequence[str],
    found: Mapping[str, Weights],
    devices: Sequence[str],
    *,
    flash: bool,
    all_logits: bool | None,
) -> dict[str, Span]:
    """Compute buffers by place. `all_logits`: the build reserves them for every token (older ones), None: not known."""
    sizes = graph(model, ctx, shape, flash=flash)
    row = sizes.row
    if not devices:
        guess = sizes.masks + 4 * row + sizes.widest
        return {HOST: _span(guess, sizes, all_logits)}
    spans: dict[str, Span] = {}
    borrowing = settings.op_offload and ctx.ubatch >= _OFFLOAD_TOKENS
    copies = _PIPELINE if len(set(places)) > 1 and HOST not in places and len(devices) > 1 else 1
    on_host = HOST in places or found.get(HOST, Weights()).computed > 0
    for name in devices:
        guess = copies * (sizes.masks + row) + row + max(sizes.widest, sizes.indexer)
        if on_host and borrowing:
            guess += found[HOST].borrowed if HOST in found else 0
        spans[name] = _span(guess, sizes, all_logits if places[-1] == name else False)
    inputs = sizes.masks + 2 * row
    if on_host and not borrowing:
        inputs = sizes.masks + 4 * row + sizes.widest
    spans[HOST] = _span(inputs, sizes, all_logits if places[-1] == HOST else False)
    return spans


def _span(guess: int, sizes: Graph, all_logits: bool | None) -> Span:
    logits = sizes.logits + 2 * sizes.row
    least, most = (guess - sizes.indexer) * 3 // 4, (guess + sizes.indexer) * 4 // 3 + 4 * sizes.row + _MIB
    least = max(least, 0)
    if sizes.mixed:
        least, most = guess // 2, guess * 2 + 4 * sizes.row
    if all_logits:
        guess, least = max(guess, logits), max(least, logits)
    if all_logits is not False:
        most = max(most, logits + sizes.masks + 4 * sizes.row)
    return Span(guess, least, most)
