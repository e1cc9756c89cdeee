"""The series of what people look at: recorded once a second, kept a month, read by `/v1/series`.

Kept are a second for ten minutes (in memory, and in the file for a restart), 10 s for a day, a minute for thirty days. Times are
data: seconds that were not recorded are gaps, and where the clock was set back, what is recorded later replaces what was recorded
for the same second. Nothing here raises: without a disk there are the last ten minutes, and `fault`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from sentinel.engine.inspect.plotted import PLOTTED, REPORTED, PlottedRow
from sentinel.history.series_file import Batch, SeriesFile
from sentinel.history.series_points import GAP, encode
from sentinel.history.series_recent import WINDOW, ClosedWindow, Recent, is_empty
from sentinel.history.sqlite_file import HistoryFault
from sentinel.model.entity import Entity
from sentinel.model.input_limits import MOST_PLOTTED_GPUS
from sentinel.model.shares import Shares

#: Seconds of one write: what a kill or a power cut may lose.
EVERY = 10
#: Servers that have series at a time, of one user and in all (0.6 MB); GPUs.
_SERVERS = Shares(50, 64)
#: Ticks that came late leave no gap: the daemon was busy, and the values are those of seconds before. Seconds.
_LATE = 3
_ONCE = {scope: {i for i, name in enumerate(names) if name in REPORTED} for scope, names in PLOTTED.items()}
#: Windows and batches that wait for a disk that takes nothing: half an hour, 2 MB with the most servers.
_MOST_WINDOWS = 3
_MOST_BATCHES = WINDOW // EVERY
#: The longest that the end of the daemon waits for a write. Seconds.
_PATIENCE = 5.0

#: Runs a call on a thread.
Submit = Callable[[Callable[[], str]], Future[str]]


@dataclass(slots=True)
class _Waiting:
    """What is to be written, oldest first."""

    batches: list[Batch] = field(default_factory=list)
    windows: list[ClosedWindow] = field(default_factory=list)


class Series:
    """Everything recorded. `path` None: in memory only. `submit` runs a write off the event loop; without it, at once."""

    def __init__(self, path: Path | None, submit: Submit | None = None) -> None:
        #: why it is not on disk, as a sentence; empty while it is
        self.fault = ""
        #: what was set aside when the file was opened
        self.message = ""
        #: the last second that was recorded, 0 before the first
        self.last = 0
        #: the time of the last call of `take`
        self.taken = 0.0
        self.recent: dict[Entity, Recent] = {}
        self.path = path
        self._submit = submit
        self._file: SeriesFile | None = None
        self._waiting = _Waiting()
        self._writing: tuple[Future[str], _Waiting] | None = None
        #: the first second of the batch that is being made
        self._begun = 0
        self._users: dict[str, int] = {}
        #: those without room, until one comes or goes: with 300 servers asking each again took 6 ms of every second
        self._refused: set[Entity] = set()

    def restore(self) -> None:
        """Read what an earlier run recorded of the last minutes."""
        try:
            file = self._opened()
            batches = [] if file is None else file.batches()
        except HistoryFault as fault:
            self.fault = str(fault)
            return
        for batch in batches:
            self._advance(batch.at, restored=True)
            self._clear(batch.at, batch.seconds)
            for (entity, owner), codes in zip(batch.entities, batch.codes, strict=True):
                recent = self._of(entity, owner, len(codes) // batch.seconds)
                if recent is not None:
                    recent.put(batch.at, batch.seconds, codes)
            self.last = batch.at + batch.seconds - 1
        # They are on disk already.
        self._begun = self.last + 1

    def take(self, at: float, rows: Iterable[PlottedRow]) -> None:
        """Record what is known at this time; times within one second count once."""
        second = int(at)
        self.taken = at
        if second == self.last:
            return
        first = self.last + 1 if self.last and 1 < second - self.last <= _LATE else second
        if first // EVERY != second // EVERY:
            first = second
        self._settle()
        self._advance(first)
        if self._begun == first:
            self._write()
        silent = set(self.recent)
        for entity, owner, values in rows:
            recent = self._of(entity, owner, len(PLOTTED[entity.scope]))
            if recent is not None:
                silent.discard(entity)
                codes = [encode(value) for value in values]
                for n in range(first, second):
                    # What is reported once counts once.
                    recent.set(n, [GAP if i in _ONCE[entity.scope] else code for i, code in enumerate(codes)])
                recent.set(second, codes)
        for entity in silent & self.recent.keys():
            self.recent[entity].clear(first, second - first + 1)
        self.last = second

    def close(self) -> None:
        """Write what was recorded, if the disk takes it."""
        self._end_of_batch()
        if self._writing is not None:
            # A write that hangs is left to its thread.
            wait([self._writing[0]], timeout=_PATIENCE)
            self._settle()
        if self._writing is None:
            self._put(self._waiting)
            if self._file is not None:
                self._file.close()
                self._file = None

    def _of(self, entity: Entity, owner: str, signals: int) -> Recent | None:
        known = self.recent.get(entity)
        if known is not None:
            known.owner = owner
            return known
        if entity in self._refused:
            return None
        if not self._admits(entity, owner):
            self._refused.add(entity)
            return None
        self._refused.clear()
        made = self.recent[entity] = Recent(owner, signals)
        return made

    def _admits(self, entity: Entity, owner: str) -> bool:
        """Whether there is room; a user with fewer servers displaces one of the user with most."""
        held = [one for one in self.recent if one.scope == entity.scope]
        if entity.scope != "server":
            return len(held) < MOST_PLOTTED_GPUS
        users = [self._user(self.recent[one].owner) for one in held]
        if not _SERVERS.admits(self._user(owner), users):
            return False
        gone = _SERVERS.displaced(self._user(owner), users)
        if gone is not None:
            del self.recent[held[gone]]
        return True

    def _user(self, owner: str) -> int:
        """A number for a user: user ids without a name are numbers already, the others get one below zero."""
        return int(owner) if owner.isascii() and owner.isdecimal() else self._users.setdefault(owner, -1 - len(self._users))

    def _advance(self, second: int, *, restored: bool = False) -> None:
        """Go on to a second: what lies between it and the last one is unknown."""
        last = self.last
        if not last:
            self._begun = second
            return
        if second < last or second // EVERY != last // EVERY:
            self._end_of_batch(restored=restored)
            self._begun = second
        if second // WINDOW != last // WINDOW:
            begin = last - last % WINDOW
            self._clear(last + 1, begin + WINDOW - last - 1)
            self._end_of_window(begin, restored=restored)
            self._clear(begin + WINDOW, second - begin - WINDOW)
        else:
            self._clear(last + 1, second - last - 1)
        # Where the clock was set back: seconds that come again, and those a window before them, whose places they had.
        self._clear(second, last - second + 1)

    def _clear(self, at: int, seconds: int) -> None:
        if seconds > 0:
            for recent in self.recent.values():
                recent.clear(at, seconds)

    def _end_of_batch(self, *, restored: bool = False) -> None:
        seconds = self.last + 1 - self._begun
        if restored or seconds <= 0:
            return
        there = [(entity, recent) for entity, recent in self.recent.items() if recent.seen >= self._begun]
        names = [(entity, recent.owner) for entity, recent in there]
        codes = [recent.all_of(self._begun, seconds) for _, recent in there]
        self._waiting.batches.append(Batch(self._begun, seconds, names, codes))
        self._begun = self.last + 1

    def _end_of_window(self, at: int, *, restored: bool) -> None:
        there = {e: (r.owner, r.signals, array("H", r.codes)) for e, r in self.recent.items() if not is_empty(r.codes)}
        self._waiting.windows.append(ClosedWindow(at, there, restored))
        self._refused.clear()
        # Who had no value in a whole window has ended.
        for entity in [entity for entity, recent in self.recent.items() if recent.seen < at]:
            del self.recent[entity]

    def _write(self) -> None:
        """Write what waits, unless a write goes on."""
        self._settle()
        work = self._waiting
        if self._writing is not None or self.path is None or not (work.batches or work.windows):
            self._bound()
            return
        self._waiting = _Waiting()
        if self._submit is None:
            self._done(self._put(work), work)
            return
        try:
            self._writing = self._submit(lambda: self._put(work)), work
        except OSError as error:
            self._done(f"cannot write the series: {error.strerror}", work)

    def _settle(self) -> None:
        if self._writing is not None and self._writing[0].done():
            future, work = self._writing
            self._writing = None
            # A bug of the writer ends the daemon, as any other does.
            self._done(future.result(), work)

    def _done(self, fault: str, work: _Waiting) -> None:
        self.fault = fault
        if fault:
            self._waiting = _Waiting(work.batches + self._waiting.batches, work.windows + self._waiting.windows)
            self._bound()

    def _bound(self) -> None:
        """Of what waits for a disk that takes nothing the newest is kept; what memory has is as good as batches."""
        del self._waiting.windows[:-_MOST_WINDOWS]
        del self._waiting.batches[:-_MOST_BATCHES]

    def _opened(self) -> SeriesFile | None:
        if self._file is None and self.path is not None:
            self._file = SeriesFile(self.path)
            self.message = self._file.message
        return self._file

    def _put(self, work: _Waiting) -> str:
        """Returns why it could not be written, on whatever thread it runs."""
        try:
            file = self._opened()
            if file is not None and (work.batches or work.windows):
                file.write(work.batches, work.windows)
        except HistoryFault as fault:
            return str(fault)
        return ""
