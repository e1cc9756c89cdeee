"""Entities: the things that signals, findings and alerts are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Scope = Literal["server", "gpu", "host"]

#: The values of a signal or an event field. `None` never appears here: an unknown value is absent or `Unknown`.
Value = bool | int | float | str


class Entity(NamedTuple):
    """One llama-server, one GPU (by PCI address, for example ``0000:03:00.0``), or the host.

    A server is named by its systemd unit, else its container, else ``host:port``, so that the name survives restarts; with
    ``@user`` behind it where another user's server has that address.
    A named tuple, because it is the key of the whole state: the hash of a dataclass is a call of Python code.
    """

    scope: Scope
    name: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"


HOST = Entity("host", "host")


@dataclass(frozen=True, slots=True)
class Unknown:
    """An unknown value. `why`: what was tried and what failed; `remedy`: what would provide it, if anything."""

    why: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.why}; to provide it: {self.remedy}" if self.remedy else self.why
