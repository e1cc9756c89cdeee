"""`sentinel watch`: alerts as they happen. Waits while the daemon restarts, then shows the alerts that it missed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sentinel.api import client
from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import emit_line, style, warn
from sentinel.model.text import counted
from sentinel.terminal.alert import one_line, render

if TYPE_CHECKING:
    import argparse

#: Between two tries to reconnect.
_AGAIN_SECONDS = 1.0


def main(arguments: argparse.Namespace) -> int:
    """Follow until interrupted. Exit code 3 if no daemon runs at the start."""
    sockets = [arguments.socket] if arguments.socket else None
    events = client.Stream(sockets)
    waiting, greeted = False, arguments.json
    names = _Names(sockets)
    while True:
        try:
            for name, data in events:
                if not greeted:
                    # only now is it certain that a daemon runs
                    greeted = True
                    _show_open(names)
                    warn("watching; end with Ctrl-C")
                if waiting:
                    waiting = False
                    warn("the daemon is back")
                _show(name, data, names, arguments)
        except client.DaemonUnreachable as error:
            if not events.last_event_id:
                warn(str(error))
                return UNKNOWN
        if not waiting:
            waiting = True
            warn("the daemon stopped; its alerts are shown when it is back")
        time.sleep(_AGAIN_SECONDS)


def _show_open(names: _Names) -> None:
    """What is open at the start, a line each: a screen without an alert must not stand for a machine without one."""
    alerts = names.open_alerts()
    for alert in alerts:
        print(one_line(alert, style(), time.time()))
    if alerts:
        warn(f"{counted(len(alerts), 'alert')} open before; cause and fix: sentinel alerts")


class _Names:
    """What people call servers, asked for when a name is new."""

    def __init__(self, sockets: list[str] | None) -> None:
        self._sockets = sockets
        self._known: dict[str, str] = {}

    def called(self, name: str) -> str:
        """Empty if it is not known."""
        if name not in self._known and self._status():
            self._known.setdefault(name, "")
        return self._known.get(name, "")

    def open_alerts(self) -> list[dict[str, Any]]:
        """Those that fire now; none if the daemon cannot be asked."""
        found = self._status().get("alerts", ())
        return [one | {"called": self._known.get(one["entity"]["name"], "")} for one in found if one["state"] == "firing"]

    def _status(self) -> dict[str, Any]:
        try:
            status = client.get("/v1/status", self._sockets)[1]
        except client.DaemonUnreachable:
            return {}
        self._known |= {server["name"]: server.get("called") or "" for server in status.get("servers", ())}
        return status


def _show(name: str, data: dict[str, Any], names: _Names, arguments: argparse.Namespace) -> None:
    if name == "gap":
        warn(f"something may be missing here: {data.get('why', '')}")
    if name != "transition":
        return
    data.pop("api_version", None)
    if arguments.json:
        emit_line(data)
        return
    called = names.called(data["entity"]["name"]) if data["entity"]["scope"] == "server" else ""
    text = render(data | {"called": called}, style(), time.time(), verbose=arguments.verbose)
    # What takes a line stands among others of its kind; a whole alert has room around it.
    print(text, flush=True, end="\n" if data["state"] == "firing" else "")
