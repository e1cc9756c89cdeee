"""What the daemon asks of its child."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """One check. `seconds` is the longest that one answer may take; `reference_fd` of the named reference, -1: none."""

    host: str = ""
    port: int = 0
    key: str = ""
    pid: int = 0
    ticks: int = 0
    #: the daemon's process: when it is no longer the parent, the check ends
    parent: int = 0
    proc: str = "/proc"
    #: tokens and seconds that are left of the day
    budget: int = 0
    left: float = 0.0
    patience: float = 0.0
    seconds: float = 120.0
    flags: str = ""
    #: files of what was learned, and of passes that were stopped
    past: str = ""
    partial: str = ""
    #: the stopped passes are of this very process
    resume: bool = False
    #: the model's file is the one that was learned
    same_model: bool = False
    reference_fd: int = -1
