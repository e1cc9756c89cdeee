"""Reads the daemon's stream of alerts, in a thread of its own, and goes on where it stopped."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

from sentinel.api import client
from sentinel.model.fault import Fault
from sentinel.model.json_form import iso

#: Between two tries to reconnect. Seconds.
_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A transition, and the place in the stream behind it."""

    cursor: str
    alert: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open: at the first start, for a channel that is new (`cursor` empty then), and after a gap (`gap` says why)."""

    cursor: str
    at: str
    alerts: list[dict[str, Any]]
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """The daemon answers."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon does not answer, or ended the stream."""

    why: str


StreamWord = Heard | Standing | Connected | Lost


def open_alerts(sockets: list[str] | None) -> list[dict[str, Any]]:
    """What fires, by the daemon. Raises Fault."""
    status, answer = client.get("/v1/alerts", sockets)
    alerts = answer.get("alerts")
    if status != 200 or not isinstance(alerts, list):
        raise Fault(f"the daemon answered {status} to /v1/alerts")
    return alerts


class StreamFollower(threading.Thread):
    """Puts what it hears into the inbox, which may be full: then it waits, and the daemon keeps what follows."""

    def __init__(self, sockets: list[str] | None, cursor: str, inbox: queue.Queue[Any], *, list_first: bool) -> None:
        super().__init__(name="follow", daemon=True)
        self._sockets = sockets
        self._stream = client.Stream(sockets, cursor)
        self._inbox = inbox
        #: why the open alerts are to be listed; None: they need not be
        self._list_for: str | None = "" if list_first else None
        self._called: dict[str, str] = {}

    def run(self) -> None:
        """For ever."""
        while True:
            why = "the daemon ended the stream"
            try:
                for name, data in self._stream:
                    self._take(name, data)
            except Fault as error:
                why = str(error)
            except Exception as error:
                # Nothing else hears the daemon: a thread that ended would be silence. The stream goes on behind that word.
                why = f"what it says is not understood ({type(error).__name__})"
            self._inbox.put(Lost(why))
            time.sleep(_AGAIN)

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name == "hello":
            self._inbox.put(Connected())
            self._list()
        elif name == "gap":
            # Kept until the list has come: the daemon reports a gap once.
            self._list_for = str(data.get("why", "something is missing"))
            self._list()
        elif name == "transition":
            data.pop("api_version", None)
            if data["entity"]["scope"] == "server":
                data["called"] = self._people_call(data["entity"]["name"])
            self._inbox.put(Heard(self._stream.last_event_id, data))

    def _list(self) -> None:
        if self._list_for is None:
            return
        alerts = open_alerts(self._sockets)
        # After the answer: what it holds happened before.
        self._inbox.put(Standing(self._stream.last_event_id, iso(time.time()) or "", alerts, self._list_for))
        self._list_for = None

    def _people_call(self, name: str) -> str:
        """What people call a server, asked for when a name is new; empty if it is not known."""
        if name not in self._called:
            try:
                servers = client.get("/v1/status", self._sockets)[1].get("servers", ())
            except Fault:
                return ""
            known = {server["name"]: server.get("called") or "" for server in servers}
            self._called = {**dict(list(self._called.items())[-1000:]), **known}
            self._called.setdefault(name, "")
        return self._called[name]
