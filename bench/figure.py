"""A measured number beside what it should be, and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row. `met` is None for a number that is there for comparison only."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None
    #: where the target was missed: by how much and why; else what the number needs to be read rightly
    note: str = ""


def below(name: str, value: float, target: float, goal: float, unit: str, note: str = "") -> Figure:
    """A number that should be at most `target`."""
    met = value <= target
    missed = "" if met else f"missed by {value - target:.3g} {unit}"
    wanted = f"<= {target:g} {unit} (goal {goal:g})"
    return Figure(name, f"{value:.3g} {unit}", wanted, met, "; ".join(text for text in (missed, note) if text))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


def table(figures: Iterable[Figure]) -> str:
    """The figures as aligned text, each note on a line of its own."""
    rows = list(figures)
    name, value, target = (max((len(getattr(row, key)) for row in rows), default=0) for key in ("name", "value", "target"))
    marks = {True: "ok", False: "MISSED", None: ""}
    lines = []
    for row in rows:
        lines.append(f"{row.name:<{name}}  {row.value:>{value}}  {row.target:<{target}}  {marks[row.met]}".rstrip())
        if row.note:
            lines.append(f"    {row.note}")
    return "\n".join(lines)
