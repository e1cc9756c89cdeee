"""The limits of everything that enters from outside: length of a text, number of words, values, children, servers of a user.

A process chooses its command line, its log and its names; none of them may cost more than this, whoever reads them. What was
cut is counted in `Cuts`, once for each owner and kind, so that status and the log can name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sentinel.model.entity import Entity

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
#: Longest text that a pattern captures from a line: paths are the longest that any rule reads.
MOST_CAPTURED = 1024
#: Texts up to this are kept whole; of longer ones an entity may keep so many characters together, then each is cut to this.
SHORT_TEXT = 256
MOST_LONG_TEXTS = 24 << 10
#: Events that are kept of one entity, and of all, counted as characters. One event has some 500, a day of a busy server with
#: trouble some hundred kilobytes.
MOST_EVENTS_OF_ENTITY = 1 << 20
MOST_EVENTS = 8 << 20
#: Servers that are watched, of one user and in all. The most that were ever reported on one machine are some fifty.
MOST_SERVERS_OF_OWNER = 100
MOST_SERVERS = 300
#: A router has as many children as it has presets; no machine holds more models than this at a time.
MOST_CHILDREN = 64
#: Entities that only a log named: children of routers of one user, and processes that only the kernel's log named.
MOST_CHILDREN_OF_OWNER = 128
MOST_STRANGERS = 128
#: Runs that are judged as they end within one reading of a log, which holds 128 KiB of a file. A server that starts, fails and
#: says so prints two kilobytes and more; start lines alone held up all else for 0.8 s.
MOST_RUNS_OF_READING = 64
#: Numbers of user ids that belong to one person begin here, this many each (subuid(5), login.defs(5)).
_SUBORDINATE, _EACH = 100_000, 65_536
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
        return [(whose, what, count) for (whose, what), count in self._counts.items()]

    def fresh(self) -> list[str]:
        """A sentence for each that was not returned before."""
        new = [key for key in self._counts if key not in self._noted]
        self._noted.update(new)
        return [f"of {whose} was cut: {what}" for whose, what in new]


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


def text(value: str, limit: int = MOST_TEXT) -> str:
    """A text of at most `limit` characters; one that is cut ends in an ellipsis."""
    return value if len(value) <= limit else value[: limit - 1] + _ENDING


def words(found: Sequence[str]) -> list[str]:
    """A command line of at most MOST_WORDS words, each within the limit of a text."""
    return [word if len(word) <= MOST_TEXT else text(word) for word in found[:MOST_WORDS]]
