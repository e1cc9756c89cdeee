"""The order in which the values and checks of a rule are evaluated: each after those that it reads, wherever they are written."""

from __future__ import annotations

from collections.abc import Mapping

#: a name, and the names that it reads
Reads = Mapping[str, tuple[str, ...]]


def in_order(reads: Reads) -> tuple[str, ...]:
    """The names as they are written, but none before one that it reads. In a cycle, one comes too early."""
    done: dict[str, None] = {}
    for start in reads:
        # Not recursive: a file may contain a chain of thousands.
        ahead, begun = [start], set[str]()
        while ahead:
            name = ahead[-1]
            first = () if name in begun else reads[name]
            begun.add(name)
            waits = [one for one in first if one in reads and one not in done and one not in begun]
            if not waits:
                done.setdefault(ahead.pop())
            ahead += reversed(waits)
    return tuple(done)


def cycle(reads: Reads) -> tuple[str, ...]:
    """The names of a cycle, the first one also at the end; empty if there is none."""
    place = {name: i for i, name in enumerate(in_order(reads))}
    late = (one for start, those in reads.items() for one in those if place.get(one, -1) >= place[start])
    return next((cycle_through(one, reads) for one in late), ())


def cycle_through(start: str, reads: Reads) -> tuple[str, ...]:
    """The shortest cycle from a name back to itself; empty if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    for way in ways:
        for one in reads[way[-1]]:
            if one == start:
                return (*way, start)
            if one in reads and one not in seen:
                seen.add(one)
                ways.append((*way, one))
    return ()
