"""`sentinel serve` as people run it: a real program, real connections, a daemon that says what the test wants."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

for _library in ("starlette", "uvicorn", "bcrypt", "yaml"):
    pytest.importorskip(_library)

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from live import REPO, wait_for  # noqa: E402
from said_daemon import SaidDaemon  # noqa: E402
from sample_answers import STATES  # noqa: E402
from serving import Answer, Serving  # noqa: E402

PATHS = (
    "/",
    "/live.css",
    "/live.js",
    "/report",
    "/metrics",
    "/v1/summary",
    "/v1/status",
    "/v1/alerts",
    "/v1/history",
    "/v1/series",
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaidDaemon]:
    made = SaidDaemon(tmp_path_factory.mktemp("daemon") / "s", STATES["three-alerts"])
    made.begin()
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(daemon: SaidDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    made = Serving(tmp_path_factory.mktemp("site"), daemon.socket)
    yield made
    assert made.end() == 0
    assert "Traceback" not in made.said()


def message(answer: Answer) -> str:
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_under_a_policy_and_sets_no_cookie(site: Serving, path: str) -> None:
    answer = site.get(path)

    assert answer.code == 200
    assert answer.body
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
    assert not {"set-cookie", "access-control-allow-origin", "server"} & answer.headers.keys()


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_without_a_body(site: Serving, path: str) -> None:
    answer = site.get(path, method="HEAD", more="Connection: close\r\n")
    assert (answer.code, answer.body) == (200, b"")


def test_the_daemons_answers_come_as_they_are(site: Serving, daemon: SaidDaemon) -> None:
    assert site.get("/v1/status").json()["servers"] == json.loads(json.dumps(daemon.status["servers"]))
    assert site.get("/metrics").body == b"sentinel_alerts 1\n"
    assert site.get("/metrics").headers["content-type"].startswith("text/plain")
    refused = site.get("/v1/series?entity=nobody")
    assert (refused.code, message(refused)) == (404, "there are no series of that")


def test_many_readers_cost_the_daemon_one_question_a_second(site: Serving, daemon: SaidDaemon) -> None:
    daemon.asked.clear()
    begun = time.monotonic()
    for _ in range(40):
        assert site.get("/").code == 200
    assert daemon.asked.get("status", 0) <= 2 + (time.monotonic() - begun)


def test_a_page_that_stayed_the_same_is_not_sent_again(site: Serving) -> None:
    first = site.get("/live.js")
    again = site.get("/live.js", more=f"If-None-Match: {first.headers['etag']}\r\nConnection: close\r\n")
    assert (again.code, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 200), ("LOCALHOST:8477", 200), ("127.0.0.1", 200), ("127.0.0.1:1", 200), ("[::1]:8477", 200),
        ("192.168.1.7:8477", 200), ("localhost.", 200), (os.uname().nodename, 200),
        ("evil.example", 421), ("evil.example:8477", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421),
        ("", 421), ("[", 421), ("a b", 421), ("localhost@evil.example", 421), ("2130706433", 421), ("0x7f.1", 421),
    ],
)  # fmt: skip
def test_a_page_of_another_name_reads_nothing_here(site: Serving, host: str, code: int) -> None:
    """DNS rebinding: a name of somebody else leads to this machine after a while, and his page may then read what it answers."""
    for path in ("/", "/v1/status", "/v1/events" if code != 200 else "/metrics"):
        assert site.get(path, host=host).code == code


def test_who_is_refused_for_a_name_learns_how_to_allow_it(site: Serving) -> None:
    assert message(site.get("/", host="gpu.lan")) == (
        "'gpu.lan' is no name of this machine; if it is one, start `sentinel serve` with --name gpu.lan"
    )


def test_a_request_without_a_host_or_with_two_is_refused(site: Serving) -> None:
    assert site.raw(b"GET / HTTP/1.1\r\n\r\n").code == 400
    assert site.raw(b"GET / HTTP/1.0\r\n\r\n").code == 421
    assert site.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").code == 400
    assert site.raw(b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n").code in (400, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_nothing_can_be_changed(site: Serving, method: str) -> None:
    answer = site.get("/v1/status" if method != "CONNECT" else "localhost:1", method=method)
    assert answer.code in (400, 405)
    assert answer.code == 400 or answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("more", ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_body_is_refused_before_it_comes(site: Serving, more: str) -> None:
    answer = site.get("/v1/status", more=more)
    assert (answer.code, answer.headers["connection"]) == (413, "close")


def test_a_head_that_is_too_large_is_refused(site: Serving) -> None:
    for head in (f"GET /{'x' * 20_000} HTTP/1.1\r\n", f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 20_000}\r\n\r\n"):
        assert site.raw(head.encode()).code in (400, 431)
    assert site.get("/").code == 200


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/nothing", 404, "there is no such path; / is the page"),
        ("/v1/why/cpu-fallback", 404, "there is no such path; / is the page"),
        ("/v1/status/", 404, "there is no such path; / is the page"),
        ("//evil.example/", 404, "there is no such path; / is the page"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "there is no such path; / is the page"),
        ("/?since=2h", 400, "since is '2h'; write 1h, 24h, 7d"),
        ("/?sense=1h", 400, "/ has no field 'sense'; it has of, since"),
        ("/v1/summary?x=1", 400, "/v1/summary has no field 'x'; it has none"),
        ("/?" + "&".join(f"a{n}=1" for n in range(300)), 400, "the query string cannot be read (Max number of fields exceeded)"),
    ],
)
def test_what_is_not_there_is_one_sentence(site: Serving, path: str, code: int, said: str) -> None:
    answer = site.get(path)
    assert (answer.code, message(answer)) == (code, said)


_TARGET = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60)
_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)


@given(target=_TARGET, value=_VALUE, path=st.sampled_from(PATHS), joint=st.sampled_from(["", "?", "/", "?of=", "?since=", "#"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_target_and_no_header_is_a_fault_of_ours(site: Serving, target: str, value: str, path: str, joint: str) -> None:
    """Anything is answered, with no code 500; what is refused is refused in JSON."""
    head = f"GET {path}{joint}{target} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {value}\r\nAuthorization: {value}\r\n\r\n"
    answer = site.raw(head.encode("latin-1"))

    assert answer.code in (200, 400, 404)
    if answer.code != 200 and answer.headers["content-type"] == "application/json":
        assert message(answer)


def test_the_events_are_passed_on_and_go_on_where_a_client_was(site: Serving, daemon: SaidDaemon) -> None:
    with site.connect() as client:
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = b""
        while b"event: hello" not in seen:
            seen += client.recv(4096)
        assert b"text/event-stream" in seen
        daemon.publish({"rule": "cpu-fallback"}, 7)
        while b'"cpu-fallback"' not in seen:
            part = client.recv(4096)
            assert part
            seen += part
        assert b"id: 0-7\nevent: transition\n" in seen
    wait_for(lambda: daemon.streams == 0, "the daemon's stream ends with the client", 20)


def test_so_many_streams_and_no_more(site: Serving, daemon: SaidDaemon) -> None:
    clients = [site.connect() for _ in range(12)]
    for client in clients:
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
    refused = site.get("/v1/events")
    assert (refused.code, message(refused)) == (503, "12 pages follow the events, and no more may")
    assert site.get("/").code == 200
    for client in clients:
        client.close()
    wait_for(lambda: daemon.streams == 0, "all of them end", 20)
    assert site.get("/v1/events", method="HEAD", more="Connection: close\r\n").code == 200


def _of_another_user(site: Serving, user: int) -> socket.socket:
    client = socket.socket()
    client.settimeout(20)
    # Whose a socket is stands with it, not with the process.
    os.fchown(client.fileno(), user, user)
    client.connect(("127.0.0.1", site.port))
    return client


@pytest.mark.root
def test_a_user_who_holds_every_connection_and_stream_gives_them_up_for_another(site: Serving, daemon: SaidDaemon) -> None:
    """One local user kept all others from the page: 128 connections and twelve streams are all that there are."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    follows = [_of_another_user(site, 61802) for _ in range(12)]
    for client in follows:
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
    holds = [_of_another_user(site, 61802) for _ in range(116)]
    beyond = _of_another_user(site, 61802)
    assert beyond.recv(1) == b"", "a user has no more than all"

    assert site.get("/v1/summary").code == 200
    assert site.get("/").code == 200
    with site.connect() as mine:
        mine.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = b""
        while b"event: hello" not in seen:
            part = mine.recv(4096)
            assert part, seen
            seen += part
        wait_for(lambda: sum(map(_is_closed, follows)) == 1, "one stream of whoever had all has ended")
    for client in (*follows, *holds, beyond):
        client.close()
    wait_for(lambda: daemon.streams == 0, "all of them end", 20)


def test_slow_clients_are_hung_up_on_and_nobody_waits_for_them(site: Serving) -> None:
    """Of one that says nothing, one that says half, and one that says a byte now and then, none is there after twelve seconds."""
    process = psutil.Process(site.process.pid)
    before = process.num_fds()
    silent = [site.connect() for _ in range(30)]
    half = [site.connect() for _ in range(30)]
    for client in half:
        client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    assert site.get("/").code == 200, "meanwhile"
    begun = time.monotonic()
    while time.monotonic() - begun < 30 and any(not _is_closed(client) for client in [*silent, *half]):
        for client in half[:10]:
            with_one_more(client)
        assert site.get("/v1/summary").code == 200
        time.sleep(0.2)
    assert 8 < time.monotonic() - begun < 15
    for client in [*silent, *half]:
        client.close()
    wait_for(lambda: process.num_fds() <= before + 2, "nothing is left open", 20)


def with_one_more(client: socket.socket) -> None:
    try:
        client.sendall(b"a")
    except OSError:
        return


def _is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_who_does_not_read_is_hung_up_on(site: Serving) -> None:
    """Two hundred answers of 60 kB each, of which none is read: more than the kernel holds for both sides."""
    process = psutil.Process(site.process.pid)
    before = process.num_fds()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", site.port))
    client.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        client.sendall(b"GET /live.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    wait_for(lambda: process.num_fds() <= before, "it is closed", 40)
    client.close()


def test_a_stream_behind_an_answer_that_is_read_slowly_goes_on(site: Serving, daemon: SaidDaemon) -> None:
    """The time of what was left to be read ended the stream after it on the same connection, ten seconds later."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", site.port))
    client.settimeout(20)
    page = b"GET /live.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    client.sendall(page * 60 + b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    seen = b""
    while b"event: hello" not in seen:
        seen = seen[-200:] + client.recv(1 << 16)
    # The keep-alive comes after fifteen seconds.
    assert client.recv(1000)
    daemon.publish({"rule": "late"}, 9)
    while b'"late"' not in seen:
        part = client.recv(4096)
        assert part
        seen += part
    client.close()


def test_more_connections_than_there_may_be_take_nothing_from_who_comes_later(site: Serving) -> None:
    clients = [site.connect() for _ in range(160)]
    wait_for(lambda: sum(map(_is_closed, clients)) >= 20, "those beyond the limit are closed at once", 10)
    for client in clients:
        client.close()

    def answered() -> bool:
        # Until the server has seen those ends it refuses, and what was sent to it meanwhile becomes a reset.
        with contextlib.suppress(ConnectionError):
            return site.get("/").code == 200
        return False

    wait_for(answered, "the next one is answered", 10)


def test_without_a_daemon_everything_says_so_and_comes_back_with_it(tmp_path: Path) -> None:
    daemon = SaidDaemon(tmp_path / "s", STATES["healthy"])
    site = Serving(tmp_path, daemon.socket)
    try:
        page = site.get("/")
        assert page.code == 200
        assert b"NO DAEMON: " in page.body
        assert b"no daemon at " in page.body
        for path in ("/v1/status", "/metrics", "/v1/events", "/report"):
            answer = site.get(path)
            assert (answer.code, message(answer)[:13]) == (502, "no daemon at ")
        summary = site.get("/v1/summary").json()
        assert (summary["state"], summary["servers"]) == ("unknown", None)
        daemon.begin()
        wait_for(lambda: b"NO DAEMON" not in site.get("/").body, "the page has it again", 10)
        assert site.get("/v1/summary").json()["state"] == "ok"
        daemon.end()
        wait_for(lambda: b"NO DAEMON" in site.get("/").body, "the page says that it is gone", 10)
        assert b"gemma-3-27b" in site.get("/").body, "what was last known"
    finally:
        assert site.end() == 0
        daemon.close()


def _serve(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sentinel", "serve", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=REPO)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0"])
def test_beyond_this_machine_nothing_is_served_without_auth(address: str) -> None:
    done = _serve("--listen", address)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "can be reached from other machines without authentication" in said
    assert "--insecure" in said


@pytest.mark.parametrize("address", ["127.0.0.1:8477", "[::1]:8477", "localhost:8477", "127.1.2.3:8477"])
def test_on_the_loopback_nobody_is_asked(address: str) -> None:
    done = _serve("--listen", address, "--check")
    assert (done.returncode, done.stdout) == (0, f"no file: http on {address}, for everybody\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--listen", "8477"), "--listen 8477: write ADDRESS:PORT, for example 127.0.0.1:8477"),
        (("--listen", "::1:8477"), "--listen ::1:8477: an IPv6 address stands in brackets, [::1]:8477"),
        (("--listen", "127.0.0.1:99999"), "--listen 127.0.0.1:99999: write ADDRESS:PORT, for example 127.0.0.1:8477"),
        (("--frame", "homarr"), "--frame homarr: write the address of the page around it, http://HOST:PORT"),
        (("--web-config", "/nowhere.yml"), "/nowhere.yml: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    done = _serve("--check", *words)
    assert (done.returncode, done.stderr) == (2, f"sentinel: {said}\n")


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _serve("--listen", f"127.0.0.1:{port}")
    assert done.returncode == 2
    said = f"sentinel: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --listen\n"
    assert done.stderr == said


def test_a_service_waits_for_its_port(tmp_path: Path) -> None:
    """By exit code 2 it was never started again: an address that comes after the boot, a port that another still had."""
    said = tmp_path / "journal"
    with socket.create_server(("127.0.0.1", 0)) as taken, said.open("wb") as journal:
        port, status = taken.getsockname()[1], os.fstat(journal.fileno())
        command = [sys.executable, "-m", "sentinel", "serve", "--listen", f"127.0.0.1:{port}"]
        environ = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        serving = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=journal, stderr=journal, cwd=REPO, env=environ)
        try:
            wait_for(lambda: "Address already in use" in said.read_text(), said.read_text, 60.0)
            taken.close()
            wait_for(lambda: f"answers at http://127.0.0.1:{port}/" in said.read_text(), said.read_text, 60.0)
        finally:
            serving.terminate()
            serving.wait(20)
    assert said.read_text().count("cannot listen") == 1


def test_a_frame_is_allowed_to_who_is_named(daemon: SaidDaemon, tmp_path: Path) -> None:
    site = Serving(tmp_path, daemon.socket, "--frame", "http://homarr:7575", "--name", "gpu.lan")
    try:
        answer = site.get("/", host="gpu.lan")
        assert answer.code == 200
        assert "frame-ancestors http://homarr:7575;" in answer.headers["content-security-policy"]
        assert "x-frame-options" not in answer.headers
        assert site.get("/report", host="gpu.lan").headers["x-frame-options"] == "DENY"
    finally:
        site.end()


def test_it_ends_at_once_although_somebody_follows_the_events(daemon: SaidDaemon, tmp_path: Path) -> None:
    site = Serving(tmp_path, daemon.socket)
    with site.connect() as client:
        client.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        begun = time.monotonic()
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(20) == 0
        assert time.monotonic() - begun < 6
    assert "Traceback" not in site.said()
