"""Intervals and probabilities by resampling, from a seed: the same numbers give the same result on every machine.

The generator is SplitMix64 (Steele, Lea and Flood 2014): Python's own may draw others in another version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

_MASK = (1 << 64) - 1
SEED = 20251203
RESAMPLES = 2000


def _numbers(seed: int) -> Iterator[int]:
    state = seed & _MASK
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        yield z ^ (z >> 31)


def mean(values: Sequence[float]) -> float:
    """The average, correctly rounded."""
    return math.fsum(values) / len(values)


def intervals(rows: Sequence[Sequence[float]], seed: int = SEED) -> list[tuple[float, float]]:
    """Of each column the 95 % interval of its mean: percentiles of the means of resampled rows (bootstrap)."""
    drawn, count = _numbers(seed), len(rows)
    columns = list(zip(*rows, strict=True))
    means: list[list[float]] = [[] for _ in columns]
    for _ in range(RESAMPLES):
        chosen = [next(drawn) % count for _ in range(count)]
        for column, found in zip(columns, means, strict=True):
            found.append(math.fsum([column[at] for at in chosen]) / count)
    return [(found[RESAMPLES * 25 // 1000], found[RESAMPLES * 975 // 1000 - 1]) for found in map(sorted, means)]


def permutation(arrangements: Sequence[Sequence[float]], seed: int = SEED) -> float:
    """The probability of a sum as large as the observed one by chance alone.

    Of each item the statistic under every arrangement of its labels, the observed one first. One is drawn for each item.
    """
    drawn = _numbers(seed)
    observed = math.fsum(one[0] for one in arrangements)
    # sums in another order differ in the last digits
    enough = observed - 1e-12 * max(abs(observed), 1.0)
    reached = sum(sum(one[next(drawn) % len(one)] for one in arrangements) >= enough for _ in range(RESAMPLES))
    return (1 + reached) / (1 + RESAMPLES)
