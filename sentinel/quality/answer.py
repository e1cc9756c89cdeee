"""What a server says of the next token, in the forms that llama-server has had since 2024, and as JSON that is kept.

- until December 2024: ``{"content", "probs": [{"tok_str", "prob"}]}``
- since then: ``{"id", "token", "bytes", "logprob", "top_logprobs": [{"id", "token", "bytes", "logprob"}]}``
- the same with ``prob`` and ``top_probs`` where probabilities after sampling are asked for, and from forks
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: Tokens that are asked for and kept of each answer.
KEPT = 20
#: Of what a server sends and a file holds: choices of an answer, characters of a token.
MOST_CHOICES, MOST_CHARACTERS = 100, 256
#: A logarithm below this is that of 0: llama-server writes the lowest 32-bit number there, for JSON has no infinity
#: (completion_token_output::logarithm), and e to less than this is no number above 0 soon.
LEAST = -700.0
#: Probabilities are written with six decimals, and 32-bit sums are off by less.
_ABOVE_ONE = 1e-3
#: Kept tokens that are all equally likely say nothing: not even a model of random weights does that (its spread was 0.2).
_FLAT = 1e-4


class NoAnswer(Exception):
    """It is not what llama-server answers. The text is the second half of a sentence."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the vocabulary; builds before December 2024 give the text alone."""

    id: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A token and the natural logarithm of its probability."""

    token: Token
    logprob: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The likeliest next tokens, likeliest first. `is_number` is false where a probability is no number; then there are none."""

    choices: tuple[Choice, ...]
    is_number: bool = True

    @property
    def first(self) -> Choice:
        """The likeliest one."""
        return self.choices[0]

    @property
    def is_flat(self) -> bool:
        """All kept tokens are equally likely."""
        return len(self.choices) > 1 and self.choices[0].logprob - self.choices[-1].logprob < _FLAT

    @property
    def kept(self) -> float:
        """The share of all probability that the kept tokens have."""
        return math.fsum(math.exp(choice.logprob) for choice in self.choices)


def parse(body: object) -> Answer | None:
    """The answer in the body of ``POST /completion``; None where it has no token, as for half a character in old builds.

    Raises NoAnswer.
    """
    if not isinstance(body, Mapping) or "content" not in body:
        raise NoAnswer("its answer to a completion has no content: it is not llama-server")
    rows = body.get("completion_probabilities")
    if rows is None or rows == []:
        return None
    if not isinstance(rows, list) or not isinstance(rows[0], Mapping):
        raise NoAnswer("its completion_probabilities are no list of objects")
    row = rows[0]
    found = next((row[key] for key in ("top_logprobs", "top_probs", "probs") if isinstance(row.get(key), list)), None)
    if not found:
        raise NoAnswer("its answer names no likely tokens although n_probs was asked for")
    return _ordered([_choice(one) for one in found[:MOST_CHOICES]])


def _choice(row: object) -> Choice | None:
    """None where its probability is no number (JSON has no NaN: llama-server writes null)."""
    if not isinstance(row, Mapping):
        raise NoAnswer("a likely token in its answer is no object")
    text = row.get("token", row.get("tok_str", row.get("tok")))
    number = row.get("id")
    if not isinstance(text, str) or isinstance(number, bool) or not isinstance(number, int | None):
        raise NoAnswer("a likely token in its answer has no text")
    if number is not None and not 0 <= number < 1 << 31:
        raise NoAnswer(f"token number {number!r:.40} is in no vocabulary")
    is_log = "logprob" in row
    value = row["logprob"] if is_log else row.get("prob")
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise NoAnswer("a probability in its answer is neither a number nor null")
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if not is_log:
        # What samplers removed has probability 0 in some builds and is absent in others.
        value = math.log(value) if value > 0 else -math.inf
    if value > _ABOVE_ONE:
        raise NoAnswer("a probability in its answer is above 1")
    if value < LEAST:
        value = -math.inf
    return Choice(Token(number, text[:MOST_CHARACTERS]), min(float(value), 0.0))


def _ordered(found: list[Choice | None]) -> Answer:
    if any(choice is None for choice in found):
        return Answer((), is_number=False)
    together: dict[Token, float] = {}
    for choice in found:
        if choice is not None and choice.logprob > -math.inf:
            known = together.get(choice.token)
            # two tokens of one text in builds that give no number
            together[choice.token] = (
                choice.logprob if known is None else min(math.log(math.exp(known) + math.exp(choice.logprob)), 0.0)
            )
    if not together:
        return Answer((), is_number=False)
    rows = sorted(together.items(), key=lambda item: (-item[1], -1 if item[0].id is None else item[0].id, item[0].text))
    return Answer(tuple(Choice(token, logprob) for token, logprob in rows[:KEPT]))
