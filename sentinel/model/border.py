"""The caps of everything that enters from outside: length of a text, number of words, values, children, servers of a user.

A process chooses its command line, its log and its names; none of them may cost more than this, whoever reads them. What was
cut is counted in `Cuts`, once for each owner and kind, so that status and the log can name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sentinel.model.entity import Entity, Unknown, Value

#: Longest text that is kept of a value: PATH_MAX is 4096, and no path, address or flag of llama-server is longer.
MOST_TEXT = 4096
#: Longest name of a server: a unit has at most 255 characters (systemd.unit(5)), an address less.
MOST_NAME = 255
#: Bytes that are read of a command line and of an environment, and words that are kept. The longest that was ever reported for
#: llama-server, with its tensor overrides, has 40 words and 3 kB.
MOST_ARGV_BYTES = 64 << 10
MOST_WORDS = 512
MOST_ENVIRONMENT_BYTES = 256 << 10
#: Names of unknown flags that are kept of one command line.
MOST_UNKNOWN = 32
#: Fields of one event, values of one reading.
MOST_FIELDS = 512
#: Kinds of cuts that are kept. Each owner makes a few; a stranger who makes thousands of owners gets one line for all.
_MOST_CUTS = 100
_ENDING = "…"


class Cuts:
    """What was cut or refused, and whose it was: one sentence for each, with a count."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._told: set[tuple[str, str]] = set()

    def add(self, whose: Entity | str, what: str, count: int = 1) -> None:
        """`what` names the kind, without a number that grows."""
        key = (whose if isinstance(whose, str) else whose.name, what)
        if key not in self._counts and len(self._counts) >= _MOST_CUTS:
            key = ("others", "more of the same, of more owners than are listed")
        self._counts[key] = self._counts.get(key, 0) + count

    def all(self) -> list[tuple[str, str, int]]:
        """Owner, kind and how often."""
        return [(whose, what, count) for (whose, what), count in self._counts.items()]

    def fresh(self) -> list[str]:
        """A sentence for each that was not returned before."""
        new = [key for key in self._counts if key not in self._told]
        self._told.update(new)
        return [f"of {whose} was cut: {what}" for whose, what in new]


def text(value: str, limit: int = MOST_TEXT) -> str:
    """A text of at most `limit` characters; one that is cut ends in an ellipsis."""
    return value if len(value) <= limit else value[: limit - 1] + _ENDING


def words(found: Sequence[str]) -> list[str]:
    """A command line of at most MOST_WORDS words, each within the limit of a text."""
    return [word if len(word) <= MOST_TEXT else text(word) for word in found[:MOST_WORDS]]


def exceeds(values: Iterable[Value | Unknown]) -> bool:
    """Whether a text among these is longer than MOST_TEXT: the only look that a value costs that is within it."""
    return any(type(value) is str and len(value) > MOST_TEXT for value in values)


def within(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values whose texts are within the limit."""
    return {name: text(value) if isinstance(value, str) else value for name, value in values.items()}
