"""What a signal is: name, type, unit, scope, how long a value stays believable, and who provides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinel.model.entity import Scope

SignalType = Literal["flag", "int", "float", "text"]
#: Where a fact comes from decides when it is forgotten: `log` when the log starts a new run, `process` when the process is new.
SignalOrigin = Literal["log", "process", "model", "host", "gpu", "daemon"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the catalogue. `stale_after` is in seconds; None: believable until its origin starts anew."""

    name: str
    type: SignalType
    unit: str
    scope: Scope
    origin: SignalOrigin
    stale_after: float | None
    help: str
    #: said when the value is missing: which flag, permission or package provides it
    provide: str
