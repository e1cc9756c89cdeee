"""Reads the series: which points answer a question, and the points. What a question may cost is bounded here."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentinel.engine.inspect.plotted import PLOTTED
from sentinel.history.series_file import BLOCK, POINTS, SeriesReader
from sentinel.history.series_points import NOTHING, Point, joined, point
from sentinel.history.series_recent import WINDOW, Recent
from sentinel.model.entity import Entity

_DAY = 86_400
#: Blocks that are read in one piece of work: 5 ms.
_PIECE = 50


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of an answer: `count` of them, `step` seconds each, from `begin`; made of stored points of `base` seconds."""

    begin: int
    step: int
    count: int
    base: int

    @property
    def end(self) -> int:
        """The end of the last point."""
        return self.begin + self.step * self.count


def grid(seconds: int, points: int, last: int) -> Grid:
    """The finest grid of at most so many points over the seconds up to `last`; its points begin at multiples of their step."""
    wanted = -(-seconds // points)
    base = 1 if seconds <= WINDOW else 10 if seconds <= _DAY and wanted < 60 else 60
    step = base * max(1, -(-wanted // base))
    count = min(points, -(-seconds // step))
    return Grid((last // step - count + 1) * step, step, count, base)


def cost(grid: Grid, entities: Sequence[Entity], signal: str) -> tuple[int, int]:
    """How many numbers the answer has at most, and how many blocks are read for it."""
    series = sum(sum(not signal or one == signal for one in PLOTTED[entity.scope]) for entity in entities)
    blocks = 0 if grid.base == 1 else len(entities) * (grid.step * grid.count // BLOCK[grid.base] + 1)
    return series * grid.count * (1 if grid.step == 1 else 3), blocks


def points(
    grid: Grid, entity: Entity, signal: str, recent: Recent | None, last: int, reader: SeriesReader | None
) -> Iterator[tuple[str, list[Point]] | None]:
    """Each signal of an entity that has points, with them; None now and then, where others may have their turn."""
    names = PLOTTED[entity.scope]
    wanted = [n for n, name in enumerate(names) if not signal or name == signal]
    if grid.base == 1:
        for n in wanted:
            if recent is not None and n < recent.signals:
                yield from _named(names[n], [_recent_point(recent, n, at, grid.step, last) for at in _times(grid)])
        return
    per = grid.step // grid.base
    total = grid.count * per
    #: of each signal its least, means and largest
    stored = {n: tuple(array("H", bytes(2 * total)) for _ in range(3)) for n in wanted}
    for number, (at, block) in enumerate(() if reader is None else reader.blocks(entity, grid.base, grid.begin, grid.end)):
        _lay(stored, (at - grid.begin) // grid.base, total, block)
        if number % _PIECE == _PIECE - 1:
            yield None
    if recent is not None:
        _lay_recent(stored, grid, recent, last)
    for n in wanted:
        low, mean, high = stored[n]
        found = list(zip(low, mean, high, strict=True))
        yield from _named(names[n], found if per == 1 else [joined(found[i : i + per]) for i in range(0, total, per)])
        yield None


def _times(grid: Grid) -> range:
    return range(grid.begin, grid.end, grid.step)


def _named(name: str, found: list[Point]) -> Iterator[tuple[str, list[Point]]]:
    if any(one != NOTHING for one in found):
        yield name, found


def _lay(stored: dict[int, tuple[array[int], ...]], offset: int, total: int, block: array[int]) -> None:
    """Lay a block over the points, beginning at `offset`, which may be before them."""
    begin, end = max(offset, 0), min(offset + POINTS, total)
    for n, arrays in stored.items():
        if 3 * POINTS * (n + 1) > len(block):
            continue
        for place, codes in enumerate(arrays):
            at = (3 * n + place) * POINTS - offset
            codes[begin:end] = block[at + begin : at + end]


def _lay_recent(stored: dict[int, tuple[array[int], ...]], grid: Grid, recent: Recent, last: int) -> None:
    """The last ten minutes, of which no block may be written yet."""
    first = last - WINDOW + 1
    for at in range(max(grid.begin, first + -first % grid.base), min(grid.end, last + 1), grid.base):
        place = (at - grid.begin) // grid.base
        for n, arrays in stored.items():
            value = _recent_point(recent, n, at, grid.base, last) if n < recent.signals else NOTHING
            if value != NOTHING:
                for codes, code in zip(arrays, value, strict=True):
                    codes[place] = code


def _recent_point(recent: Recent, signal: int, at: int, step: int, last: int) -> Point:
    """A point of the last ten minutes; places of other seconds hold what was ten minutes ago."""
    begin, end = max(at, last - WINDOW + 1), min(at + step, last + 1)
    return point(recent.of(signal, begin, end - begin)) if begin < end else NOTHING
