"""Saved logs as readings, in the order of their lines: of servers, of a router's children, of systemd, of the kernel.

Time passes as the lines say: by a wall clock in front of them, else by llama-server's own stamps. Pure.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sentinel.diagnose.voices import Line, unit_of
from sentinel.engine.log.envelope import strip
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity
from sentinel.model.reading import LogLines, Tick

#: Lines fed together; their times lie within a moment, so that windows and holds see time pass.
_BATCH = 2000
#: Seconds without a line, and between the first and the last line fed together. A step of the engine costs as much as 20 lines.
_GAP, _SPAN = 1.0, 5.0
_STAMP = re.compile(rb"(?:\[ {0,4}(\d{1,5})\] )?(?:\x1b\[[\d;]*m)*(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3})[ \x1b]")
#: Lines of 2024 that carry the time within.
_DATED_WITHIN = (b"{", b"INFO", b"WARN", b" ERR", b"time=", b"ERR")
_SPAWN = re.compile(rb"srv +load: spawning server instance with name=(?P<name>.+) on port (?P<port>\d{1,5})\s*$")
_ARGUMENT = re.compile(rb"srv +load:   (?P<word>\S.*?)\s*$")
#: A router's child has some dozens of words.
_MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class RunBegins:
    """Not a reading: the next line is the first of another run of this server."""

    at: float
    server: Entity


@dataclass(frozen=True, slots=True)
class RunEnds:
    """Not a reading: the next line is the first of a shutdown."""

    at: float


@dataclass(frozen=True, slots=True)
class ChildBegins:
    """Not a reading: a router started a child, with this command line."""

    at: float
    router: Entity
    port: int
    name: str
    words: tuple[str, ...]


Step = LogLines | Tick | RunBegins | RunEnds | ChildBegins


#: What backends say at the start of a process, as a rule before the line that counts as its first; and how far before.
_BACKENDS = frozenset(
    {"backend_init_failed", "backend_load_failed", "backend_loaded", "gpu_device", "no_vulkan_device", "software_vulkan"}
)
_PREAMBLE = 60
#: Between two runs of a log without times: more than the seconds by which a run may have begun before its first line.
_BETWEEN_RUNS = 6.0


class Marks:
    """Finds the lines with which runs begin, and those with which a server that served begins to stop."""

    def __init__(self, ruleset: RuleSet) -> None:
        wanted = [
            event
            for event in ruleset.events.values()
            if event.source == "llama-server" and (event.starts_run or "server.state" in event.const or event.name in _BACKENDS)
        ]
        self._extractor = Extractor(wanted)

    def of(self, lines: Sequence[Line]) -> tuple[frozenset[int], frozenset[int]]:
        """The numbers of first lines of later runs, and of first lines of a shutdown."""
        begins, stops = set(), set()
        seen: set[int | None] = set()
        fresh: dict[int | None, bool] = {}
        backends: dict[int | None, int] = {}
        for match in self._extractor.events(b"\n".join(line.text for line in lines)):
            number = lines[match.line_index].number
            if match.event.name in _BACKENDS:
                # A process starts its backends once, in older builds after its first line.
                backends.setdefault(match.port, number)
                continue
            if match.event.starts_run:
                if match.port is None and match.port in seen and not fresh.get(match.port, False):
                    before = backends.get(match.port, number)
                    begins.add(before if number - before <= _PREAMBLE else number)
                fresh[match.port] = True
            else:
                fresh[match.port] = False
            backends.pop(match.port, None)
            seen.add(match.port)
            if match.event.const.get("server.state") == "stopping":
                stops.add(number)
        return frozenset(begins), frozenset(stops)


@dataclass(slots=True)
class Clock:
    """The moment of a line on the engine's clock. It never goes back."""

    #: where time begins that has no date
    base: float
    dated: bool
    at: float = 0.0
    _origin: float | None = None
    #: of each process: where its stamps count from, and the last one
    _stamps: dict[tuple[str, int | None], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = self.base

    def shift(self, seconds: float) -> None:
        """What has no date goes on that much later."""
        self.base += seconds
        if not self.dated:
            self.at += seconds

    def of(self, line: Line, who: str) -> float:
        """When it was printed."""
        now = self._wall(line)
        if now is None:
            now = self._elapsed(line.text, who) if line.kind == "llama-server" else None
        self.at = self.at if now is None else max(self.at, now)
        return self.at

    def comparable(self, line: Line) -> bool:
        """Its time can be held against those of the other lines."""
        return line.epoch is not None if self.dated else line.local is not None and self._origin is not None

    def of_other(self, line: Line) -> float:
        """The moment of a line of another log, without moving on."""
        now = self._wall(line)
        return self.at if now is None else now

    def starts_at(self, local: float) -> None:
        """The first time of day that has no date."""
        self._origin = local if self._origin is None else self._origin

    def _wall(self, line: Line) -> float | None:
        if self.dated:
            if line.epoch is not None:
                return line.epoch
            if line.text.startswith(_DATED_WITHIN):
                return strip(line.text[:4096].decode("utf-8", "replace")).wall
            return None
        if line.local is None:
            return None
        self.starts_at(line.local)
        return self.base + max(0.0, line.local - (self._origin or 0.0))

    def _elapsed(self, text: bytes, who: str) -> float | None:
        match = _STAMP.match(text)
        if match is None:
            return None
        elapsed = int(match[2]) * 60 + int(match[3]) + int(match[4]) / 1e3
        process = who, None if match[1] is None else int(match[1])
        offset, last = self._stamps.get(process, (0.0, 0.0))
        if process[1] is not None and (process not in self._stamps or elapsed < last):
            # A child's stamps count from its own start, which is now.
            offset = self.at - self.base - elapsed
        elif elapsed < last:
            offset += last
        self._stamps[process] = offset, elapsed
        return self.base + offset + elapsed


def begins(lines: Iterable[Line]) -> float | None:
    """The first absolute time; None where only the machine knew its zone, or nobody."""
    for line in lines:
        if line.local is not None:
            return None
        if line.epoch is not None:
            return line.epoch
        wall = strip(line.text.decode("utf-8", "replace")).wall
        if wall is not None:
            return wall
    return None


@dataclass(slots=True)
class Later:
    """Lines of a log that was given beside the server's, by their time."""

    lines: deque[tuple[float, str, Line]] = field(default_factory=deque)

    def until(self, at: float) -> Iterator[LogLines]:
        """What was printed before that."""
        while self.lines and self.lines[0][0] < at:
            moment, name, line = self.lines.popleft()
            yield LogLines(moment, name, HOST, line.text, kind="kernel", first=line.number)


class Reader:
    """Reads logs of one machine, one after the other, on one clock."""

    def __init__(self, ruleset: RuleSet, clock: Clock, kernel: Later) -> None:
        self._marks = Marks(ruleset)
        self._clock = clock
        self._kernel = kernel

    def read(
        self, name: str, lines: Sequence[Line], entities: Mapping[str, Entity], units: Mapping[str, Entity]
    ) -> Iterator[Step]:
        """`entities`: whose a voice is; lines of other voices are nobody's. `units`: whose a unit is."""
        clock = self._clock
        starts: set[tuple[Entity, int]] = set()
        stops: set[int] = set()
        for server in dict.fromkeys(entities.values()):
            own = [line for line in lines if line.kind == "llama-server" and entities.get(line.voice) == server]
            begin, ends = self._marks.of(own)
            starts |= {(server, number) for number in begin}
            stops |= ends
        spawn = _Spawn()
        batch: list[bytes] = []
        key: tuple[Entity, str] | None = None
        first, began = 0, 0.0
        at = clock.at

        def flush() -> Iterator[Step]:
            nonlocal batch
            if batch and key is not None:
                yield LogLines(at, name, key[0], b"\n".join(batch), kind=key[1], first=first)
                yield Tick(at)
            batch = []

        for line in lines:
            entity = self._whose(line, entities, units)
            if entity is None:
                continue
            now = clock.of(line, entity.name)
            begins_run, stop = (entity, line.number) in starts, line.number in stops and line.kind == "llama-server"
            of = entity, line.kind
            gap = bool(batch) and line.number != first + len(batch)
            if batch and (
                of != key or gap or stop or begins_run or now - at >= _GAP or now - began >= _SPAN or len(batch) >= _BATCH
            ):
                yield from flush()
            if self._kernel.lines:
                yield from self._kernel.until(now)
            if stop:
                at = max(at, now)
                yield RunEnds(at)
                at = max(at, clock.at)
            if begins_run:
                # Without a date every line has one moment; what a run before printed is not of this one.
                clock.shift(_BETWEEN_RUNS)
                yield RunBegins(max(at, clock.of(line, entity.name)), entity)
                # Whoever took it may have shifted the clock as well.
                now = clock.of(line, entity.name)
            if not batch:
                key, first, began = of, line.number, now
            at = max(at, now)
            if line.kind == "llama-server" and (child := spawn.take(line.text)) is not None:
                yield from flush()
                key, first, began = of, line.number, now
                yield ChildBegins(at, entity, *child)
            batch.append(line.text)
        if (child := spawn.done()) is not None and key is not None:
            yield from flush()
            yield ChildBegins(at, key[0], *child)
        yield from flush()

    def _whose(self, line: Line, entities: Mapping[str, Entity], units: Mapping[str, Entity]) -> Entity | None:
        if line.kind == "kernel":
            return HOST
        if line.kind == "systemd":
            return units.get(unit_of(line)) or (HOST if b"emory pressure" in line.text or b"badness" in line.text else None)
        return entities.get(line.voice)


@dataclass(slots=True)
class _Spawn:
    """Gathers the command line of a child, which a router prints a word a line."""

    port: int = 0
    name: str = ""
    words: list[str] = field(default_factory=list)

    def take(self, text: bytes) -> tuple[int, str, tuple[str, ...]] | None:
        """One more line; a child whose command line is complete with the line before."""
        if b"load: " not in text and b"load:  " not in text:
            return self.done()
        found = _SPAWN.search(text)
        if found is not None:
            before = self.done()
            self.port, self.name = int(found["port"]), found["name"].decode("utf-8", "replace")
            return before
        word = _ARGUMENT.search(text)
        if self.port and word is not None and len(self.words) < _MOST_WORDS:
            self.words.append(word["word"].decode("utf-8", "replace"))
            return None
        return None if b"with args:" in text else self.done()

    def done(self) -> tuple[int, str, tuple[str, ...]] | None:
        """The child, if there is one."""
        if not self.port:
            return None
        found = self.port, self.name, tuple(self.words)
        self.port, self.name, self.words = 0, "", []
        return found
