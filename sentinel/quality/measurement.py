"""One measurement of a server: what it is, and its answers after each prefix, in passes. A reference is one that was kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sentinel.quality.answer import Answer

#: Of a reference: passes (each way to label ten of them is tried: 252), and flags that are kept.
MOST_PASSES, MOST_FLAGS = 5, 64


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured. Empty texts and None are not known. No path is kept, and no flag that may hold one or a secret."""

    model: str = ""
    quantization: str = ""
    parameters: int | None = None
    bytes: int | None = None
    build: str = ""
    context: int | None = None
    slots: int | None = None
    flags: tuple[str, ...] = ()
    #: SHA-256 of the token numbers that it makes of the prefixes
    vocabulary: str = ""
    vocabulary_size: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Answers by the prefix's name, for each pass. `made` is the time as text, `prefixes` the digest of their texts."""

    subject: Subject
    passes: tuple[Mapping[str, Answer], ...]
    prefix_version: int
    prefixes: str
    made: str = ""
    name: str = ""
    tokens: int = 0
    seconds: float = 0.0

    def answered(self) -> list[str]:
        """Prefixes that every pass has an answer to, in their order."""
        return [name for name in self.passes[0] if all(name in one for one in self.passes)]

    def answers(self) -> Iterator[Answer]:
        """All of them."""
        for one in self.passes:
            yield from one.values()

    @property
    def has_numbers(self) -> bool:
        """Every token has its number (builds before December 2024 give texts)."""
        return all(choice.token.id is not None for answer in self.answers() for choice in answer.choices)
