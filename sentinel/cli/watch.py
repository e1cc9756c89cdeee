"""`sentinel watch`: alerts as they happen."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sentinel.api import client
from sentinel.cli.main import OK, UNKNOWN
from sentinel.cli.output import emit_line, show_alert


def main(arguments: argparse.Namespace) -> int:
    """Follow until interrupted or until the daemon ends."""
    sockets = [Path(arguments.socket)] if arguments.socket else None
    try:
        if not arguments.json:
            print("watching; end with Ctrl-C", file=sys.stderr)
        for name, data in client.stream("/v1/events", sockets):
            if name != "transition":
                continue
            data.pop("api_version", None)
            if arguments.json:
                emit_line(data)
            else:
                print(show_alert(data), flush=True)
    except client.DaemonUnreachable as error:
        print(f"sentinel: {error}", file=sys.stderr)
        return UNKNOWN
    print("sentinel: the daemon has ended", file=sys.stderr)
    return OK
