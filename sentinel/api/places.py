"""Who may be connected: each user has a place, and who has many gives up the one that has kept the daemon waiting for longest.

A connection that a client keeps half-open, or whose answer it does not read, costs a place and memory until its time is over. The
users of the socket's group may do that together: five of them had all places, and every other user was refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sentinel.model.shares import owner


def _never() -> float | None:
    return None


def _not_yet() -> None:
    """It has just been taken."""


@dataclass(slots=True, eq=False)
class ClientPlace:
    """One connection. `waits_since` says since when the daemon waits for the client: for a request, or until it has read; None
    while the client waits for the daemon. `end` ends the connection.
    """

    user: int
    #: of root, the daemon's own user and its services: nobody takes it
    kept: bool = False
    waits_since: Callable[[], float | None] = _never
    end: Callable[[], object] = _not_yet
    #: bytes of the answer that the client has not read yet
    unread: int = 0
    is_over: bool = False
    whose: int = field(init=False)

    def __post_init__(self) -> None:
        self.whose = owner(self.user)


@dataclass(slots=True)
class Places:
    """`share` of one user, `in_all` of all; `kept` more are for root, the daemon's own user and its services."""

    share: int
    in_all: int
    kept: int
    held: set[ClientPlace] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.held)

    def of(self, user: int) -> int:
        """How many this user has, his subordinate ids among them."""
        return sum(one.whose == owner(user) for one in self.held)

    def take(self, place: ClientPlace) -> bool:
        """Whether there is room for it, made where need be by ending another's."""
        if not place.kept and self.of(place.user) >= self.share:
            return False
        if len(self.held) >= self.in_all:
            if (other := self._other(place)) is not None:
                self.end(other)
            elif len(self.held) >= self.in_all + (self.kept if place.kept else 0):
                return False
        self.held.add(place)
        return True

    def leave(self, place: ClientPlace) -> None:
        """It ended by itself, or was ended."""
        self.held.discard(place)

    def end(self, place: ClientPlace) -> None:
        """End it for others."""
        self.held.discard(place)
        place.is_over = True
        place.end()

    def _other(self, place: ClientPlace) -> ClientPlace | None:
        """The one that makes room for it: of whoever has most, and two more than this user; of anybody, if he has none."""
        counts = Counter(one.whose for one in self.held)
        others = [one for one in self.held if one.whose != place.whose]
        found = _longest([one for one in others if counts[one.whose] >= counts[place.whose] + 2], counts)
        if found is None and not counts[place.whose]:
            found = _longest([one for one in others if one.waits_since() is not None], counts)
        return found

    def free(self, most: int) -> None:
        """End connections whose answers are not read, until at most so many bytes wait, those of whoever has most first."""
        while sum(one.unread for one in self.held) > most:
            sizes = Counter[int]()
            for one in self.held:
                sizes[one.whose] += one.unread
            found = _longest([one for one in self.held if one.unread and one.waits_since() is not None], sizes)
            if found is None:
                return
            self.end(found)


def _longest(places: Iterable[ClientPlace], of: Counter[int]) -> ClientPlace | None:
    """The one of whoever has most that has kept the daemon waiting for longest; none that is kept."""

    def rank(one: ClientPlace) -> tuple[int, bool, float]:
        since = one.waits_since()
        return of[one.whose], since is not None, -(since or 0.0)

    return max((one for one in places if not one.kept), key=rank, default=None)
