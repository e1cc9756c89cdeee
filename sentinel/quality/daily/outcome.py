"""What a check found, as plain values: it comes from a child process and from files, and both are read as a stranger's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sentinel.model.text import clean

#: Characters of a text, and the largest number, that are taken.
_MOST_TEXT, _MOST_NUMBER = 500, 1e15
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Distance:
    """One measurement held against another. No verdict: nothing was compared. Numbers as in docs/quality.md."""

    verdict: str = ""
    why: str = ""
    #: nan, flat or constant, where the verdict is broken
    broken: str = ""
    size: str = ""
    divergence: float | None = None
    low: float | None = None
    high: float | None = None
    noise: float | None = None
    same_first: float | None = None
    change: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of the child ended. `end`: done, request (one came), busy, budget, asleep, gone or trouble."""

    end: str = "trouble"
    why: str = ""
    remedy: str = ""
    tokens: int = 0
    seconds: float = 0.0
    #: answers of an unfinished pass are kept
    partial: bool = False
    #: a reference was made
    learned: bool = False
    build: str = ""
    weights: str = ""
    past: Distance = Distance()
    #: against the reference that the configuration names
    better: Distance = Distance()
    better_name: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """What two importance matrices say of the experts; `why` where nothing."""

    why: str = ""
    remedy: str = ""
    abandoned: int = 0
    judged: int = 0
    divergence: float = 0.0


def taken(kind: type[T], given: object) -> T:
    """A dataclass of plain values from what JSON gave; whatever is not of its field's kind keeps that field's default."""
    made = kind()
    if not isinstance(given, Mapping):
        return made
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given:
            continue
        default, value = getattr(made, field.name), given[field.name]
        values[field.name] = _value(default, value)
    return kind(**values)


def _value(default: object, given: object) -> object:
    if isinstance(default, bool):
        return given if isinstance(given, bool) else default
    if isinstance(default, str):
        return clean(given)[:_MOST_TEXT] if isinstance(given, str) else default
    if default is None or isinstance(default, int | float):
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or abs(given) > _MOST_NUMBER:
            return default
        return int(given) if isinstance(default, int) else float(given)
    return taken(type(default), given)
