"""The flight recorder: the last readings in memory, packed and bounded, written to disk around an alert.

The ring is made of parts; each begins with the engine's state, so that the oldest can be dropped and the rest still replays
exactly. Log lines are kept as `ClaimedLines`: of lines that no event pattern matches only the number remains.
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import sentinel
from sentinel import recording
from sentinel.engine.alerts.silences import Silence
from sentinel.engine.engine import Engine
from sentinel.engine.log.claims import claim_of
from sentinel.engine.log.match import Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Transition
from sentinel.model.reading import Claim, ClaimedLines, LogLines, Reading
from sentinel.recording.archive import Archive
from sentinel.rulefiles.digest import event_digests, rule_digests

#: Bytes of the ring, packed. Keeping a reading costs some 15 us (measured).
LIMIT = 1 << 20
#: A new part starts after this share of the ring, or after so many readings (an hour or two of an idle daemon).
_PARTS = 4
STRETCH = 20_000
#: Seconds that a recording continues after an alert, and at most with further alerts; bytes of one recording on disk.
AFTER = 60.0
_LONGEST = 600.0
_LARGEST = 3 << 20
#: A flapping alert is recorded once in this many seconds, so that it does not push out all others.
_AGAIN = 3600.0
#: The packer's buffer is written at least this often while an alert is recorded. Seconds.
_FLUSH = 5.0


@dataclass(slots=True)
class _Part:
    """A stretch of readings with the state at its beginning. `data` is whole gzip members, without the packer's buffer."""

    header: bytes
    state: bytes
    begin: float
    data: bytearray = field(default_factory=bytearray)
    readings: int = 0

    @property
    def size(self) -> int:
        return len(self.state) + len(self.data)


@dataclass(slots=True)
class _Spill:
    """A recording in progress: its end time, and how much of it is on disk."""

    begin: float
    until: float
    readings: int
    size: int
    flushed: float


class FlightRecorder:
    """Keeps the engine's readings. `before` and `after` surround each step; nothing here makes a step fail."""

    def __init__(self, kept: Archive, limit: int = LIMIT, stretch: int = STRETCH) -> None:
        self.kept = kept
        #: why nothing is recorded at present; empty if it is
        self.fault = ""
        self._limit = limit
        self._stretch = stretch
        self._parts: deque[_Part] = deque()
        self._packer = _packer()
        self._claims: list[Claim] = []
        self._digests: tuple[RuleSet, bytes] | None = None
        self._spill: _Spill | None = None
        self._recorded: dict[str, float] = {}
        self._retry = float("-inf")

    @property
    def size(self) -> int:
        """Bytes in memory, without the packer's buffer."""
        return sum(part.size for part in self._parts)

    @property
    def begin(self) -> float | None:
        """Time of the oldest reading kept, seconds since the epoch."""
        return self._parts[0].begin if self._parts else None

    @property
    def readings(self) -> int:
        """The number of readings kept."""
        return sum(part.readings for part in self._parts)

    def before(self, engine: Engine, at: float) -> None:
        """The engine is about to take a reading: store its state where a part begins."""
        self._claims = []
        if not self._parts:
            if at >= self._retry:
                self._new_part(engine, at)
        elif self._parts[-1].size >= self._limit // _PARTS or self._parts[-1].readings >= self._stretch:
            self._new_part(engine, at)

    def after(self, reading: Reading, transitions: Sequence[Transition]) -> None:
        """The engine has taken it."""
        if not self._parts:
            return
        if isinstance(reading, LogLines):
            reading = ClaimedLines(
                reading.at,
                reading.source,
                reading.entity,
                reading.count,
                tuple(self._claims),
                reading.kind,
                reading.first,
                reading.backlog,
                reading.elapsed_base,
            )
        try:
            line = recording.row(reading)
        except ValueError as error:
            self._lose(reading.at, f"a reading of {type(reading).__name__} cannot be written ({type(error).__name__})")
            return
        self._parts[-1].readings += 1
        self._add(line)
        self._watch(reading.at, transitions)

    def rules_changed(self, ruleset: RuleSet, at: float) -> None:
        """Rules were loaded; readings recorded under the old ones stay."""
        self._digests = None
        if self._parts:
            self._add(recording.rules_changed(at, rule_digests(ruleset)))

    def silence_changed(self, silence: Silence, engine: Engine, at: float) -> None:
        """A silence was added or expired early; the engine holds the active ones by now."""
        if self._parts:
            self._add(recording.silence_changed(at, asdict(silence), engine.silences.dump()))

    def content(self) -> Iterator[bytes]:
        """The whole ring as one recording: gzip members. Call it before the next reading."""
        if not self._parts:
            return
        self._flush()
        yield self._parts[0].header
        yield self._parts[0].state
        for part in self._parts:
            yield bytes(part.data)
        yield gzip.compress(recording.end(self.readings), 6, mtime=0)

    def close(self) -> None:
        """Finish the recording in progress."""
        self._finish()

    def claim(self, match: Match) -> None:
        """A pattern matched a line that the engine takes now."""
        self._claims.append(claim_of(match))

    def _add(self, line: bytes) -> None:
        packed = self._packer.compress(line)
        if packed:
            self._keep(packed)

    def _flush(self) -> None:
        """Flush the packer; what follows is a new member."""
        packed = self._packer.flush()
        self._packer = _packer()
        self._keep(packed)

    def _keep(self, packed: bytes) -> None:
        self._parts[-1].data += packed
        self._write(packed)

    # --- parts ---

    def _new_part(self, engine: Engine, at: float) -> None:
        if self._parts:
            self._flush()
        try:
            state = gzip.compress(b"".join(recording.state(engine.snapshot())), 6, mtime=0)
        except ValueError as error:
            self._lose(at, f"the state cannot be written ({error})")
            return
        if len(state) > self._limit // 2:
            self._lose(at, f"the state of all servers is {len(state) >> 10} KiB, too much for the recorder's memory")
            return
        self.fault = ""
        self._parts.append(_Part(self._header(engine.ruleset), state, at))
        while self.size > self._limit and len(self._parts) > 1:
            self._parts.popleft()

    def _header(self, ruleset: RuleSet) -> bytes:
        if self._digests is None or self._digests[0] is not ruleset:
            line = recording.header(sentinel.__version__, rule_digests(ruleset), event_digests(ruleset))
            self._digests = (ruleset, gzip.compress(line, 6, mtime=0))
        return self._digests[1]

    def _lose(self, at: float, why: str) -> None:
        """Without this reading the rest would not replay exactly: start again a little later."""
        self._finish()
        self._parts.clear()
        self._packer = _packer()
        self._retry = at + 60.0
        self.fault = why

    # --- around an alert ---

    def _watch(self, at: float, transitions: Sequence[Transition]) -> None:
        spill = self._spill
        if spill is not None:
            spill.readings += 1
        for transition in transitions:
            if transition.state == "firing" and transition.previous != "firing" and transition.severity != "info":
                self._alert(at, transition)
        spill = self._spill
        if spill is None:
            return
        if at >= spill.until or spill.size > _LARGEST:
            self._finish()
        elif at - spill.flushed >= _FLUSH:
            spill.flushed = at
            self._flush()

    def _alert(self, at: float, transition: Transition) -> None:
        if self._spill is not None:
            self._spill.until = min(at + AFTER, self._spill.begin + _LONGEST)
            return
        if at - self._recorded.get(transition.fingerprint, float("-inf")) < _AGAIN:
            return
        if not self.kept.begin(at, transition.rule):
            return
        self._recorded = {f: t for f, t in self._recorded.items() if at - t < _AGAIN} | {transition.fingerprint: at}
        self._flush()
        self._spill = _Spill(at, at + AFTER, self.readings, 0, at)
        for piece in (self._parts[0].header, self._parts[0].state, *(bytes(part.data) for part in self._parts)):
            self._write(piece)

    def _write(self, packed: bytes) -> None:
        if self._spill is None:
            return
        self._spill.size += len(packed)
        if not self.kept.write(packed):
            self._spill = None

    def _finish(self) -> None:
        if self._spill is None:
            return
        self._flush()
        if self._spill is not None:
            self._write(gzip.compress(recording.end(self._spill.readings), 6, mtime=0))
            self.kept.finish()
            self._spill = None


def _packer() -> zlib._Compress:
    """Makes a gzip member. Level 6 packs readings to a third of level 3's size, for half a microsecond a line (measured)."""
    return zlib.compressobj(6, zlib.DEFLATED, 31)
