"""One user among several who want the API's socket, or a page's port, for themselves: `crowd.py HOW SOCKET-OR-PORT [MOST]`."""

from __future__ import annotations

import select
import socket
import sys

#: Connections that one user may have, and those of who asks without a pause.
_MOST, _FEW = 16, 4
_ASK = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
_SAYS = {
    "begins": b"GET /v1/status HT",
    # Forty answers on each connection, of which none is read.
    "hoards": _ASK % b"/v1/signals" * 40,
    "asks": _ASK % b"/v1/signals",
    "follows": _ASK % b"/v1/events",
    "views": _ASK % b"/report?since=7d",
}


def _another(to: str, says: bytes) -> socket.socket | None:
    port = int(to) if to.isdecimal() else 0
    client = socket.socket(socket.AF_INET if port else socket.AF_UNIX)
    try:
        client.settimeout(1)
        client.connect(("127.0.0.1", port) if port else to)
        client.send(says)
        client.setblocking(False)
    except OSError:
        client.close()
        return None
    return client


def main(how: str, to: str, most: int = 0) -> None:
    """For ever: what the daemon closes comes again."""
    says, most = _SAYS[how], most or (_FEW if how == "asks" else _MOST)
    held: dict[int, socket.socket] = {}
    waiting = select.poll()
    print("at it", flush=True)
    while True:
        while len(held) < most and (made := _another(to, says)) is not None:
            held[made.fileno()] = made
            waiting.register(made, select.POLLIN if how in ("asks", "views", "begins") else select.POLLRDHUP)
        for number, what in waiting.poll(20):
            client = held[number]
            try:
                if how in ("asks", "views") and not what & select.POLLHUP and client.recv(1 << 20):
                    client.send(says)
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            waiting.unregister(number)
            del held[number]
            client.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
