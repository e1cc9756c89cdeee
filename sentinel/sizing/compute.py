"""How large the buffers for computing are, as an interval.

The scheduler reserves them for the largest graph it can meet (src/llama-context.cpp, sched_reserve): a full micro-batch against
a full cache. What lives at one time decides: the masks all along, and the widest step of a layer, which is the feed-forward
with its gate, its product and what both are made of, or attention where all scores are written down. The sums below were read
off the graphs of src/llama-graph.cpp and held against the sizes that llama-server prints (eval/preflight.py): mostly within a
tenth, since the allocator leaves gaps that depend on the order of steps. The interval covers what was seen and some more.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """What the steps of the largest graph take, in bytes."""

    #: one vector of the embeddings' width for every token
    row: int
    masks: int
    #: the widest step, and the one that writes all scores down
    widest: int
    scores: int
    #: what the feed-forward makes of one token's vector
    forward: int
    #: scores of the sparse attention's indexer, where no fused operation spares them
    indexer: int
    logits: int
    #: recurrent layers, whose steps differ by backend
    mixed: bool


def graph(model: Model, ctx: Context, shape: Caches, *, flash: bool) -> Graph:
    """The sizes of the steps for a full micro-batch."""
    tokens, embed = ctx.ubatch, model.number("embedding_length")
    unit = _FLOAT * tokens
    attends = [layer for layer in shape.layers if layer.attends]
    cell = 2 if flash else _FLOAT
    masks = 0
    if any(not layer.windowed for layer in attends):
        masks += cell * tokens * ctx.per_stream
    if any(layer.windowed for layer in attends):
        masks += cell * tokens * ctx.window(shape.window)
    indexed = any(layer.index for layer in attends)
    if indexed:
        masks += _FLOAT * tokens * ctx.per_stream
    heads = max(model.per_layer("attention.head_count") or (0,))
    dense = max(model.per_layer("feed_forward_length") or (0,))
    used = model.number("expert_used_count")
    expert = used * (model.number("expert_feed_forward_length") or dense)
    if not used or model.number("leading_dense_block_count") or model.arch == "jamba":
        expert = max(expert, dense)
    # gate, up and their product; with experts also what each of them answers, twice
    widths = [3 * expert, 2 * used * embed]
    latent = model.number("attention.key_length") if model.given("attention.key_length_mla") else 0
    wide = heads * (latent + 2 * model.number("attention.value_length")) - 3 * embed if latent and attends else 0
    widths.append(wide)
    if shape.recurrent:
        inner, groups = model.number("ssm.inner_size") or embed, model.number("ssm.group_count")
        convolved = inner + 2 * groups * model.number("ssm.state_size")
        widths.append(4 * convolved + 2 * inner if groups else 5 * inner)
    return Graph(
        row=unit * embed,
        masks=masks,
        widest=unit * max(widths),
        scores=0 if flash or not attends else unit * (heads * ctx.per_stream + max(wide, 0)),
        forward=unit * expert,
        indexer=2 * unit * model.number("attention.indexer.head_count") * ctx.per_stream if indexed else 0,
        logits=unit * model.vocabulary,
        mixed=shape.recurrent,
    )


def compute(
    sizes: Graph,
    settings: Settings,
    ctx: Context,
    places: Sequence[str],
    on_host: Weights,
    devices: Sequence[str],
    *,
    trunk: int,
    all_logits: bool | None,
) -> dict[str, Span]:
    """Compute buffers by place.

    `trunk`: blocks that are computed, without those for further tokens. `all_logits`: the build reserves logits for every
    token (older ones do), None: not known.
    """
    row, masks = sizes.row, sizes.masks
    step = max(sizes.widest, sizes.scores)
    alone = masks + 4 * row + step
    if not devices:
        return {HOST: _span(alone, alone, alone + sizes.indexer, sizes, all_logits)}
    computes = HOST in places[:-1] or on_host.computed > 0
    borrows = computes and settings.op_offload and ctx.ubatch >= _OFFLOAD_TOKENS
    pipeline = len(devices) > 1 and not computes and settings.kv_offload
    spans: dict[str, Span] = {}
    for name in devices:
        guess = least = masks + 2 * row + max(step, sizes.indexer)
        if pipeline:
            guess += (_PIPELINE - 1) * (masks + row)
        if borrows:
            guess = max(guess + 4 * row, 2 * on_host.largest + sizes.forward + row)
        if sum(place == name for place in places[:trunk]) < 2:
            # the last layer computes its feed-forward for the last token alone
            least = masks // 2 + row
            guess = guess if borrows else masks + 3 * row + sizes.scores
        # without flash attention a device that cannot take the scores leaves them to the host
        least = min(least, guess) - sizes.scores - sizes.indexer
        most = guess + sizes.indexer + (2 * on_host.largest + step // 2 if borrows else 0)
        spans[name] = _span(guess, least, most, sizes, all_logits if places[-1] == name else False)
    inputs = masks + 2 * row
    guess = alone if computes and not borrows else inputs + (sizes.scores if HOST in places[:-1] else 0)
    most = max(guess, alone + sizes.indexer) if computes or not settings.kv_offload or sizes.scores or sizes.mixed else guess
    spans[HOST] = _span(guess, min(inputs, guess), most, sizes, all_logits if places[-1] == HOST else False)
    return spans


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
