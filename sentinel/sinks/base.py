"""The protocol of a sink, and its only error.

A sink delivers one transition or raises SinkDown. It waits a tenth of a second at most, has no queue and never retries: that
is the outbox's task.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sentinel.model.alert import Transition


class SinkDown(Exception):
    """The sink cannot deliver now. The text is one sentence: what failed, where, and the remedy."""


class Sink(Protocol):
    """A destination of notifications."""

    name: str

    def deliver(self, transition: Transition, key: str) -> None:
        """Deliver one transition, within a tenth of a second. Raises SinkDown if nothing was delivered.

        `key` identifies the transition: stable across restarts, and unique among histories.
        """
        ...

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        """Those of `keys` that an earlier run delivered, at `since` (seconds since the epoch) or later, as far as known."""
        ...


class Store(Protocol):
    """Keeps transitions until they are delivered to every sink. `History` is one."""

    @property
    def epoch(self) -> str:
        """Identifies this history among all others."""
        ...

    def register(self, sink: str) -> None:
        """Start to owe transitions to `sink`; a new sink is owed none of the past."""
        ...

    def undelivered(self, sink: str, after: int, limit: int) -> Sequence[tuple[int, Transition]]:
        """Up to `limit` transitions owed to `sink`, in order, with ids above `after`."""
        ...

    def mark_delivered(self, sink: str, transition_id: int) -> None:
        """Everything up to and including `transition_id` was delivered to `sink`."""
        ...

    def settle(self) -> None:
        """Sync the marks of several deliveries to disk."""
        ...
