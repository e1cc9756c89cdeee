"""Stops the questions at once when somebody else wants the server: another thread looks ten times a second, and ends the question
at hand by closing its connection, upon which llama-server gives up its slot."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sentinel.model.entity import Unknown
from sentinel.model.input_limits import MOST_SLOTS_ANSWERED, MOST_SOCKET_TABLE
from sentinel.quality.http import Address, Client, Trouble
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.processes.procfs import read_stat

#: local address, remote address and state of a connection, in hexadecimal (Documentation/networking/proc_net_tcp.rst)
_ROW = re.compile(r"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+:[0-9A-F]{4}) 01 ", re.MULTILINE)
_EVERY = 0.1
#: Looks between two questions for /slots.
_SLOTS_EVERY = 5
#: Seconds for one answer to /slots: a build that answers between batches only says nothing within one.
_SLOTS_SECONDS = 1.0


class Stopped(Exception):
    """The check ends here. `end` as in `Outcome`."""

    def __init__(self, end: str, why: str) -> None:
        super().__init__(why)
        self.end = end


class GuardedClient(Client):
    """Questions that another thread can end."""

    def __init__(self, at: Address, key: str, seconds: float) -> None:
        super().__init__(at, key, seconds)
        self.stopped: Stopped | None = None
        #: ports of our own connections, the newest last
        self.own: deque[int] = deque(maxlen=64)
        self.asks = False
        self._open: socket.socket | None = None

    def stop(self, end: str, why: str) -> None:
        """From the other thread: the question at hand fails, and there is no other."""
        self.stopped = self.stopped or Stopped(end, why)
        if (there := self._open) is not None:
            with suppress(OSError):
                there.shutdown(socket.SHUT_RDWR)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.stopped is not None:
            raise self.stopped
        try:
            return super()._ask(method, path, body)
        except Trouble:
            if self.stopped is not None:
                raise self.stopped from None
            raise

    def _exchange(self, connection: socket.socket, method: str, path: str, body: bytes, until: float) -> tuple[int, bytes]:
        self.own.append(connection.getsockname()[1])
        self._open, self.asks = connection, method == "POST"
        try:
            return super()._exchange(connection, method, path, body, until)
        finally:
            self._open, self.asks = None, False


class Guard(threading.Thread):
    """`pid` and `ticks` are the server's process. `parent` is the daemon's, as the daemon says it: where that was killed while
    its child started, the child found another parent and asked to the end. `patience`: seconds that a new connection lasts before
    it counts as a request, for the daemon and others ask it short questions of their own."""

    def __init__(self, client: GuardedClient, pid: int, ticks: int, parent: int, patience: float, roots: Roots) -> None:
        super().__init__(name="guard", daemon=True)
        self._client, self._pid, self._ticks, self._patience, self._roots = client, pid, ticks, patience, roots
        self._parent = parent
        self._slots = GuardedClient(client.at, client.key, _SLOTS_SECONDS)
        self._known = self._connections()
        self._since: dict[str, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        looks = 0
        while not self.over.wait(_EVERY):
            looks += 1
            if os.getppid() != self._parent:
                self._client.stop("gone", "the daemon has ended")
            elif self._server_gone():
                self._client.stop("gone", "the server has ended")
            elif self._somebody_waits():
                self._client.stop("request", "a request came")
            elif looks % _SLOTS_EVERY == 0 and self._works():
                self._client.stop("request", "another slot works")

    def _server_gone(self) -> bool:
        stat = read_stat(self._roots, self._pid)
        return isinstance(stat, Unknown) or stat.start_ticks != self._ticks

    def _somebody_waits(self) -> bool:
        """A connection that was not there at the beginning, is not ours, and lasts."""
        now = time.monotonic()
        own = {*self._client.own, *self._slots.own}
        there = {one for one in self._connections() - self._known if int(one.rpartition(":")[2], 16) not in own}
        self._since = {one: self._since.get(one, now) for one in there}
        return any(now - since >= self._patience for since in self._since.values())

    def _connections(self) -> set[str]:
        """Remote ends of the established connections to the server's port."""
        found = set()
        for name in ("tcp", "tcp6"):
            with suppress(OSError):
                table = read_text(Path(self._roots.proc) / "self/net" / name, MOST_SOCKET_TABLE)
                found |= {remote for port, remote in _ROW.findall(table) if int(port, 16) == self._client.at.port}
        return found

    def _works(self) -> bool:
        """More slots work than our question takes. One that begins or ends meanwhile is not counted against anybody."""
        before = self._client.asks
        try:
            busy = busy_slots(self._slots)
        except (Trouble, Stopped):
            return False
        return busy > 1 or (busy == 1 and not before and not self._client.asks)


def busy_slots(client: Client) -> int:
    """How many slots work. Raises Trouble where the server does not say."""
    status, body = client.get("/slots")
    if status in (401, 403):
        raise Trouble(f"{client.at} wants an API key, or another one", "name a file with it: api_key_file in [[quality.server]]")
    if status in (404, 501):
        raise Trouble(
            f"{client.at} does not say whether a slot works (/slots is off), so it is never known to be idle",
            "start it without --no-slots, or with --slots where the build has that",
        )
    if status == 503:
        raise Trouble(f"{client.at} is not ready (status 503)", "it is asked again later")
    if status != 200 or not isinstance(body, list) or not 0 < len(body) <= MOST_SLOTS_ANSWERED:
        raise Trouble(f"what answers at {client.at} is not llama-server: its /slots has no slots", "is the port right?")
    return sum(isinstance(row, Mapping) and (row.get("is_processing") is True or row.get("state") == 1) for row in body)
