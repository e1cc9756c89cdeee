"""A mistake in what an operator wrote: where, what, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a checker. `where` is a key path inside the file, empty for the file as a whole."""

    file: str
    where: str
    what: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f" {self.where}:" if self.where else ""
        return f"{self.file}:{where} {self.what}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'`` for the nearest known word, or the empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'" if near else ""
