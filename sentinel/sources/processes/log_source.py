"""The log of a server as it was found: a file, a journal, a stream, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinel.model.entity import Value
from sentinel.model.text import clean

#: the remedy that makes any log readable
CURE = "start llama-server with --log-file FILE, or as a systemd service"
Format = Literal["plain", "docker-json", "docker-local"]


@dataclass(frozen=True, slots=True)
class LogSource:
    """A log to read, or why there is none.

    `kind` ``file``: follow `path` (as sentinel can open it; it may hold surrogate escapes). ``journal``: follow the entries
    that have every field of `match`. ``http``: llama-swap on this loopback `port` streams it. ``none``: `why` is the obstacle,
    `remedy` the fix.
    """

    kind: Literal["file", "journal", "http", "none"]
    where: str
    path: str = ""
    #: ``docker-json``: each line of the file is a JSON object with the text under ``log``; ``docker-local``: moby's own frames
    format: Format = "plain"
    match: tuple[tuple[str, str], ...] = ()
    why: str = ""
    remedy: str = ""
    #: the process that writes it, if that is not the server; -1: a container's engine, which the system runs
    writer: int = 0
    #: whose program that was when the log was found; -1: not known
    writer_user: int = -1
    #: another program is taken to copy the lines there: only a line of llama-server proves it
    copied: bool = False
    port: int = 0
    #: who reads what is printed is known, and has opened no file yet
    unopened: bool = False

    def signals(self) -> dict[str, Value]:
        """``server.log_readable``: true for a known file; whether it opens is seen later. Absent for a journal: only
        the entries that arrive prove that this server logs there and that they may be read.
        """
        where = self.where if self.kind != "none" else f"{self.where}: {self.why}" + (f": {self.remedy}" if self.remedy else "")
        values: dict[str, Value] = {"server.log_where": clean(where)}
        if self.kind == "none" or (self.kind == "file" and not self.copied):
            values["server.log_readable"] = self.kind == "file"
        return values
