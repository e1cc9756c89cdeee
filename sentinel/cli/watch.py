"""`sentinel watch`: alerts as they happen. Waits while the daemon restarts, then shows the alerts that it missed."""

from __future__ import annotations

import argparse
import time
from typing import Any

from sentinel.api import client
from sentinel.cli.main import UNKNOWN
from sentinel.cli.output import emit_line, style, warn
from sentinel.terminal.alert import render

#: Between two tries to reconnect.
_AGAIN_SECONDS = 1.0


def main(arguments: argparse.Namespace) -> int:
    """Follow until interrupted. Exit code 3 if no daemon runs at the start."""
    sockets = [arguments.socket] if arguments.socket else None
    events = client.Stream(sockets)
    waiting, greeted = False, arguments.json
    while True:
        try:
            for name, data in events:
                if not greeted:
                    # only now is it certain that a daemon runs
                    greeted = True
                    warn("watching; end with Ctrl-C")
                if waiting:
                    waiting = False
                    warn("the daemon is back")
                _show(name, data, as_json=arguments.json)
        except client.DaemonUnreachable as error:
            if not events.last_event_id:
                warn(str(error))
                return UNKNOWN
        if not waiting:
            waiting = True
            warn("the daemon stopped; its alerts are shown when it is back")
        time.sleep(_AGAIN_SECONDS)


def _show(name: str, data: dict[str, Any], *, as_json: bool) -> None:
    if name == "gap":
        warn(f"something may be missing here: {data.get('why', '')}")
    if name != "transition":
        return
    data.pop("api_version", None)
    if as_json:
        emit_line(data)
    else:
        print(render(data, style(), time.time()), flush=True, end="" if data["state"] == "pending" else "\n")
