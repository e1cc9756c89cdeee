"""What answers of strangers' servers may come to in the daemon: 25 of 1 MiB became 670 MB of lists, and the unit has 128."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from places import REPO

from sentinel.model.input_limits import MOST_HTTP_ANSWER, MOST_JSON_COST
from sentinel.model.json_cost import cost
from sentinel.sources.server.http import NO_ANSWER, get_all

LISTS = b"[" + b"[]," * (MOST_HTTP_ANSWER // 3 - 10) + b"[]]"


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[int]:
    """The port of a server that answers everything with this."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("unit", ["[]", "{}", '{"a":1}', "0.5", '"ab"', "123456789", '{"k":[{}]}', "[[[]]]"])
def test_a_text_comes_to_no_more_than_is_reckoned(unit: str) -> None:
    data = f"[{','.join([unit] * 50_000)}]".encode()
    tracemalloc.start()
    try:
        found = json.loads(data)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 50_000
    assert taken <= cost(data)


def test_of_many_large_answers_the_small_one_is_read() -> None:
    slots = json.dumps([{"id": number, "is_processing": False, "params": {"n": 1.5}} for number in range(4)]).encode()
    with contextlib.ExitStack() as stack:
        large = [stack.enter_context(answering(LISTS)) for _ in range(12)]
        ports = [*large, stack.enter_context(answering(slots))]
        code = (
            "import re, sys; import sentinel.sources.server.http as http; http._TIMEOUT = 30.0; "
            "found = http.get_all([('127.0.0.1', int(port), '/slots') for port in sys.argv[1:]]); "
            "print(len(found[-1][1] or ()), *re.findall('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, ports)], capture_output=True, text=True, check=True, cwd=REPO, timeout=60
        )
    slots_read, peak = map(int, re.findall(r"\d+", done.stdout))
    assert slots_read == 4
    assert peak < 60_000, "kB"


def test_one_answer_that_comes_to_too_much_is_none() -> None:
    assert cost(LISTS) > MOST_JSON_COST
    with answering(LISTS) as port:
        assert get_all([("127.0.0.1", port, "/slots")]) == [(NO_ANSWER, None)]
