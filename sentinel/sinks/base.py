"""What a sink is, and the one way in which it fails.

A sink delivers one transition or raises SinkDown. It waits a moment at most, keeps no queue and never retries: the outbox
does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sentinel.model.alert import Transition


class SinkDown(Exception):
    """The sink cannot take anything now. The text is one sentence: what failed, where, and what to do about it."""


class Sink(Protocol):
    """A place where people learn of alerts."""

    name: str

    def deliver(self, transition: Transition, key: str) -> None:
        """Hand over one transition, in a tenth of a second at most. Raises SinkDown; nothing was delivered then.

        `key` names the transition, the same after a restart and in no other history.
        """
        ...

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """Those of `keys` that an earlier run handed over, at `since` (seconds since the epoch) or later, if that is known."""
        ...


class Store(Protocol):
    """Where transitions are kept until every sink has had them. `History` is one."""

    @property
    def epoch(self) -> str:
        """Names this history among all others."""
        ...

    def register(self, sink: str) -> None:
        """Begin to owe transitions to `sink`; what happened before a sink was first named is not owed to it."""
        ...

    def undelivered(self, sink: str, after: int, limit: int) -> Sequence[tuple[int, Transition]]:
        """Up to `limit` transitions owed to `sink`, in order, with ids above `after`."""
        ...

    def mark_delivered(self, sink: str, transition_id: int) -> None:
        """`sink` has had everything up to and including `transition_id`."""
        ...

    def settle(self) -> None:
        """Several deliveries were marked: bring that to the disk."""
        ...
