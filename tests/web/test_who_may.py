"""TLS with real certificates, passwords and certificates of clients: who gets in by each way, and who does not."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

for _library in ("starlette", "uvicorn", "bcrypt", "yaml"):
    pytest.importorskip(_library)
if shutil.which("openssl") is None:
    pytest.skip("needs openssl to make certificates", allow_module_level=True)

import bcrypt  # noqa: E402
from certificates import certificate, make_authority, serving, tls, users  # noqa: E402
from live import wait_for  # noqa: E402
from said_daemon import SaidDaemon  # noqa: E402
from sample_answers import STATES  # noqa: E402
from serving import Serving  # noqa: E402

RIGHT, WRONG = "ada:lovelace", "ada:byron"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for ca in ("ca", "other"):
        make_authority(folder, ca)
    certificate(folder, "server", "DNS:localhost,IP:127.0.0.1")
    certificate(folder, "prometheus", "DNS:prometheus.example")
    certificate(folder, "grafana", "DNS:grafana.example")
    certificate(folder, "stranger", "DNS:prometheus.example", "other")
    return folder


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaidDaemon]:
    one = SaidDaemon(tmp_path_factory.mktemp("daemon") / "s", STATES["healthy"])
    one.begin()
    yield one
    one.close()


def wanted(made: Path, more: str = "") -> str:
    return f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {made / 'ca.pem'}\n{more}"


def client(made: Path, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(made / "ca.pem"))
    if name:
        context.load_cert_chain(made / f"{name}.pem", made / f"{name}.key")
    return context


def test_a_password_opens_every_path_and_nothing_opens_without(made: Path, daemon: SaidDaemon, tmp_path: Path) -> None:
    site = serving(tmp_path, daemon, users(), listen="0.0.0.0:0")
    try:
        for path in ("/", "/live.js", "/report", "/metrics", "/v1/status", "/v1/summary", "/nothing"):
            for who in ("", WRONG, "bob:lovelace", ":", "ada:", f"ada:{'x' * 200}"):
                answer = site.get(path, who=who)
                assert (answer.code, answer.headers["www-authenticate"][:5]) == (401, "Basic"), (path, who)
                assert b"server" not in answer.body
            assert site.get(path, who=RIGHT).code == (404 if path == "/nothing" else 200)
        assert site.get("/v1/events", who=WRONG).code == 401
        assert "passwords come to 0.0.0.0 in clear text" in site.said()
        assert "lovelace" not in site.said()
        assert "byron" not in site.said()
    finally:
        assert site.end() == 0


def test_wrong_passwords_do_not_keep_a_right_one_waiting(daemon: SaidDaemon, tmp_path: Path) -> None:
    """A hash of cost 12 takes a quarter of a second: who was right before is not behind forty that are tried."""
    slow = f"basic_auth_users:\n  ada: {bcrypt.hashpw(b'lovelace', bcrypt.gensalt(12)).decode()}\n"
    site = serving(tmp_path, daemon, slow)
    try:
        assert site.get("/v1/summary", who=RIGHT).code == 200
        trying = [site.connect() for _ in range(40)]
        for one in trying:
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWRhOng=\r\n\r\n")
        begun = time.monotonic()
        assert site.get("/v1/summary", who=RIGHT).code == 200
        assert time.monotonic() - begun < 1.0
        codes = [one.recv(4096).split()[1] for one in trying]
        assert set(codes) == {b"401", b"503"}
        assert codes.count(b"401") <= 12
    finally:
        site.end()


def test_tls_with_a_real_certificate(made: Path, daemon: SaidDaemon, tmp_path: Path) -> None:
    hsts = "http_server_config: {headers: {Strict-Transport-Security: max-age=60}}\n"
    site = serving(tmp_path, daemon, tls(made) + hsts + users())
    try:
        assert site.scheme == "https"
        answer = site.get("/", tls=client(made), who=RIGHT)
        assert (answer.code, answer.headers["strict-transport-security"]) == (200, "max-age=60")
        assert site.get("/", tls=client(made)).code == 401
        with pytest.raises(ssl.SSLError):
            site.get("/", tls=ssl.create_default_context())
        old = client(made)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert site.get("/v1/summary", tls=old, who=RIGHT).code == 200
        assert site.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").code == 0, "without TLS there is no answer"
    finally:
        assert site.end() == 0
    assert "Traceback" not in site.said()


@pytest.mark.parametrize(("name", "gets_in"), [("prometheus", True), ("grafana", True), ("stranger", False), ("", False)])
def test_a_certificate_of_the_authority_is_wanted(
    made: Path, daemon: SaidDaemon, tmp_path: Path, name: str, *, gets_in: bool
) -> None:
    site = serving(tmp_path, daemon, tls(made, wanted(made)), listen="0.0.0.0:0")
    try:
        assert _code(site, client(made, name)) == (200 if gets_in else 0)
    finally:
        site.end()


@pytest.mark.parametrize(("name", "gets_in"), [("prometheus", True), ("grafana", False), ("stranger", False)])
def test_a_certificate_of_another_name_is_not_enough(
    made: Path, daemon: SaidDaemon, tmp_path: Path, name: str, *, gets_in: bool
) -> None:
    site = serving(tmp_path, daemon, tls(made, wanted(made, "  client_allowed_sans: [prometheus.example]\n")) + users())
    try:
        assert _code(site, client(made, name)) == (200 if gets_in else 0)
        assert _code(site, client(made, "prometheus"), who="") == 401, "both are wanted"
    finally:
        site.end()


def _code(site: Serving, context: ssl.SSLContext, who: str = RIGHT) -> int:
    try:
        return site.get("/v1/summary", tls=context, who=who).code
    except OSError:
        return 0


def test_who_never_agrees_on_tls_is_hung_up_on(made: Path, daemon: SaidDaemon, tmp_path: Path) -> None:
    site = serving(tmp_path, daemon, tls(made))
    try:
        silent = [site.connect() for _ in range(40)]
        assert site.get("/v1/summary", tls=client(made)).code == 200
        begun = time.monotonic()
        for one in silent:
            one.settimeout(20)
            assert one.recv(1) == b""
        assert time.monotonic() - begun < 15
    finally:
        site.end()
    assert "Traceback" not in site.said()


def test_a_renewed_certificate_and_another_password_are_used_without_a_restart(
    made: Path, daemon: SaidDaemon, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path / "own")
    own = tmp_path / "own"
    site = serving(tmp_path, daemon, tls(own) + users())
    try:
        before = _serial(site, made)
        certificate(own, "server", "DNS:localhost")
        wait_for(lambda: _serial(site, made) != before, "the new certificate", 20)
        (tmp_path / "web.yml").write_text(tls(own) + users(b"byron"), encoding="utf-8")
        wait_for(lambda: _code(site, client(made), WRONG) == 200, "the new password", 20)
        assert _code(site, client(made), RIGHT) == 401
        (tmp_path / "web.yml").write_text(tls(own), encoding="utf-8")
        wait_for(lambda: "begin and end with a restart" in site.said(), "auth does not end by a file", 20)
        assert _code(site, client(made), who="") == 401
        (own / "server.key").write_text("nothing")
        (tmp_path / "web.yml").write_text(tls(own) + users(), encoding="utf-8")
        wait_for(lambda: "what was read before holds" in site.said(), "a mistake changes nothing", 20)
        assert _code(site, client(made), WRONG) == 200
    finally:
        site.end()


def _serial(site: Serving, made: Path) -> str:
    try:
        with site.connect(client(made)) as connection:
            return str((connection.getpeercert() or {}).get("serialNumber"))  # type: ignore[attr-defined]
    except OSError:
        return ""


def test_no_more_requests_than_the_file_allows(daemon: SaidDaemon, tmp_path: Path) -> None:
    site = serving(tmp_path, daemon, "rate_limit: {interval: 1h, burst: 5}\n")
    try:
        codes = [site.get("/v1/summary").code for _ in range(8)]
        assert codes == [200] * 5 + [429] * 3
    finally:
        site.end()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  cert_file: none.pem\n  key_file: server.key\n", "No such file or directory"),
        ("  cert_file: server.pem\n  key_file: grafana.key\n", "KEY_VALUES_MISMATCH"),
        ("  cert_file: server.key\n  key_file: server.key\n", "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_sentence(made: Path, tmp_path: Path, text: str, said: str) -> None:
    file = made / f"{tmp_path.name}.yml"
    file.write_text(f"tls_server_config:\n{text}", encoding="utf-8")
    command = [sys.executable, "-m", "sentinel", "serve", "--check", "--web-config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert line.startswith(f"sentinel: {file}: tls_server_config: ")
