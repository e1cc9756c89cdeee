"""A running llama-server, as the scan found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinel.files.reader import Reader
from sentinel.gguf.header import GgufHeader
from sentinel.llama.command_line import Requested
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.sources.processes.cgroup import Membership
from sentinel.sources.processes.log_source import LogSource


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running llama-server. `start_time` is in seconds since the epoch, `ticks` the kernel's own figure (proc(5), 22)."""

    pid: int
    ticks: int
    start_time: float
    entity: Entity
    requested: Requested
    member: Membership
    log: LogSource
    model: GgufHeader | None
    parent: int
    #: identity, requested, model and log signals as in ServerFound
    values: Mapping[str, Value | Unknown] = field(default_factory=dict)
    #: opens what it names, as it could itself when it was found
    reader: Reader | None = None
    #: its files have been examined: its log and its model are known as far as they can be
    examined: bool = True

    @property
    def key(self) -> tuple[int, int]:
        """The process: its id, and its start, because ids are used again."""
        return self.pid, self.ticks

    @property
    def user(self) -> int:
        """The user that it runs as; -1 where that is not known."""
        return -1 if self.reader is None else self.reader.user

    @property
    def is_named_by_address(self) -> bool:
        """It is named by its address, not by its unit or container."""
        return self.entity.name.startswith(f"{self.values['server.host']}:{self.values['server.port']}")
