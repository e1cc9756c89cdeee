"""Looks at a page of `sentinel serve` as one user until its standard input ends, and follows its events beside that; prints the
longest wait, how often it asked, how often in vain and why the last time, and which alerts the stream brought.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - http.client wants it, and the place of the programs may be root's alone
import http.client
import json
import os
import select
import sys
import threading
import time

_EVERY = 0.05
_PATHS = ("/", "/v1/alerts", "/v1/summary")


def main(port: int, user: int) -> None:
    """Look as this user."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    heard: list[str] = []
    threading.Thread(target=_follow, args=(port, heard), daemon=True).start()
    print("looking", flush=True)
    longest, number, refused, why = 0.0, 0, 0, ""
    while not select.select([sys.stdin], [], [], _EVERY)[0]:
        begin = time.monotonic()
        said = _ask(port, _PATHS[number % len(_PATHS)])
        number += 1
        refused += bool(said)
        why = said or why
        longest = max(longest, time.monotonic() - begin)
    print(json.dumps([longest, number, refused, why, heard]), flush=True)


def _ask(port: int, path: str) -> str:
    """Empty, or why there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return "" if answer.status == 200 else f"{path}: {answer.status} {body[:200].decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"{path}: {type(error).__name__} {error}"
    finally:
        connection.close()


def _follow(port: int, heard: list[str]) -> None:
    """A stream that ends is begun again, as a browser does."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
        try:
            connection.request("GET", "/v1/events")
            for line in connection.getresponse():
                if line.startswith(b"data: ") and (rule := json.loads(line[6:]).get("rule")):
                    heard.append(str(rule))
        except (OSError, ValueError, http.client.HTTPException):
            time.sleep(_EVERY)
        finally:
            connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
