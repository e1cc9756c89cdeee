"""Two measurements held against each other: how far the answers moved, and whether that is more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from sentinel.quality.distance import change, divergence, is_cut, shares
from sentinel.quality.measurement import Measurement
from sentinel.quality.resampling import intervals, mean, permutation

#: Below this mean divergence (bits) nothing is reported, however certain: twice the largest that was measured of the same
#: quantized weights computed by other kernels (-fa off: 0.0035, --no-repack: 0.0022; restarts, slots, threads, batches: 0.0001).
FLOOR = 0.007
#: A change above this is mentioned: restarts, slots, threads and batches stay below.
NOTED = 0.0005
#: A category of a dozen prefixes is noisier than all hundred: there the same two changes made up to 0.0086.
CATEGORY_FLOOR = 0.02
#: Chance that labels drawn at random do as much; at most one false alarm in two hundred, over all categories together.
CHANCE = 0.005
#: Mean divergence (bits), its size, and what was measured to be so far from F16 weights with gemma-3-270m (docs/quality.md).
SCALE = (
    (FLOOR, "slight", "over all prefixes no more than other kernels make of the same weights"),
    (0.03, "small", "more than a Q8_0 file and less than a Q3_K_M file changes in a small model"),
    (0.1, "clear", "about what a q4_0 KV cache or a Q3_K_M file changes in a small model"),
    (0.3, "large", "about what a Q2_K file changes in a small model"),
    (1.1, "very large", "more than a Q2_K file changes in a small model"),
)
#: At least so many prefixes must be answered by both; so large a part with one and the same first token is called constant.
FEWEST, _CONSTANT = 24, 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over prefixes with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one category, or all of them, shows. `chance` is not known where each side has one pass."""

    prefixes: int
    same_first: Estimate
    change: Estimate
    divergence: Estimate
    chance: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`verdict`: same, shifted, broken or not comparable, and why. `whole` and `parts` are missing where nothing was compared."""

    verdict: str
    why: str
    size: str = ""
    #: in which way it is broken
    broken: str = ""
    noise: float = 0.0
    whole: Part | None = None
    parts: Mapping[str, Part] | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """One prefix. `arrangements`: the statistic under each labelling of the passes, the true one first."""

    category: str
    same_first: float
    change: float
    divergence: float
    noise: float
    arrangements: tuple[float, ...]


def compare(before: Measurement, after: Measurement) -> Comparison:
    """What changed from the first to the second."""
    if why := _not_comparable(before, after):
        return Comparison("not comparable", why)
    for measured, which in ((after, ""), (before, "the reference itself: ")):
        if (found := breakage(measured)) is not None:
            return Comparison("broken", which + found.why, broken=found.kind)
    rows = list(_rows(before, after))
    whole = _part(rows)
    by_category: dict[str, list[_Row]] = {}
    for row in rows:
        by_category.setdefault(row.category, []).append(row)
    parts = {category: _part(of_it) for category, of_it in by_category.items()}
    noise = mean([row.noise for row in rows])
    verdict, why = _judged(whole, parts, noise)
    size = size_in_words(whole.divergence.value) if verdict == "shifted" else ""
    return Comparison(verdict, why, size, noise=noise, whole=whole, parts=parts)


@dataclass(frozen=True, slots=True)
class Breakage:
    """`kind`: nan, flat or constant; `why` is a sentence."""

    kind: str
    why: str


def breakage(measured: Measurement) -> Breakage | None:
    """Why these are no answers of a working model; None if they are."""
    answers = [answer for one in measured.passes for answer in one.values()]
    not_numbers = sum(not answer.is_number for answer in answers)
    if not_numbers:
        return Breakage("nan", f"{not_numbers} of {len(answers)} answers have probabilities that are no numbers (NaN)")
    flat = sum(answer.is_flat for answer in answers)
    if flat * 2 > len(answers):
        why = f"{flat} of {len(answers)} answers are flat: all kept tokens are equally likely, so the prefix has no effect"
        return Breakage("flat", why)
    token, count = Counter(answer.first.token for answer in answers).most_common(1)[0]
    if count >= _CONSTANT * len(answers):
        why = f"{count} of {len(answers)} answers begin with the same token {token.text!r:.40}, whatever the prefix"
        return Breakage("constant", why)
    return None


def size_in_words(bits: float) -> str:
    """The mean divergence on the scale."""
    return next(f"{word}: {about}" for most, word, about in SCALE if bits < most)


def unlike(before: Measurement, after: Measurement) -> str:
    """Why they cannot be compared, as far as it is known before anything is asked; empty where nothing speaks against it."""
    if (before.prefix_version, before.prefixes) != (after.prefix_version, after.prefixes):
        return (
            f"other prefixes were asked (version {before.prefix_version} and {after.prefix_version}): learn the reference again"
        )
    old, new = before.subject, after.subject
    if old.vocabulary != new.vocabulary:
        return "the vocabulary differs: the prefixes become other tokens, so this is another model or tokenizer"
    if None not in (old.vocabulary_size, new.vocabulary_size) and old.vocabulary_size != new.vocabulary_size:
        return f"the vocabulary differs: {old.vocabulary_size} and {new.vocabulary_size} tokens"
    return ""


def _not_comparable(before: Measurement, after: Measurement) -> str:
    if why := unlike(before, after):
        return why
    if before.has_numbers and after.has_numbers:
        texts = {choice.token.id: choice.token.text for answer in before.answers() for choice in answer.choices}
        for answer in after.answers():
            for choice in answer.choices:
                if texts.get(choice.token.id, choice.token.text) != choice.token.text:
                    was, now = texts[choice.token.id], choice.token.text
                    return f"the vocabulary differs: token {choice.token.id} was {was!r:.30} and is {now!r:.30}"
    both = set(before.answered()) & set(after.answered())
    if len(both) < FEWEST:
        return f"only {len(both)} prefixes were answered by both; at least {FEWEST} are needed"
    return ""


def _rows(before: Measurement, after: Measurement) -> Iterator[_Row]:
    by_text = not (before.has_numbers and after.has_numbers)
    cut = any(is_cut(one) for measured in (before, after) for one in measured.passes)
    also = set(after.answered())
    count = len(before.passes)
    everyone = range(count + len(after.passes))
    labels = [(tuple(range(count))), *(one for one in combinations(everyone, count) if one != tuple(range(count)))]
    for name in before.answered():
        if name not in also:
            continue
        sides = [shares(one[name], by_text=by_text) for measured in (before, after) for one in measured.passes]
        apart = {
            (i, j): divergence(sides[i], sides[j], cut=cut) if sides[i] != sides[j] else 0.0 for i, j in combinations(everyone, 2)
        }
        firsts = [_first(side) for side in sides]
        old, new = range(count), range(count, len(sides))
        yield _Row(
            name.rpartition("-")[0],
            mean([float(firsts[i] == firsts[j]) for i in old for j in new]),
            mean([change(firsts[i], sides[i], sides[j]) for i in old for j in new]),
            mean([apart[i, j] for i in old for j in new]),
            mean([apart[pair] for pair in combinations(old, 2)]) if count > 1 else 0.0,
            tuple(_between(apart, one, [i for i in everyone if i not in one]) for one in labels),
        )


def _first(side: Mapping[Hashable, float]) -> Hashable:
    return max(side, key=lambda key: side[key])


def _between(apart: Mapping[tuple[int, int], float], left: Sequence[int], right: Sequence[int]) -> float:
    """Mean divergence between two groups of passes, less half of that within each: no more than noise if the groups are alike."""
    across = mean([apart[min(i, j), max(i, j)] for i in left for j in right])
    within = [mean([apart[pair] for pair in combinations(group, 2)]) if len(group) > 1 else 0.0 for group in (left, right)]
    return across - sum(within) / 2


def _part(rows: Sequence[_Row]) -> Part:
    values = [(row.same_first, row.change, row.divergence) for row in rows]
    same_first, moved, apart = (
        Estimate(mean(column), *found) for column, found in zip(zip(*values, strict=True), intervals(values), strict=True)
    )
    # of one pass on each side both labellings give the same
    chance = permutation([row.arrangements for row in rows]) if len(rows[0].arrangements) > 2 else None
    return Part(len(rows), same_first, moved, apart, chance)


def _judged(whole: Part, parts: Mapping[str, Part], noise: float) -> tuple[str, str]:
    """All prefixes together first; what moves one category alone (position encoding: the long ones) would be lost in the mean."""
    if _is_unlikely(whole, CHANCE) and whole.divergence.value > max(FLOOR, 3 * noise):
        return "shifted", "over all prefixes"
    found = [
        name
        for name, part in parts.items()
        if _is_unlikely(part, CHANCE / len(parts)) and part.divergence.value > max(CATEGORY_FLOOR, 3 * noise)
    ]
    if found:
        return "shifted", f"in {' and '.join(found)} alone"
    if _is_unlikely(whole, CHANCE) and whole.divergence.value > NOTED:
        return "same", "they did change, by no more than other kernels make of the same weights (another build, -fa, CPU or GPU)"
    return "same", "no more than a restart, other batches or other threads change"


def _is_unlikely(part: Part, least: float) -> bool:
    """Where noise was not measured, the size alone decides."""
    return part.chance is None or part.chance <= least
