"""Runs inside the booted system: asks the daemon again and again, as many short clients do, until a file tells it to stop."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

SOCKET = "/run/sentinel/sentinel.sock"
ASK = b"GET /v1/rules HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def ask() -> str:
    """What became of one client."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30.0)
        try:
            client.connect(SOCKET)
        except OSError as error:
            return f"refused: {error.strerror}"
        try:
            client.sendall(ASK)
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        except OSError as error:
            return f"cut: {error.strerror}"
    return "answered" if b" 200 " in answer[:20] else "cut: no answer"


def main(stop: Path) -> None:
    """Ten clients a second; prints how many had which fate, and how long the slowest waited in seconds."""
    fates: dict[str, int] = {}
    slowest = 0.0
    while not stop.exists():
        begun = time.monotonic()
        fate = ask()
        slowest = max(slowest, time.monotonic() - begun)
        fates[fate] = fates.get(fate, 0) + 1
        time.sleep(0.1)
    print(json.dumps({"fates": fates, "slowest": slowest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
