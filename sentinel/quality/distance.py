"""How far two answers are apart: Jensen-Shannon divergence over the kept tokens, and everything else as one bucket.

Why not Kullback-Leibler, which llama-perplexity prints: it is infinite where one side gives a token no probability, and most of
it comes from tokens that neither side would ever choose. Jensen-Shannon is finite, the same in both directions, and between 0
(equal) and 1 bit (nothing in common), so that one scale fits all.

Of a token that one side keeps and the other does not, the other's probability is known only to be at most that of its last kept
token, and at most what is left to the rest. It is read in favour of no change, so the divergence is not overstated.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

from sentinel.quality.answer import Answer

#: Answers whose kept tokens have all of the probability, to this, are normalised over the kept tokens.
_ALL = 1e-4


def is_cut(answers: Mapping[str, Answer]) -> bool:
    """Whether a server gives probabilities among the kept tokens alone, as builds of September to December 2024 do at temperature
    0 (top-k before softmax). With a whole vocabulary some prefix always leaves more than 0.01 % to the rest.
    """
    return bool(answers) and all(answer.kept > 1 - _ALL for answer in answers.values() if answer.is_number)


def shares(answer: Answer, *, by_text: bool) -> dict[Hashable, float]:
    """Probability by token: by its number, or by its text where a side has no numbers."""
    found: dict[Hashable, float] = {}
    for choice in answer.choices:
        key: Hashable = choice.token.text if by_text else choice.token.id
        found[key] = found.get(key, 0.0) + math.exp(choice.logprob)
    return found


def divergence(one: Mapping[Hashable, float], other: Mapping[Hashable, float], *, cut: bool = False) -> float:
    """Jensen-Shannon divergence in bits. `cut`: one side has probabilities among its kept tokens alone, so there is no rest."""
    left, right = _filled(one, other, cut=cut), _filled(other, one, cut=cut)
    pairs = [(left[key], right[key]) for key in left]
    if cut:
        all_left, all_right = math.fsum(left.values()), math.fsum(right.values())
        pairs = [(p / all_left, q / all_right) for p, q in pairs]
    else:
        pairs.append((max(1 - math.fsum(left.values()), 0.0), max(1 - math.fsum(right.values()), 0.0)))
    return min(max(math.fsum(_term(p, q) + _term(q, p) for p, q in pairs) / 2, 0.0), 1.0)


def change(token: Hashable, before: Mapping[Hashable, float], after: Mapping[Hashable, float]) -> float:
    """Change of a token's log probability, in nats; where it is kept no more, of the most that it can have."""
    now = after[token] if token in after else _most(after)
    return math.log(max(now, 1e-12)) - math.log(before[token])


def _filled(own: Mapping[Hashable, float], other: Mapping[Hashable, float], *, cut: bool) -> dict[Hashable, float]:
    """Of every token that either side keeps."""
    least = min(own.values())
    missing = {key: min(p, least) for key, p in other.items() if key not in own}
    left = math.inf if cut else max(1 - math.fsum(own.values()), 0.0)
    wanted = math.fsum(missing.values())
    factor = min(left / wanted, 1.0) if wanted > 0 else 1.0
    # in one order on both sides: sums of floats depend on it
    keys = sorted({*own, *other}, key=repr)
    return {key: own[key] if key in own else missing[key] * factor for key in keys}


def _most(kept: Mapping[Hashable, float]) -> float:
    rest = 1 - math.fsum(kept.values())
    least = min(kept.values())
    return min(least, rest) if rest > _ALL else least


def _term(p: float, q: float) -> float:
    return p * math.log2(2 * p / (p + q)) if p > 0 else 0.0
