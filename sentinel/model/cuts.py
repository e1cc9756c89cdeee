"""What was cut or refused of what entered from outside, and whose it was; and the cutting of texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_TEXT, MOST_WORDS

#: Kinds of cuts that are kept. Each owner makes a few; a stranger who makes thousands of owners gets one line for all.
_MOST_CUTS = 100
_ENDING = "…"


class Cuts:
    """What was cut or refused, and whose it was: one sentence for each, with a count."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._noted: set[tuple[str, str]] = set()

    def add(self, whose: Entity | str, what: str, count: int = 1) -> None:
        """`what` names the kind, without a number that grows."""
        key = (whose if isinstance(whose, str) else whose.name, what)
        if key not in self._counts and len(self._counts) >= _MOST_CUTS:
            key = ("others", "more of the same, of more owners than are listed")
        self._counts[key] = self._counts.get(key, 0) + count

    def all(self) -> list[tuple[str, str, int]]:
        """Owner, kind and how often."""
        return [(whose, what, count) for (whose, what), count in list(self._counts.items())]

    def fresh(self) -> list[str]:
        """A sentence for each that was not returned before."""
        # a list: sources add from their threads
        new = [key for key in list(self._counts) if key not in self._noted]
        self._noted.update(new)
        return [f"of {whose} was cut: {what}" for whose, what in new]


def text(value: str, limit: int = MOST_TEXT) -> str:
    """A text of at most `limit` characters; one that is cut ends in an ellipsis."""
    return value if len(value) <= limit else value[: limit - 1] + _ENDING


def words(found: Sequence[str]) -> list[str]:
    """A command line of at most MOST_WORDS words, each within the limit of a text."""
    return [word if len(word) <= MOST_TEXT else text(word) for word in found[:MOST_WORDS]]
