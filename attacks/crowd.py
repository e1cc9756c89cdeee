"""One user among several who want the API's socket for themselves: `python -m attacks.crowd HOW SOCKET`."""

from __future__ import annotations

import select
import socket
import sys

#: Connections that one user may have, and those of who asks without a pause.
_MOST, _FEW = 16, 4
_ASK = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
_SAYS = {
    "begins": b"GET /v1/status HT",
    # Forty answers on each connection, of which none is read.
    "hoards": _ASK % b"/v1/signals" * 40,
    "asks": _ASK % b"/v1/signals",
    "follows": _ASK % b"/v1/events",
}


def _another(to: str, says: bytes) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(1)
        client.connect(to)
        client.send(says)
        client.setblocking(False)
    except OSError:
        client.close()
        return None
    return client


def main(how: str, to: str) -> None:
    """For ever: what the daemon closes comes again."""
    says, most = _SAYS[how], _FEW if how == "asks" else _MOST
    held: dict[int, socket.socket] = {}
    waiting = select.poll()
    print("at it", flush=True)
    while True:
        while len(held) < most and (made := _another(to, says)) is not None:
            held[made.fileno()] = made
            waiting.register(made, select.POLLIN if how in ("asks", "begins") else select.POLLRDHUP)
        for number, what in waiting.poll(20):
            client = held[number]
            try:
                if how == "asks" and not what & select.POLLHUP and client.recv(1 << 20):
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
    main(sys.argv[1], sys.argv[2])
