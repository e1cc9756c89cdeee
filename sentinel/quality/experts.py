"""How often each expert of a mixture is used, before and now: shares by layer, who is abandoned, how far they moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentinel.model.fault import Fault
from sentinel.quality.distance import divergence
from sentinel.quality.resampling import mean

#: An expert is abandoned if its share fell below this part of what it was.
ABANDONED = 0.1
#: Nothing is said of an expert that would be used less often than this: where 20 uses are expected, fewer than 2 come by chance
#: once in 20 million.
FEWEST = 20.0


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. `abandoned` of `judged`; the others were too rare before, or the text too short."""

    number: int
    before: tuple[float, ...]
    now: tuple[float, ...]
    judged: int
    abandoned: tuple[int, ...]
    divergence: float
    rank_correlation: float | None


class Incomparable(Fault):
    """Two importance matrices are not of one model."""


def layers_of(
    before: Mapping[int, Sequence[float]], now: Mapping[int, Sequence[float]], part: float = ABANDONED
) -> dict[int, Layer]:
    """All layers, from the counts of both. Raises Incomparable."""
    if set(before) != set(now):
        raise Incomparable("the two files have other layers: they are of two models")
    for number, counts in before.items():
        if len(counts) != len(now[number]):
            raise Incomparable(f"layer {number} has {len(counts)} experts and {len(now[number])}: they are of two models")
    return {number: layer(number, counts, now[number], part) for number, counts in before.items()}


def layer(number: int, before: Sequence[float], now: Sequence[float], part: float = ABANDONED) -> Layer:
    """From the counts of both, which are as many. A layer without any use has no shares."""
    old, new = shares(before), shares(now)
    judged = [at for at, share in enumerate(old) if share * sum(now) >= FEWEST]
    return Layer(
        number,
        old,
        new,
        len(judged),
        tuple(at for at in judged if new[at] < part * old[at]),
        divergence(dict(enumerate(old)), dict(enumerate(new))),
        rank_correlation(old, new),
    )


def shares(counts: Sequence[float]) -> tuple[float, ...]:
    """Of all uses."""
    whole = math.fsum(counts)
    return tuple(count / whole if whole else 0.0 for count in counts)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's, ties at their middle rank; None where one side has no ranks."""
    first, second = _ranks(one), _ranks(other)
    middle = (len(one) - 1) / 2
    spread = math.sqrt(math.fsum((x - middle) ** 2 for x in first) * math.fsum((y - middle) ** 2 for y in second))
    return math.fsum((x - middle) * (y - middle) for x, y in zip(first, second, strict=True)) / spread if spread else None


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [mean([float(place) for place in places[value]]) for value in values]


def whole(layers: Mapping[int, Layer]) -> tuple[int, int, float]:
    """Of all layers: experts that are abandoned, that were judged, and the mean divergence."""
    found = list(layers.values())
    return sum(len(one.abandoned) for one in found), sum(one.judged for one in found), mean([one.divergence for one in found])
