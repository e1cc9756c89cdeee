"""Asks the API of a daemon again and again until its standard input ends, and prints the longest wait and for what it was."""

from __future__ import annotations

import contextlib
import json
import select
import sys
import time
from pathlib import Path

from sentinel.api import client

_EVERY = 0.05
#: Every tenth question is this one, the most expensive.
_STATUS, _ALERTS = "/v1/status", "/v1/alerts"


def main(socket: Path) -> None:
    """Ask."""
    print("asking", flush=True)
    longest, slowest, number = 0.0, "", 0
    while not select.select([sys.stdin], [], [], _EVERY)[0]:
        number += 1
        target = _STATUS if number % 10 == 0 else _ALERTS
        begin = time.monotonic()
        with contextlib.suppress(client.DaemonUnreachable):
            client.get(target, (socket,))
        longest, slowest = max((longest, slowest), (time.monotonic() - begin, target))
    print(json.dumps([longest, slowest]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
