"""Turns saved logs into readings, in the order of their lines: of servers, a router's children, systemd and the kernel. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sentinel.diagnose.log_clock import LogClock
from sentinel.diagnose.senders import Line
from sentinel.diagnose.servers import unit_of
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import HOST, Entity
from sentinel.model.reading import LogLines, Tick

#: The most lines in one reading; their times are close together, so that windows and holds see time pass.
_BATCH = 2000
#: The longest gap, and the longest span, of the lines in one reading. Seconds. A step of the engine costs as much as 20 lines.
_GAP, _SPAN = 1.0, 5.0
_SPAWN = re.compile(rb"srv +load: spawning server instance with name=(?P<name>.+) on port (?P<port>\d{1,5})\s*$")
_ARGUMENT = re.compile(rb"srv +load:   (?P<word>\S.*?)\s*$")
#: The command line of a router's child has some dozens of words.
_MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class RunBegins:
    """Not a reading: the next line is the first of a new run of this server."""

    at: float
    server: Entity


@dataclass(frozen=True, slots=True)
class RunEnds:
    """Not a reading: the next line is the first of a shutdown. `last`: the last one in this log."""

    at: float
    last: bool


@dataclass(frozen=True, slots=True)
class ChildBegins:
    """Not a reading: a router started a child, with this command line."""

    at: float
    router: Entity
    port: int
    name: str
    words: tuple[str, ...]


LogStep = LogLines | Tick | RunBegins | RunEnds | ChildBegins


#: Messages of backends at the start of a process, usually before the line that marks its start; and how many lines before.
_BACKENDS = frozenset(
    {"backend_init_failed", "backend_load_failed", "backend_loaded", "gpu_device", "no_vulkan_device", "software_vulkan"}
)
_PREAMBLE = 60
#: Seconds between two runs of a log without times: more than a run may have started before its first line.
_BETWEEN_RUNS = 6.0


class Marks:
    """Finds the first line of each run, and the first line of each shutdown."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._extractor = ruleset.extractor(
            "llama-server", lambda event: event.starts_run or "server.state" in event.const or event.name in _BACKENDS
        )

    def of(self, lines: Sequence[Line]) -> tuple[frozenset[int], frozenset[int]]:
        """The line numbers at which later runs start, and at which shutdowns start."""
        begins, stops = set(), set()
        seen: set[int | None] = set()
        fresh: dict[int | None, bool] = {}
        backends: dict[int | None, int] = {}
        for match in self._extractor.events(b"\n".join(line.text for line in lines)):
            number = lines[match.line_index].number
            if match.event.name in _BACKENDS:
                # A process initialises its backends once, in older builds after its first line.
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
class Later:
    """Lines of a log given in addition to the server's, by time."""

    lines: deque[tuple[float, str, Line]] = field(default_factory=deque)

    def until(self, at: float) -> Iterator[LogLines]:
        """The lines from before `at`."""
        while self.lines and self.lines[0][0] < at:
            moment, name, line = self.lines.popleft()
            yield LogLines(moment, name, HOST, line.text, kind="kernel", first=line.number)


class SavedLogReader:
    """Reads the logs of one machine one after the other, on one clock."""

    def __init__(self, ruleset: RuleSet, clock: LogClock, kernel: Later) -> None:
        self._marks = Marks(ruleset)
        self._clock = clock
        self._kernel = kernel

    def read(
        self, name: str, lines: Sequence[Line], entities: Mapping[str, Entity], units: Mapping[str, Entity]
    ) -> Iterator[LogStep]:
        """Read a log. `entities`: server by voice; lines of other voices are ignored. `units`: server by unit."""
        clock = self._clock
        starts: set[tuple[Entity, int]] = set()
        stops: set[int] = set()
        for server in dict.fromkeys(entities.values()):
            own = [line for line in lines if line.kind == "llama-server" and entities.get(line.voice) == server]
            begin, ends = self._marks.of(own)
            starts |= {(server, number) for number in begin}
            stops |= ends
        last_stop = max(stops, default=0)
        spawn = _Spawn()
        batch: list[bytes] = []
        key: tuple[Entity, str] | None = None
        first, began = 0, 0.0
        at = clock.at

        def flush() -> Iterator[LogStep]:
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
                yield RunEnds(at, last=line.number == last_stop)
                at = max(at, clock.at)
            if begins_run:
                # Without dates all lines have the same time; an earlier run's lines must not count for this one.
                clock.shift(_BETWEEN_RUNS)
                yield RunBegins(max(at, clock.of(line, entity.name)), entity)
                # The consumer of the step may have shifted the clock.
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
    """Collects the command line of a child, which a router prints one word per line."""

    port: int = 0
    name: str = ""
    words: list[str] = field(default_factory=list)

    def take(self, text: bytes) -> tuple[int, str, tuple[str, ...]] | None:
        """Take the next line. Returns the child whose command line ended with the previous line."""
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
        """Returns the pending child, if there is one."""
        if not self.port:
            return None
        found = self.port, self.name, tuple(self.words)
        self.port, self.name, self.words = 0, "", []
        return found
