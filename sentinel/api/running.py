"""The part of the running daemon that queries may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sentinel.engine.engine import Engine
from sentinel.history import History
from sentinel.history.series import Series
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.rulefiles.files import Loaded
from sentinel.sinks import Outbox


class SourceHealth(Protocol):
    """The state of a source."""

    @property
    def name(self) -> str: ...
    @property
    def health(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def since(self) -> float: ...
    @property
    def failures(self) -> int: ...


class Queue(Protocol):
    """The inbox: the number of waiting readings and of dropped samples."""

    def __len__(self) -> int: ...
    @property
    def dropped(self) -> int: ...


class Running(Protocol):
    """A daemon, as queries see it."""

    @property
    def engine(self) -> Engine: ...
    @property
    def history(self) -> History: ...
    @property
    def series(self) -> Series: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def recorder(self) -> FlightRecorder | None: ...
    @property
    def inbox(self) -> Queue: ...
    @property
    def overrides(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def state_dir(self) -> Path: ...
    @property
    def started(self) -> float: ...
    @property
    def clients(self) -> int: ...
    @property
    def lag(self) -> float: ...
    @property
    def transition_counts(self) -> Mapping[tuple[str, str], int]: ...

    def now(self) -> float:
        """Seconds since the epoch, on the daemon's clock."""

    def sources(self) -> Sequence[SourceHealth]:
        """Every source, by name."""

    async def reload(self) -> Loaded:
        """Reload the rule files."""
