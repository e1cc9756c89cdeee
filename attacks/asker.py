"""Asks the API of a daemon again and again until its standard input ends; prints the longest wait and for what it was, how often
it asked, how often in vain, and why the last time.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path

from sentinel.api import client

_EVERY = 0.05
#: Every tenth question is this one, the most expensive.
_STATUS, _ALERTS = "/v1/status", "/v1/alerts"


def main(socket: Path, user: int) -> None:
    """Ask as this user."""
    if user:
        # After the imports: the place of the programs may be root's alone.
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    print("asking", flush=True)
    longest, slowest, number, refused, why = 0.0, "", 0, 0, ""
    while not select.select([sys.stdin], [], [], _EVERY)[0]:
        number += 1
        target = _STATUS if number % 10 == 0 else _ALERTS
        begin = time.monotonic()
        try:
            code, answer = client.get(target, (socket,))
            said = "" if code == 200 else client.refusal(code, answer)
        except client.DaemonUnreachable as gone:
            said = str(gone)
        refused += bool(said)
        why = said or why
        longest, slowest = max((longest, slowest), (time.monotonic() - begin, target))
    print(json.dumps([longest, slowest, number, refused, why]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
