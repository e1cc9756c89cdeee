"""What hundreds of checks of healthy servers showed: a table, and how often a false alarm may still come (quality_alarms.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_BITS = {
    "F1": "16 and 8 bits",
    "Q8": "16 and 8 bits",
    "Q6": "6 and 4 bits",
    "Q4": "6 and 4 bits",
    "Q3": "3 and 2 bits",
    "Q2": "3 and 2 bits",
}


@dataclass(frozen=True)
class Result:
    """One check; `verdict` is empty where the server could not be asked. `digest`: of both sides' answers."""

    number: int
    model: str
    flags: str
    warm: bool
    software_gpu: bool
    build: str
    learned_on: str
    learned_fa: str
    verdict: str
    why: str
    divergence: float
    digest: str
    tokens: int
    seconds: float


def upper(alarms: int, number: int, confidence: float = 0.95) -> float:
    """The largest rate of alarms with which so few are still likely: the one-sided bound of Clopper and Pearson."""
    low, high = alarms / number, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if _at_most(alarms, number, rate) > 1 - confidence else (low, rate)
    return high


def _at_most(alarms: int, number: int, rate: float) -> float:
    term = (1 - rate) ** number
    total = term
    for count in range(alarms):
        term *= (number - count) / (count + 1) * rate / (1 - rate) if rate < 1 else 0.0
        total += term
    return total


def summary(results: Sequence[Result]) -> str:
    """A table by weights and what the reference was computed by, and the bounds. Starts that give equal numbers are little
    further evidence: those that differ are counted beside them.
    """
    asked = [one for one in results if one.verdict]
    head = ("weights", "reference with", "models", "starts", "different results", "alarms", "largest divergence")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for weights, where in sorted({(_weights(one), _where(one)) for one in asked}):
        mine = [one for one in asked if (_weights(one), _where(one)) == (weights, where)]
        cells = (
            weights, where, f"{len({one.model for one in mine})}", f"{len(mine)}", f"{_different(mine)}", f"{_alarms(mine)}",
            f"{max(one.divergence for one in mine):.6f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    usual = [one for one in asked if _is_same_fa(one)]
    for what, mine in (
        ("the same -fa", usual),
        ("the same -fa, build and kernels", [one for one in usual if one.build == one.learned_on]),
        ("the same -fa, another build or other kernels", [one for one in usual if one.build != one.learned_on]),
        ("another -fa", [one for one in asked if not _is_same_fa(one)]),
    ):
        if mine:
            bounds = f"{upper(_alarms(mine), len(mine)):.2%} of starts, {_bound_of_different(mine):.2%} of different results"
            lines.append(f"\n{what}: {_alarms(mine)} alarms in {len(mine)} starts, {_different(mine)} different results;")
            lines.append(f"the rate is at most (95 %) {bounds}")
    lines += [f"alarm: {one}" for one in asked if one.verdict != "same"]
    lines += [f"not measured: {one.model} {one.build} {one.flags}: {one.why}" for one in results if not one.verdict]
    return "\n".join(lines)


def _weights(one: Result) -> str:
    """`gemma, 3 and 2 bits`; random weights of any seed together."""
    kind, *_, quantization = one.model.split()
    return f"{kind}, {_BITS[quantization[:2]]}"


def _is_same_fa(one: Result) -> bool:
    return f"-fa {one.learned_fa}" in one.flags


def _where(one: Result) -> str:
    if one.software_gpu:
        return "the CPU, asked a software GPU"
    return "the same -fa" if _is_same_fa(one) else "another -fa"


def _alarms(results: Sequence[Result]) -> int:
    return sum(one.verdict != "same" for one in results)


def _different(results: Sequence[Result]) -> int:
    return len({(one.model, one.digest) for one in results})


def _bound_of_different(results: Sequence[Result]) -> float:
    alarms = len({(one.model, one.digest) for one in results if one.verdict != "same"})
    return upper(alarms, _different(results))
