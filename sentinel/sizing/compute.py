"""How large the buffers for computing are, as an interval.

The scheduler reserves them for the largest graph (src/llama-context.cpp, sched_reserve): a full micro-batch against a full cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentinel.sizing.architectures import Caches
from sentinel.sizing.context import Context
from sentinel.sizing.model_file import Model
from sentinel.sizing.settings import HOST, Settings


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes: a best guess between two bounds."""

    bytes: int
    low: int
    high: int


def compute(
    model: Model, settings: Settings, ctx: Context, shape: Caches, places: Sequence[str], devices: Sequence[str], *, flash: bool
) -> dict[str, Span]:
    """Compute buffers by place: each device that has layers, and the host."""
    tokens, embed = ctx.ubatch, model.number("embedding_length")
    spans: dict[str, Span] = {}
    for place in {HOST, *devices}:
        row = 4 * tokens * embed
        layers = any(p == place for p in places[:-1])
        logits = 4 * tokens * model.vocabulary if places[-1] == place else 0
        scores = 0
        if layers and not flash:
            scores = 4 * tokens * ctx.per_stream * max(model.number("attention.head_count"), 1)
        forward = 4 * tokens * max(model.per_layer("feed_forward_length") or (0,)) if layers else 0
        mask = 4 * tokens * ctx.per_stream
        low = max(logits, scores)
        guess = max(logits + row, scores * 2 + 6 * row + mask, 2 * forward + 4 * row + mask)
        spans[place] = Span(guess, low, guess * 2 + 8 * row + mask + (64 << 20))
    return spans
