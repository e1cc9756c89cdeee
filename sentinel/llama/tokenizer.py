"""Splits a command line into flags and their values as common/arg.cpp does: the only tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sentinel.llama.flags import OPTION, spelled

TRUE = frozenset({"on", "enabled", "true", "1"})
FALSE = frozenset({"off", "disabled", "false", "0"})
#: Values that may follow a flag that once took none.
_CHOICES = TRUE | FALSE | {"auto", "always", "never"}
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*\Z")
_ASSIGNED = re.compile(r"(--[A-Za-z][\w.-]*)=(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """A flag in a command line: its position, its name in the table, and the words that belong to it."""

    at: int
    flag: str
    values: tuple[str, ...] = ()

    @property
    def is_flag(self) -> bool:
        """False for a word that follows no flag; llama-server refuses such a word."""
        return _FLAG.match(self.flag) is not None

    @property
    def assigned(self) -> tuple[str, str] | None:
        """Name and value of ``--name=value``, which llama-server refuses."""
        match = _ASSIGNED.match(self.flag)
        return None if match is None else (spelled(match[1]), match[2])


def is_flag(word: str) -> bool:
    """It looks like a flag, not like a value; a negative number is a value."""
    return _FLAG.match(word) is not None


def words(argv: Sequence[str], shown: Mapping[str, bool] | None = None) -> Iterator[Word]:
    """The words after the program. `shown`: flags of the build's own help and whether a value follows, if known."""
    at = 1
    while at < len(argv):
        flag = spelled(argv[at])
        count = min(_count(flag, argv[at + 1 : at + 3], shown or {}), len(argv) - at - 1)
        yield Word(at, flag, tuple(argv[at + 1 : at + 1 + count]))
        at += 1 + count


def flags(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Flags with their values, as meant: ``--name=value`` too, which llama-server refuses."""
    for word in words(argv):
        if word.assigned is not None:
            yield word.assigned
        elif word.is_flag:
            yield word.flag, word.values[0] if len(word.values) == 1 else None


def _count(flag: str, following: Sequence[str], shown: Mapping[str, bool]) -> int:
    """How many words after the flag belong to it."""
    free = next((i for i, word in enumerate(following) if is_flag(word)), len(following))
    option = OPTION.get(flag)
    if option is not None and option.may_stand_alone:
        # took none in old builds; a word that a newer one would swallow by mistake counts as a flag of its own here
        return int(bool(following) and following[0].lower() in _CHOICES)
    if option is not None and option.has_changed:
        return min(max(free, min(option.words)), max(option.words))
    if option is not None and max(option.words) > 1:
        return max(option.words)
    if flag in shown:
        return int(shown[flag])
    if option is not None:
        return max(option.words)
    # an unknown flag takes the next word with it, unless that is a flag
    return min(free, 1) if is_flag(flag) else 0
