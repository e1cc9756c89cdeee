"""What is kept of each server over restarts and kills: when it was checked, as what, and what was found. One small file a server,
its reference beside it; no text of users is in either."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path

from sentinel.files.atomic import write_atomically
from sentinel.quality.daily.identity import Identity
from sentinel.quality.daily.outcome import Counted, Outcome, taken

#: Servers of which something is kept; that of the one not seen for longest goes first. A reference has 200 KB.
MOST_KEPT = 32
_MOST_BYTES = 64 << 10
_OTHER = re.compile(r"[^A-Za-z0-9.-]+")
_VERSION = 1


@dataclass(slots=True)
class Record:
    """One server. Times are seconds since the epoch, 0 where it never happened."""

    name: str = ""
    #: what it was when it last gave the answers that were learned, and when it was checked last: what differs causes a shift
    known_as: Identity = field(default_factory=Identity)
    checked_as: Identity = field(default_factory=Identity)
    #: build and quantization, as it named them then
    known_build: str = ""
    known_weights: str = ""
    learned_at: float = 0.0
    checked_at: float = 0.0
    #: since when every check has found the same shift of the same configuration
    shifted_at: float = 0.0
    found: Outcome = field(default_factory=Outcome)
    #: of the day since the epoch with this number
    day: int = 0
    tokens_of_day: int = 0
    seconds_of_day: float = 0.0
    #: failures in a row, and when it is tried again
    failures: int = 0
    not_before: float = 0.0
    trouble: str = ""
    remedy: str = ""
    #: the process whose unfinished pass is kept
    partial_of: str = ""
    experts: Counted = field(default_factory=Counted)
    experts_of: str = ""

    def spent(self, at: float) -> int:
        """Tokens of this day (UTC)."""
        return self.tokens_of_day if self.day == _day(at) else 0

    def took(self, at: float) -> float:
        """Seconds that were asked on this day (UTC)."""
        return self.seconds_of_day if self.day == _day(at) else 0.0

    def spend(self, tokens: int, seconds: float, at: float) -> None:
        """Count them to this day."""
        self.tokens_of_day, self.seconds_of_day = self.spent(at) + tokens, self.took(at) + seconds
        self.day = _day(at)


def _day(at: float) -> int:
    return int(at // 86_400)


class Shelf:
    """The folder with a file for each server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, Record] = {}

    def stem(self, name: str) -> Path:
        """Of the server's files; two names never have the same."""
        readable = _OTHER.sub("-", name).strip("-.")[:60] or "server"
        return self.folder / f"{readable}-{blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()}"

    def reference(self, name: str) -> Path:
        """Its answers as they were learned: remove it, and they are learned again."""
        return self.stem(name).with_name(self.stem(name).name + ".reference.json")

    def partial(self, name: str) -> Path:
        """The passes of a check that was stopped."""
        return self.stem(name).with_name(self.stem(name).name + ".partial.json")

    def _state(self, name: str) -> Path:
        return self.stem(name).with_name(self.stem(name).name + ".state.json")

    def record(self, name: str) -> Record:
        """What is known of the server; a file that cannot be read counts as none."""
        if name not in self._records:
            self._records[name] = self._read(name)
        return self._records[name]

    def keep(self, names: set[str]) -> None:
        """Hold these in memory; the others are on disk."""
        for name in self._records.keys() - names:
            del self._records[name]

    def _read(self, name: str) -> Record:
        try:
            with self._state(name).open("rb") as stream:
                given = json.loads(stream.read(_MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return Record(name)
        known = isinstance(given, dict) and given.get("version") == _VERSION and given.get("name") == name
        return taken(Record, given) if known else Record(name)

    def save(self, name: str) -> str:
        """Whole or not at all; why not, else empty."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._state(name), json.dumps({"version": _VERSION, **asdict(self._records[name])}).encode())
            self._make_room(name)
        except OSError as error:
            return f"what is known of the quality of {name:.200} cannot be kept: {error.strerror}"
        return ""

    def _make_room(self, name: str) -> None:
        """Drop what belongs to the servers that were not seen for longest."""
        files = sorted(self.folder.glob("*.state.json"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(len(files) - MOST_KEPT, 0)]:
            if path == self._state(name):
                continue
            stem = path.name.removesuffix(".state.json")
            for ending in ("reference", "partial", "state"):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(f"{stem}.{ending}.json").unlink()

    def drop_partial(self, name: str) -> None:
        """Its unfinished pass is of no use any more."""
        with contextlib.suppress(OSError):
            self.partial(name).unlink()
