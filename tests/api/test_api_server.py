"""The API over a real unix socket: answers, refusals, limits, and clients that do not behave."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streams import limited

from sentinel.api import server as api_server
from sentinel.api.client import DaemonUnreachable, Stream, fetch, get, post, socket_paths
from sentinel.api.event_stream import Broadcaster
from sentinel.api.routes import ApiError, Blob, Query, Request, Text
from sentinel.api.server import ApiServer, ServerLimits
from sentinel.api.socket import MODE_SERVICE, SocketInUse, listen
from sentinel.daemon.config import default_socket


def _broken(_request: Request) -> dict[str, Any]:
    raise KeyError("a view with a mistake")


async def _slowly(request: Request) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"rule": request.params["rule"], "server": request.query.get("server"), "uid": request.uid}


def _alert(request: Request) -> dict[str, Any]:
    raise ApiError(404, f"no alert {request.params['fingerprint']}")


QUERIES: dict[tuple[str, str], Query] = {
    ("GET", "/v1/status"): lambda _request: {"version": "0.1.0"},
    ("GET", "/v1/why/{rule}"): _slowly,
    ("GET", "/v1/alerts/{fingerprint}"): _alert,
    ("GET", "/v1/broken"): _broken,
    ("GET", "/v1/large"): lambda _request: {"text": "x" * 8_000_000},
    ("GET", "/v1/recording"): lambda _request: Blob((b"a" * 200_000, b"", b"b"), "application/gzip"),
    ("GET", "/metrics"): lambda _request: Text("up 1\n"),
    ("POST", "/v1/reload"): lambda request: {"got": len(request.body)},
}

ENOUGH = ServerLimits(request_seconds=5.0, write_seconds=5.0)


class Running:
    """A server in this test's loop; `ask` uses the real client from a thread."""

    def __init__(self, path: Path, server: ApiServer, events: Broadcaster, bugs: list[BaseException]) -> None:
        self.path, self.server, self.events, self.bugs = path, server, events, bugs

    async def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        return await asyncio.to_thread(get, path, [self.path])

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 10.0)
        finally:
            writer.close()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"not within 10 s: {what}")


@asynccontextmanager
async def running(path: Path, limits: ServerLimits = ENOUGH, may_change: frozenset[int] | None = None) -> AsyncIterator[Running]:
    listener = listen(path)
    events, bugs = Broadcaster(queue=8), list[BaseException]()
    server = ApiServer(QUERIES, events, on_bug=bugs.append, limits=limits, may_change=may_change)
    await server.start(listener.socket)
    try:
        yield Running(path, server, events, bugs)
    finally:
        await server.close()
        listener.close()


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_queries_answer_with_the_api_version(sock: Path) -> None:
    """Path parts and query strings arrive decoded; sync and async queries both answer; text is left as it is."""

    async def claims() -> None:
        async with running(sock) as api:
            assert await api.ask("/v1/status") == (200, {"api_version": 1, "version": "0.1.0"})
            assert await api.ask("/v1/why/a%2Fb?server=127.0.0.1%3A8080") == (
                200,
                {"api_version": 1, "rule": "a/b", "server": "127.0.0.1:8080", "uid": os.geteuid()},
            )
            assert (await api.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).endswith(b"\r\n\r\nup 1\n")

    limited(claims)


@pytest.mark.parametrize(
    ("request_bytes", "code", "words"),
    [
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n", 404, "/v1/status"),
        (b"GET /v1/alerts/beef HTTP/1.1\r\nHost: x\r\n", 404, "no alert beef"),
        (b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n", 405, "takes GET, not DELETE"),
        (b"POST /v1/events HTTP/1.1\r\nHost: x\r\n", 405, "takes GET, not POST"),
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\n", 400, "no valid path"),
        (b"GET * HTTP/1.1\r\nHost: x\r\n", 400, "begins with /"),
        (b"GET /v1/status?%ff=1 HTTP/1.1\r\nHost: x\r\n", 400, "no valid path"),
        (b"\x16\x03\x01\x02\x00\r\n", 400, "no HTTP/1.1 request"),
        (b"GET /v1/status HTTP/1.1\r\n", 400, "no HTTP/1.1 request"),
        (b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000, 413, "larger than 65536"),
        (b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 90000 + b"\r\n", 431, "larger than 65536"),
        (b"GET /v1/broken HTTP/1.1\r\nHost: x\r\n", 500, "KeyError"),
    ],
)
def test_what_cannot_be_answered_gets_a_code_and_a_sentence(sock: Path, request_bytes: bytes, code: int, words: str) -> None:
    """Each refusal is JSON with the api_version, and the server answers the next client."""

    async def claims() -> None:
        async with running(sock) as api:
            answer = await api.raw(request_bytes + b"Connection: close\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            told = json.loads(body)
            assert int(head.split()[1]) == code
            assert told["api_version"] == 1
            assert told["error"]["code"] == code
            assert words in told["error"]["message"]
            assert len(api.bugs) == (code == 500)
            assert (await api.ask("/v1/status"))[0] == 200

    limited(claims)


def test_a_change_is_for_root_and_the_daemon_alone(sock: Path) -> None:
    """Peer credentials decide, not what the client says."""

    async def claims() -> None:
        async with running(sock) as api:
            assert await asyncio.to_thread(post, "/v1/reload", {"a": 1}, [sock]) == (200, {"api_version": 1, "got": 8})
        async with running(sock, may_change=frozenset({65533})) as api:
            code, told = await asyncio.to_thread(post, "/v1/reload", None, [sock])
            assert code == 403
            assert f"user id {os.geteuid()}" in told["error"]["message"]
            assert (await api.ask("/v1/status"))[0] == 200

    limited(claims)


def test_one_connection_serves_many_requests(sock: Path) -> None:
    """Keep-alive and pipelining work, also after a refusal that read its whole request."""

    async def claims() -> None:
        async with running(sock) as api:
            one = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
            missing = b"GET /missing HTTP/1.1\r\nHost: x\r\n\r\n"
            last = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = await api.raw(one + missing + one + last)
            assert answer.count(b"HTTP/1.1 200") == 3
            assert answer.count(b"HTTP/1.1 404") == 1

    limited(claims)


def test_an_unfinished_request_is_ended_after_its_time(sock: Path) -> None:
    """A client that sends half a request is told 408; one that sends nothing is let go."""

    async def claims() -> None:
        async with running(sock, ServerLimits(request_seconds=0.1, write_seconds=5.0)) as api:
            assert (await api.raw(b"GET /v1/sta")).startswith(b"HTTP/1.1 408")
            assert await api.raw(b"") == b""

    limited(claims)


def test_a_client_that_takes_no_answer_is_cut(sock: Path) -> None:
    """An answer of 8 MB to a client that reads none of it does not stay in memory, and others are served meanwhile."""

    async def claims() -> None:
        async with running(sock, ServerLimits(request_seconds=5.0, write_seconds=0.2)) as api:
            with socket.socket(socket.AF_UNIX) as lazy:
                lazy.connect(str(sock))
                lazy.sendall(b"GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n")
                await api.until(lambda: api.server.clients == 1, "the lazy client is accepted")
                assert (await api.ask("/v1/status"))[0] == 200
                await api.until(lambda: api.server.clients == 0, "the lazy client is cut")

    limited(claims)


def _unread(api: Running) -> int:
    return sum(place.unread for place in api.server._clients.held)


def test_who_asks_for_much_and_reads_nothing_gets_no_more(sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty clients with 8 MB each were 240 MB; the unit gives 128. Others are answered meanwhile, and he afterwards."""
    asking = [4001]
    monkeypatch.setattr("sentinel.api.server._peer", lambda _writer: (0, asking[0]))

    async def claims() -> None:
        async with running(sock, ServerLimits(request_seconds=5.0, write_seconds=1.0, waiting=10_000_000)) as api:
            lazy = []
            for _ in range(6):
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(sock))
                client.sendall(b"GET /v1/large HTTP/1.1\r\nHost: x\r\n\r\n")
                lazy.append(client)
            await api.until(lambda: _unread(api) > 10_000_000, "answers wait")
            code, told = await api.ask("/v1/status")
            assert code == 503
            assert "of user id 4001 that do not read; see who they are" in told["error"]["message"]
            assert _unread(api) < 20_000_000
            asking[0] = 4002
            assert (await api.ask("/v1/status"))[0] == 200
            await api.until(lambda: api.server.clients == 0, "the lazy clients are cut")
            asking[0] = 4001
            assert (await api.ask("/v1/status"))[0] == 200
            await api.until(lambda: not _unread(api), "nothing waits any more")
            for client in lazy:
                client.close()

    limited(claims)


def test_the_engine_has_its_turn_between_any_two_answers(sock: Path) -> None:
    """However many ask at once: an answer takes up to a fifth of a second."""

    async def claims() -> None:
        turns: list[str] = []

        async def engine() -> None:
            while True:
                turns.append("engine")
                await asyncio.sleep(0)

        def asked(_request: Request) -> dict[str, Any]:
            turns.append("answer")
            return {}

        async with running(sock) as api:
            api.server._queries[("GET", "/v1/status")] = asked
            request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n"
            at_work = asyncio.create_task(engine())
            await asyncio.gather(*(api.raw(request + b"Connection: close\r\n\r\n") for _ in range(30)))
            at_work.cancel()
        assert turns.count("answer") == 30
        assert not any(one == other == "answer" for one, other in itertools.pairwise(turns))

    limited(claims)


def test_a_large_answer_arrives_whole(sock: Path) -> None:
    """A client that reads gets all 8 MB."""

    async def claims() -> None:
        async with running(sock) as api:
            assert len((await api.ask("/v1/large"))[1]["text"]) == 8_000_000

    limited(claims)


def test_an_answer_to_head_has_the_length_and_no_body(sock: Path) -> None:
    """A body there ended in a traceback; the connection goes on with the next request."""

    async def claims() -> None:
        async with running(sock) as api:
            ask = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
            last = ask.replace(b"Host", b"Connection: close\r\nHost")
            both = await api.raw(ask.replace(b"GET", b"HEAD") + last)
            one, other = both.split(b"HTTP/1.1 200")[1:]
            head, _, body = other.partition(b"\r\n\r\n")
            assert one.endswith(b"\r\n\r\n")
            assert f"content-length: {len(body)}".encode() in one.lower()
            assert f"content-length: {len(body)}".encode() in head.lower()
            for path in (b"/nothing", b"/v1/events"):
                answer = await api.raw(last.replace(b"GET /v1/status", b"HEAD " + path))
                assert answer.startswith(b"HTTP/1.1 404")
                assert answer.endswith(b"\r\n\r\n")
            assert api.bugs == []

    limited(claims)


def test_what_cannot_be_answered_in_the_protocol_costs_one_connection(sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio logs what its callbacks raise: nothing may reach it."""

    async def claims() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        async with running(sock) as api:
            with monkeypatch.context() as patch:
                patch.setattr("h11.Connection.send", _never)
                assert await api.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n") == b""
            assert (await api.ask("/v1/status"))[0] == 200
        assert told == []

    limited(claims)


def _never(_connection: object, _event: object) -> bytes:
    raise h11.LocalProtocolError("not now")


def test_a_large_body_is_refused_when_it_is_announced(sock: Path) -> None:
    """Nothing of it was sent yet."""

    async def claims() -> None:
        async with running(sock) as api:
            answer = await api.raw(b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 413")

    limited(claims)


def test_who_follows_the_events_takes_no_room_from_requests(sock: Path) -> None:
    """Fifty idle followers of one user once made every `sentinel status` fail."""

    async def claims() -> None:
        limits = ServerLimits(request_seconds=30.0, clients=2, streams=8, own=4)
        async with running(sock, limits, frozenset({65533})) as api:
            following = []
            for _ in range(4):
                reader, writer = await asyncio.open_unix_connection(str(sock))
                writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"hello")
                following.append(writer)
            assert api.server.clients == 4
            refused = await api.raw(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"at most 4 of one user: end a `sentinel watch`" in refused
            with pytest.raises(DaemonUnreachable, match="end a `sentinel watch`"):
                await asyncio.to_thread(lambda: next(iter(Stream([sock]))))
            assert (await api.ask("/v1/status"))[0] == 200
            for writer in following:
                writer.close()
            await api.until(lambda: api.server.clients == 0, "all have left")

    limited(claims)


def test_every_socket_that_was_tried_is_named(tmp_path: Path) -> None:
    """Only the last one was, which is not the one that somebody without a service thinks of."""
    tried = [tmp_path / "own.sock", tmp_path / "service.sock"]
    with pytest.raises(DaemonUnreachable, match=f"no daemon at {tried[0]} or {tried[1]}; start it"):
        get("/v1/status", tried)


def test_too_many_clients_get_a_sentence_that_says_so(sock: Path) -> None:
    """Beyond the limit the answer is 503; root and the daemon's user find four places more."""

    async def claims() -> None:
        limits = ServerLimits(request_seconds=30.0, clients=2)
        for may_change, room in ((frozenset({65533}), 2), (frozenset({os.geteuid()}), 6)):
            async with running(sock, limits, may_change) as api:
                idle = [await asyncio.open_unix_connection(str(sock)) for _ in range(room)]
                await api.until(lambda room=room: api.server.clients == room, "all are accepted")  # type: ignore[misc]
                assert (await api.ask("/v1/status"))[0] == 503
                idle.pop()[1].close()
                await api.until(lambda room=room: api.server.clients == room - 1, "one has left")  # type: ignore[misc]
                assert (await api.ask("/v1/status"))[0] == 200
                for _, writer in idle:
                    writer.close()

    limited(claims)


def test_the_half_open_connections_of_one_user_are_his_own_share(sock: Path) -> None:
    """Beyond it he is refused at once, and the rest of the room stays for others."""

    async def claims() -> None:
        limits = ServerLimits(request_seconds=30.0, clients=32, share=3)
        async with running(sock, limits, frozenset({65533})) as api:
            idle = [await asyncio.open_unix_connection(str(sock)) for _ in range(3)]
            await api.until(lambda: api.server.clients == 3, "all are accepted")
            code, body = await api.ask("/v1/status")
            assert code == 503
            assert f"user id {os.geteuid()} has 3 connections" in str(body)
            idle.pop()[1].close()
            await api.until(lambda: api.server.clients == 2, "one has left")
            assert (await api.ask("/v1/status"))[0] == 200
            for _, writer in idle:
                writer.close()

    limited(claims)


#: What a client of a stranger does, and with which of his user ids: his own and those of a user namespace (subuid(5)).
_STRANGERS = st.tuples(st.sampled_from(["connects", "begins a request", "leaves"]), st.sampled_from([165_536, 165_537, 231_071]))


@settings(max_examples=examples(20), deadline=None)
@given(flood=st.lists(_STRANGERS, max_size=70))
@example(flood=[("connects", 165_536)] * 60)
@example(flood=[("connects", 165_536 + number) for number in range(60)])
def test_whatever_a_stranger_opens_another_user_is_answered(flood: list[tuple[str, int]]) -> None:
    """Refused ones counted, so that he who came again and again shut out all others; each of his user ids had a share."""
    peers: list[int] = []

    async def claims() -> None:
        limits = ServerLimits(request_seconds=30.0)
        async with running(Path(folder) / "s", limits, frozenset({65533})) as api:
            held = []
            for what, uid in flood:
                peers.append(uid)
                _, writer = await asyncio.open_unix_connection(str(api.path))
                held.append(writer)
                if what == "begins a request":
                    writer.write(b"GET /v1/sta")
                if what == "leaves":
                    held.pop(0).close()
            peers.append(1002)
            answer = await api.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            assert api.server.clients <= limits.share + 1
            assert not api.bugs
            for writer in held:
                writer.close()

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_server, "_peer", lambda _writer: (1, peers.pop(0)))
        limited(claims)


def test_events_reach_every_client_in_order(sock: Path) -> None:
    """The stream says hello, then each publication; it ends when the daemon stops."""

    async def claims() -> None:
        async with running(sock) as api:
            streams = [asyncio.create_task(asyncio.to_thread(lambda: list(Stream([sock])))) for _ in range(2)]
            await api.until(lambda: len(api.events) == 2, "both listen")
            for number in range(5):
                api.events.publish("transition", {"summary": f"a\nb {number}"}, number)
            await api.until(api.events.idle, "all is sent")
            api.events.close()
            for got in await asyncio.gather(*streams):
                assert got[0] == ("hello", {"api_version": 1})
                assert [data["summary"] for _, data in got[1:]] == [f"a\nb {number}" for number in range(5)]

    limited(claims)


def test_a_listener_that_never_reads_is_dropped(sock: Path) -> None:
    """Its queue is bounded; a listener that reads loses nothing meanwhile."""

    async def claims() -> None:
        async with running(sock, ServerLimits(write_seconds=0.2)) as api:
            with socket.socket(socket.AF_UNIX) as deaf:
                deaf.connect(str(sock))
                deaf.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
                await api.until(lambda: len(api.events) == 1, "it listens")
                for number in range(40):
                    api.events.publish("transition", {"text": "x" * 100_000}, number)
                    await asyncio.sleep(0)
                await api.until(lambda: len(api.events) == 0 and api.server.clients == 0, "it is dropped")

    limited(claims)


def test_a_listener_that_leaves_is_forgotten(sock: Path) -> None:
    """No publication is needed to notice."""

    async def claims() -> None:
        async with running(sock) as api:
            _, writer = await asyncio.open_unix_connection(str(sock))
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await api.until(lambda: len(api.events) == 1, "it listens")
            writer.close()
            await api.until(lambda: len(api.events) == 0 and api.server.clients == 0, "it is forgotten")

    limited(claims)


def test_curl_can_ask(sock: Path) -> None:
    """The sentence in the documentation works as it stands."""

    async def claims() -> None:
        async with running(sock):
            command = ["curl", "-sS", "--unix-socket", str(sock), "http://localhost/v1/status"]
            try:
                done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20)
            except FileNotFoundError:
                pytest.skip("needs curl")
            assert (done.stdout, done.stderr) == ('{"api_version": 1, "version": "0.1.0"}\n', "")

    limited(claims)


def test_the_socket_of_a_dead_daemon_is_replaced(sock: Path) -> None:
    """kill -9 leaves the file; the next daemon takes its place, with the mode it asked for."""
    program = (
        "import sys, pathlib; from sentinel.api.socket import listen\n"
        "l = listen(pathlib.Path(sys.argv[1])); print('up', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(sock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    with pytest.raises(SocketInUse, match="another sentinel already answers"):
        listen(sock)
    process.kill()
    process.communicate()
    assert sock.exists()
    with pytest.raises(DaemonUnreachable, match=r"is gone; start it again"):
        get("/v1/status", [sock])

    listener = listen(sock, MODE_SERVICE)
    assert stat.S_IMODE(sock.stat().st_mode) == 0o660
    listener.close()
    assert not sock.exists()


def test_the_file_of_a_socket_that_systemd_made_outlives_the_server(sock: Path) -> None:
    """systemd goes on listening on it; Python 3.13 would have removed it."""

    async def test() -> None:
        with socket.socket(socket.AF_UNIX) as passed:
            passed.bind(str(sock))
            passed.listen()
            server = ApiServer(QUERIES, Broadcaster(), on_bug=lambda _error: None)
            await server.start(passed.dup())
            await server.close()
            assert sock.exists()

    limited(test)


def test_a_place_that_cannot_be_listened_on_is_reported(tmp_path: Path) -> None:
    """A file in the way is not deleted, and a long path names the limit."""
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(SocketInUse, match="is no socket"):
        listen(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "keep me"
    with pytest.raises(SocketInUse, match="longer than 107 bytes"):
        listen(tmp_path / ("x" * 200))
    with pytest.raises(FileExistsError):
        listen(tmp_path / "file" / "s")


@pytest.fixture
def not_sentinel(sock: Path) -> Iterator[Path]:
    """A socket on which something else answers one connection."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(sock))
    server.listen()

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"SSH-2.0-OpenSSH\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield sock
    thread.join()
    server.close()


def test_the_client_says_what_to_do(tmp_path: Path, not_sentinel: Path) -> None:
    """No daemon, no permission and a stranger's socket are told apart."""
    with pytest.raises(DaemonUnreachable, match=r"start it with `sentinel run` or `systemctl start sentinel`"):
        get("/v1/status", [tmp_path / "none"])
    with pytest.raises(DaemonUnreachable, match="is not sentinel"):
        get("/v1/status", [tmp_path / "none", not_sentinel])


def test_where_the_client_looks(tmp_path: Path) -> None:
    """The variable wins; a user's own daemon comes before the service, if its socket is there."""
    own = tmp_path / "sentinel" / "sentinel.sock"
    service = "/run/sentinel/sentinel.sock"

    assert socket_paths({"SENTINEL_SOCKET": "/x", "XDG_RUNTIME_DIR": str(tmp_path)}) == ("/x",)
    assert socket_paths({"XDG_RUNTIME_DIR": str(tmp_path)}) == (service,)
    own.parent.mkdir()
    own.touch()
    assert socket_paths({"XDG_RUNTIME_DIR": str(tmp_path)}) == (str(own), service)


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"])
def test_a_command_looks_where_a_users_own_daemon_listens(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {variable: str(tmp_path)}
    socket_path = default_socket(environ)
    socket_path.parent.mkdir(parents=True)
    socket_path.touch()
    assert socket_paths(environ)[0] == str(socket_path)


def test_an_answer_of_bytes_comes_in_pieces_and_whole(tmp_path: Path) -> None:
    async def claims() -> None:
        async with running(tmp_path / "s") as api:
            pieces: list[bytes] = []
            status, answer = await asyncio.to_thread(fetch, "/v1/recording", pieces.append, [api.path])
            assert (status, answer) == (200, {})
            assert b"".join(pieces) == b"a" * 200_000 + b"b"
            assert max(map(len, pieces)) <= 65_536

            status, answer = await asyncio.to_thread(fetch, "/v1/nothing", pieces.append, [api.path])
            assert status == 404
            assert "no such path" in answer["error"]["message"]

    asyncio.run(claims())


def test_an_answer_of_bytes_that_breaks_off_is_no_answer(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def half() -> None:
        client, _ = listener.accept()
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        client.close()

    thread = threading.Thread(target=half)
    thread.start()
    with pytest.raises(DaemonUnreachable):
        fetch("/v1/recording", lambda _piece: None, [tmp_path / "s"])
    thread.join()
    listener.close()
