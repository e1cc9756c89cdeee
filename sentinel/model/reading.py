"""Readings: everything that enters the engine, its only source of time, files and the machine's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinel.model.entity import Entity, Unknown, Value

#: The source that looks at the processes once a second: what it found ends only when it says so.
WATCH = "process"


@dataclass(frozen=True, slots=True)
class LogLines:
    """Complete lines as read in one wake-up.

    `data` is valid UTF-8, lines separated by ``\\n`` (no ``\\r``), with or without a newline at the end. `first` is the number
    of the first line in its source, counted from 1. `kind` names the set of patterns that applies: ``llama-server``, ``kernel``
    or ``systemd``. `at` is when the lines were read (seconds since the epoch), unless `elapsed_base` is given: then a line
    that carries llama-server's own time stamp (seconds since process start) happened at ``elapsed_base + stamp``.
    `backlog` marks lines that were written before they could be seen happening (read at start-up): they teach facts, and the
    times of their events are at most `at`.
    """

    at: float
    source: str
    entity: Entity
    data: bytes
    kind: str = "llama-server"
    first: int = 1
    backlog: bool = False
    elapsed_base: float | None = None

    @property
    def count(self) -> int:
        """How many lines these are."""
        return self.data.count(b"\n") + (0 if self.data.endswith(b"\n") or not self.data else 1)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pattern extracted from a line: all that is kept of it. `text` is the matched part.

    `line_index` counts from 0 within the batch, `pattern_index` within the event's patterns; `elapsed` and `wall` are the
    line's own times (seconds since the process began, since the epoch) and `port` the router's child that printed it.
    """

    line_index: int
    event: str
    pattern_index: int
    elapsed: float | None
    wall: float | None
    port: int | None
    fields: Mapping[str, Value]
    text: str

    @property
    def stamped(self) -> bool:
        """The line carries the seconds since the start of the process."""
        return self.elapsed is not None


@dataclass(frozen=True, slots=True)
class ClaimedLines:
    """A `LogLines` without its lines: their number, and the claims of those that a pattern matched."""

    at: float
    source: str
    entity: Entity
    count: int
    claims: tuple[Claim, ...]
    kind: str = "llama-server"
    first: int = 1
    backlog: bool = False
    elapsed_base: float | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """Values read together from one source about one entity. Keys are signal names of the catalogue."""

    at: float
    source: str
    entity: Entity
    values: Mapping[str, Value | Unknown]


@dataclass(frozen=True, slots=True)
class Event:
    """A named thing that happened. `line` is the matched part of the log line (never more), `n` its number in the source."""

    at: float
    name: str
    entity: Entity
    fields: Mapping[str, Value] = field(default_factory=dict)
    source: str = ""
    line: str = ""
    n: int = 0


@dataclass(frozen=True, slots=True)
class ServerFound:
    """A llama-server process was seen for the first time, or restarted under the same name.

    `pid` and `start_time` (seconds since the epoch) identify the process; `values` are its signals as in `Samples`.
    """

    at: float
    source: str
    entity: Entity
    pid: int
    start_time: float
    values: Mapping[str, Value | Unknown]


@dataclass(frozen=True, slots=True)
class ServerGone:
    """A server's process has ended."""

    at: float
    source: str
    entity: Entity
    pid: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. Timers fire at ticks; nothing in the engine reads a clock."""

    at: float


Reading = LogLines | ClaimedLines | Samples | Event | ServerFound | ServerGone | Tick
