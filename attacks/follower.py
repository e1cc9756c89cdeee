"""Follows the events of a daemon as one user until its standard input ends; prints each transition's rule and state."""

from __future__ import annotations

import os
import sys
import threading

from sentinel.api import client


def main(socket: str, user: int) -> None:
    """A stream that ends is begun again where it ended, as `sentinel watch` does."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    threading.Thread(target=_follow, args=(socket,), daemon=True).start()
    sys.stdin.read()


def _follow(socket: str) -> None:
    last = ""
    while True:
        stream = client.Stream((socket,), last)
        try:
            for event, data in stream:
                print(event, data.get("rule"), data.get("state"), flush=True)
        except client.DaemonUnreachable as gone:
            print("gone", gone, flush=True)
        last = stream.last_event_id


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
