"""Room for what belongs to many users: each has a share, and nobody takes the last place of another. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from sentinel.model.input_limits import MOST_SERVERS, MOST_SERVERS_OF_OWNER

#: Numbers of user ids that belong to one person begin here, this many each (subuid(5), login.defs(5)).
_SUBORDINATE, _EACH = 100_000, 65_536
T = TypeVar("T")


class Shares:
    """Room for the servers of many users: a user may fill his own share, and never the last room of another."""

    def __init__(self, of_owner: int = MOST_SERVERS_OF_OWNER, in_all: int = MOST_SERVERS) -> None:
        self._of_owner = of_owner
        self._in_all = in_all

    def admits(self, user: int, held: Sequence[int]) -> bool:
        """Whether one more server of this user is watched beside those of the users `held`."""
        mine = sum(owner(one) == owner(user) for one in held)
        return mine < self._of_owner and (len(held) < self._in_all or self.displaced(user, held) is not None)

    def displaced(self, user: int, held: Sequence[int]) -> int | None:
        """The position in `held` of the server that makes room: the last one of whoever has most; None where there is room, or
        where nobody has two more than this user."""
        if len(held) < self._in_all:
            return None
        counts = Counter(owner(one) for one in held)
        most, count = max(counts.items(), key=lambda one: (one[1], one[0]))
        if count < counts[owner(user)] + 2:
            return None
        return max(i for i, one in enumerate(held) if owner(one) == most)


def owner(user: int) -> int:
    """Whose user id it is: the subordinate ids of one person count as one."""
    return user if user < _SUBORDINATE else _SUBORDINATE + (user - _SUBORDINATE) // _EACH


def owner_of(user: str) -> str:
    """The same of a user's name, or his id where he has no name."""
    return str(owner(int(user))) if user.isascii() and user.isdecimal() and len(user) < 12 else user


def fairly(items: Sequence[T], whose: Callable[[T], Hashable], most: int) -> list[T]:
    """So many of them at most, in their order. Owners take turns: who has many leaves out his own."""
    if len(items) <= most:
        return list(items)
    taken = Counter[Hashable]()
    turns: list[tuple[int, int]] = []
    for place, item in enumerate(items):
        mine = whose(item)
        turns.append((taken[mine], place))
        taken[mine] += 1
    return [items[place] for place in sorted(place for _, place in sorted(turns)[:most])]


def leaves_room(user: int, held: Sequence[int], of_owner: int, in_all: int) -> bool:
    """Whether this user may have one more of what nobody gives up again: at most twice as many as are left, so that two users
    never have all."""
    mine = sum(owner(one) == owner(user) for one in held)
    return mine < min(of_owner, 2 * (in_all - len(held)))
