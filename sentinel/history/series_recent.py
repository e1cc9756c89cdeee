"""The last ten minutes of every series, second by second, in memory. Pure.

The seconds of an entity are one array, at the place that the clock gives them: second 1796000123 of a signal is at 323 of its
600. At the end of a window of ten minutes the array is therefore that window, and its coarser points are made from it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sentinel.history.series_points import GAP, Point, point
from sentinel.model.entity import Entity

#: Seconds that are kept, the length of a window.
WINDOW = 600


@dataclass(slots=True)
class Recent:
    """One entity's. `seen` is the last second that had a value."""

    owner: str
    signals: int
    seen: int = 0
    codes: array[int] = field(default_factory=lambda: array("H"))

    def __post_init__(self) -> None:
        if not self.codes:
            self.codes = array("H", bytes(2 * WINDOW * self.signals))

    def set(self, second: int, codes: Sequence[int]) -> None:
        """The codes of one second, one of each signal."""
        place = second % WINDOW
        for signal, code in enumerate(codes):
            self.codes[signal * WINDOW + place] = code
        self.seen = second

    def put(self, at: int, seconds: int, codes: array[int]) -> None:
        """The codes of `seconds` seconds from `at`, signal after signal, all of them in one window."""
        place = at % WINDOW
        for signal in range(min(self.signals, len(codes) // seconds)):
            begin = signal * WINDOW + place
            self.codes[begin : begin + seconds] = codes[signal * seconds : (signal + 1) * seconds]
        self.seen = at + seconds - 1

    def clear(self, at: int, seconds: int) -> None:
        """Forget so many seconds from `at`."""
        for begin, length in _spans(at, seconds):
            nothing = array("H", bytes(2 * length))
            for signal in range(self.signals):
                self.codes[signal * WINDOW + begin : signal * WINDOW + begin + length] = nothing

    def of(self, signal: int, at: int, seconds: int) -> array[int]:
        """The codes of a signal."""
        found = array("H")
        for begin, length in _spans(at, seconds):
            found += self.codes[signal * WINDOW + begin : signal * WINDOW + begin + length]
        return found

    def all_of(self, at: int, seconds: int) -> array[int]:
        """The codes of all signals, signal after signal."""
        found = array("H")
        for signal in range(self.signals):
            found += self.of(signal, at, seconds)
        return found


def _spans(at: int, seconds: int) -> Iterator[tuple[int, int]]:
    """The places of a stretch of at most a window."""
    begin, left = at % WINDOW, min(seconds, WINDOW)
    while left:
        length = min(left, WINDOW - begin)
        yield begin, length
        begin, left = 0, left - length


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """Ten minutes that are over, of all entities. `restored`: read back from disk, where its points may be already."""

    at: int
    entities: Mapping[Entity, tuple[str, int, array[int]]]
    restored: bool = False

    def points(self, entity: Entity, step: int) -> array[int]:
        """The points of an entity, one for each `step` seconds: of each signal all least, all means, all largest."""
        _, signals, codes = self.entities[entity]
        count = WINDOW // step
        found = array("H", bytes(6 * count * signals))
        for signal in range(signals):
            for n in range(count):
                begin = signal * WINDOW + n * step
                put_point(found, signal, count, n, point(codes[begin : begin + step]))
        return found


def put_point(codes: array[int], signal: int, count: int, n: int, value: Point) -> None:
    """Set the n-th of `count` points of a signal."""
    for place in range(3):
        codes[(3 * signal + place) * count + n] = value[place]


def get_point(codes: array[int], signal: int, count: int, n: int) -> Point:
    """The n-th of `count` points of a signal."""
    begin = 3 * signal * count + n
    return codes[begin], codes[begin + count], codes[begin + 2 * count]


def is_empty(codes: array[int]) -> bool:
    """Whether there is no value among them."""
    return codes.count(GAP) == len(codes)
