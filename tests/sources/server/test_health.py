"""Asking a llama-server over HTTP: what its answers mean, and what is never asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sockets import kernel

from sentinel.llama.command_line import decode
from sentinel.model.entity import Entity
from sentinel.model.reading import Samples
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import parse
from sentinel.sources.processes.log_source import LogSource
from sentinel.sources.processes.server_process import ServerProcess
from sentinel.sources.server import http
from sentinel.sources.server.health import LlamaHttp, context_of, loopback, state_of
from sentinel.sources.server.http import get, get_all

LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
#: file, context of a slot and slots, as the folder's PROVENANCE and the command lines have it
RECORDED = {
    ("b395x-default.props.json", 512, 1),
    ("b617x-default.props.json", 512, 1),
    ("b10434-default.props.json", 512, 4),
    ("b10434-lv4.props.json", 2048, 2),
    ("b11434-default.props.json", 512, 4),
    ("b11434-lv4.props.json", 512, 1),
}


@contextmanager
def answering(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[int, list[str]]]:
    """A stand-in that gives llama-server's recorded answers; its port, and the paths that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


def process(port: int | None, host: str = "127.0.0.1", pid: int = os.getpid()) -> ServerProcess:
    requested = decode(["llama-server", "--host", host, *([] if port is None else ["--port", str(port)])], {})
    log = LogSource("none", "standard error is a terminal", why="it cannot be read")
    return ServerProcess(pid, 1, 1.0, Entity("server", "x"), requested, parse(""), log, None, 1, requested.signals())


def test_answers_of_every_recorded_era(corpus: Path) -> None:
    files = sorted((corpus / "logs").glob("*.health.json"))
    assert files
    assert {state_of((200, json.loads(f.read_text()))) for f in files} == {"ready"}
    for file in sorted((corpus / "logs").glob("*.props.json")):
        told = context_of((200, json.loads(file.read_text())))
        assert (file.name, told["server.ctx_per_slot"], told["server.slots"]) in RECORDED


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, {"status": "ok"}, "ready"),
        (503, LOADING, "loading"),
        (200, {}, ""),
        (500, LOADING, ""),
        (200, [], ""),
        (0, None, ""),
    ],
)
def test_only_llama_servers_own_words_count(status: int, body: object, state: str) -> None:
    assert state_of((status, body)) == state


@pytest.mark.parametrize(
    "body", [{}, {"default_generation_settings": {"n_ctx": "512"}}, {"total_slots": True}, {"total_slots": -1}, []]
)
def test_a_context_that_makes_no_sense_is_not_believed(body: object) -> None:
    assert context_of((200, body)) == {}


def test_a_hidden_server_is_asked_until_ready_and_then_seldom() -> None:
    props = json.dumps({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 2}).encode()
    answers = {"/health": (503, json.dumps(LOADING).encode()), "/props": (200, props)}
    with answering(answers) as (port, asked):
        source = LlamaHttp(lambda: [process(port)], lambda _server: True)
        (first,) = source.poll(10.0)
        assert isinstance(first, Samples)
        assert first.values == {"server.state": "loading"}
        assert source.poll(11.0) == []
        answers["/health"] = (200, b'{"status":"ok"}')
        (second,) = source.poll(12.0)
        assert isinstance(second, Samples)
        assert second.values == {"server.state": "ready", "server.ctx_per_slot": 4096, "server.slots": 2}
        assert source.poll(30.0) == []
        assert len(source.poll(42.0)) == 1
        assert asked == ["/health", "/health", "/props", "/health"]


def test_a_server_whose_log_is_read_is_never_asked() -> None:
    with answering({"/health": (200, b'{"status":"ok"}')}) as (port, asked):
        assert LlamaHttp(lambda: [process(port)], lambda _server: False).poll(10.0) == []
        assert asked == []


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "192.168.1.5", "/tmp/x.sock", "127.0.0.1.example.org"])
def test_no_address_but_the_loopback_is_ever_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[int, Any]:
        raise AssertionError("asked")

    monkeypatch.setattr("sentinel.sources.server.http._Exchange", refuse)
    assert LlamaHttp(lambda: [process(8080, host)], lambda _server: True).poll(10.0) == []


@pytest.mark.parametrize(
    ("asked", "listens", "address"),
    [
        (None, [8080], ("127.0.0.1", 8080)),
        (None, [9931], ("127.0.0.1", 9931)),  # the default that b11434 announces
        (None, [], None),  # whoever answers at the default port before that is another server
        (9000, [], ("127.0.0.1", 9000)),
    ],
)
def test_a_port_that_nobody_gave_is_the_one_it_listens_on(
    asked: int | None, listens: list[int], address: tuple[str, int] | None, tmp_path: Path
) -> None:
    assert loopback(process(asked, pid=7), kernel(tmp_path, listens)) == address


def test_the_default_port_is_asked_where_the_sockets_of_a_process_cannot_be_read(tmp_path: Path) -> None:
    assert loopback(process(None, pid=7), closed(tmp_path, same=True)) == ("127.0.0.1", 8080)


def closed(folder: Path, *, same: bool) -> Roots:
    """Another user's process: neither its namespaces nor its descriptors can be read; net/dev can, by everybody."""
    for of in ("self", "7"):
        (folder / of / "net").mkdir(parents=True)
    (folder / "self/net/dev").touch()
    if same:
        (folder / "7/net/dev").hardlink_to(folder / "self/net/dev")
    else:
        (folder / "7/net/dev").touch()
    return Roots(proc=folder)


@pytest.mark.parametrize("port", [None, 19170])
def test_another_users_server_in_another_network_is_not_asked_either(port: int | None, tmp_path: Path) -> None:
    assert loopback(process(port, pid=7), closed(tmp_path, same=False)) is None


def test_a_server_of_which_nothing_is_known_is_not_asked(tmp_path: Path) -> None:
    assert loopback(process(19170, pid=7), Roots(proc=tmp_path)) is None


def test_a_server_in_another_network_namespace_is_not_asked_here(tmp_path: Path) -> None:
    """A container's server on 19170 was judged by what the host's server on that port answered."""
    assert loopback(process(19170, pid=7), kernel(tmp_path, [19170], "net:[4026532]")) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"x" * (2 << 20)])
def test_what_is_no_answer_teaches_nothing(body: bytes) -> None:
    with answering({"/health": (200, body)}) as (port, _):
        assert get("127.0.0.1", port, "/health") == (0, None)


def test_nobody_there() -> None:
    with answering({}) as (port, _):
        pass
    assert get("127.0.0.1", port, "/health") == (0, None)


def test_who_sends_a_byte_at_a_time_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of the whole answer: each byte alone would be in time."""
    monkeypatch.setattr(http, "_TIMEOUT", 0.3)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not ended.wait(0.02):
                client.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            assert get("127.0.0.1", listener.getsockname()[1], "/health") == (http.TIMED_OUT, None)
        finally:
            ended.set()
            thread.join()


def test_a_server_on_the_other_loopback_is_named_as_http_wants_it() -> None:
    """An address with colons stands in brackets; a server that checks the name would refuse it otherwise."""
    told: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            told.append(client.recv(4096))
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no ::1 here: {error}")
    with listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        assert get("::1", port, "/health") == (200, {})
        thread.join()
    assert f"host: [::1]:{port}\r\n".encode() in told[0].lower()


def test_those_that_do_not_answer_keep_nobody_waiting_and_are_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_TIMEOUT", 0.3)
    monkeypatch.setattr("sentinel.sources.server.health.shares_network", lambda *_: True)
    with (
        contextlib.ExitStack() as silent,
        answering({"/health": (200, b'{"status":"ok"}'), "/props": (200, b"{}")}) as (port, _),
    ):
        ports = [silent.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(30)]
        servers = [replace(process(one), pid=pid, entity=Entity("server", str(pid))) for pid, one in enumerate([*ports, port])]
        source = LlamaHttp(lambda: servers, lambda _server: True)
        begun = time.monotonic()
        (well,) = source.poll(0.0)
        assert time.monotonic() - begun < 2
        assert isinstance(well, Samples)
        assert (well.entity.name, well.values["server.state"]) == ("30", "ready")
        asked: list[float] = []
        ask = get_all

        def noted(targets: list[tuple[str, int, str]]) -> list[tuple[int, Any]]:
            asked.extend(now for _, one, _ in targets if one == ports[0])
            return ask([target for target in targets if target[1] != ports[0]]) + [(-1, None)] * sum(
                target[1] == ports[0] for target in targets
            )

        servers[:] = servers[:1]
        monkeypatch.setattr("sentinel.sources.server.health.get_all", noted)
        for now in range(2, 400, 2):
            source.poll(float(now))
        assert len(asked) < 12
        assert max(later - earlier for earlier, later in pairwise(asked)) <= 62


def test_an_address_that_many_claim_is_asked_once() -> None:
    with answering({"/health": (200, b"{}")}) as (port, asked):
        assert get_all([("127.0.0.1", port, "/health")] * 20) == [(200, {})] * 20
        assert asked == ["/health"]
