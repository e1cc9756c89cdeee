"""What a signal is: name, type, unit, scope, max age, and who provides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinel.model.entity import Scope

SignalType = Literal["flag", "int", "float", "text"]
#: The origin of a fact decides when it is dropped: `log` when the log starts a new run, `process` when the process is new.
SignalOrigin = Literal["log", "process", "model", "host", "gpu", "daemon"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the catalogue. `stale_after` is the max age in seconds; None: valid until its origin restarts."""

    name: str
    type: SignalType
    unit: str
    scope: Scope
    origin: SignalOrigin
    stale_after: float | None
    help: str
    #: shown if the value is missing: which flag, permission or package provides it
    provide: str
