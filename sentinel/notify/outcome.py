"""What became of one try to deliver, and who tries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from sentinel.notify.message import Message


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refused`: the receiver has it not. `unsure`: it may have it. `why` is a sentence without secrets; `after` in seconds.

    `too_large`: what is in it is refused: it may take a smaller one, or another. `answered`: it may be so, the receiver's answer
    does not say; what it does with others will.
    """

    kind: Literal["delivered", "refused", "unsure"]
    why: str = ""
    after: float = 0.0
    too_large: bool = False
    answered: bool = False


DELIVERED = Outcome("delivered")


class Sender(Protocol):
    """One way to people. `send` blocks for a bounded time and does not raise what a receiver may cause."""

    def send(self, message: Message) -> Outcome:
        """One try."""
        ...
