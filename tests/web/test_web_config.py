"""The file of TLS and users: what exporter-toolkit's form allows is understood or refused with a sentence, never left out."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest

bcrypt = pytest.importorskip("bcrypt")

from sentinel.model.problem import ConfigError  # noqa: E402
from sentinel.web.config import load  # noqa: E402
from sentinel.web.users import Users  # noqa: E402

#: of no password
HASH = "$2y$04$" + "abcdefghijklmnopqrstuuWEQv9FwSzpY9Fhpe7DWkdTMIyDNrW4C"


def written(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text, encoding="utf-8")
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as found:
        load(written(folder, text))
    return [str(problem).partition("web.yml")[2] for problem in found.value.problems]


def test_every_key_that_is_understood(tmp_path: Path) -> None:
    config = load(
        written(
            tmp_path,
            f"""
tls_server_config:
  cert_file: cert.pem
  key_file: /etc/ssl/key.pem
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example, 10.0.0.7]
  min_version: TLS13
  max_version: TLS13
  prefer_server_cipher_suites: true
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
basic_auth_users:
  ada: {HASH}
rate_limit:
  interval: 500ms
  burst: 20
""",
        )
    )

    assert config.tls is not None
    assert (config.tls.cert, config.tls.key) == (tmp_path / "cert.pem", Path("/etc/ssl/key.pem"))
    assert (config.tls.clients, config.tls.client_ca) == (ssl.CERT_REQUIRED, tmp_path / "ca.pem")
    assert config.tls.sans == {"prometheus.example", "10.0.0.7"}
    assert (config.tls.least, config.tls.most) == (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    assert (config.hsts, config.interval, config.burst) == ("max-age=31536000", 0.5, 20)
    assert list(config.users) == ["ada"]
    assert config.authenticates
    assert HASH not in repr(config)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("", False),
        ("{}", False),
        (f"basic_auth_users: {{ada: '{HASH}'}}", True),
        ("tls_server_config: {cert_file: c, key_file: k}", False),
        ("tls_server_config: {cert_file: c, key_file: k, client_auth_type: VerifyClientCertIfGiven, client_ca_file: a}", False),
        ("tls_server_config: {cert_file: c, key_file: k, client_auth_type: RequireAndVerifyClientCert, client_ca_file: a}", True),
    ],
)
def test_only_a_password_or_a_required_certificate_authenticates_reads(tmp_path: Path, text: str, asks: bool) -> None:
    assert load(written(tmp_path, text)).authenticates is asks


_TLS = "tls_server_config:\n  cert_file: c\n  key_file: k\n  "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a list", ": is no YAML mapping; write tls_server_config: or basic_auth_users:"),
        ("a: [", ":1: is no YAML: expected the node content, but found '<stream end>'"),
        ("tls_server_config:\n  cert_file: c", ": tls_server_config.key_file: is missing; without it there is no TLS"),
        (_TLS + "key: PEM", ": tls_server_config.key: certificates are read from files only; write key_file"),
        (_TLS + "cipher_suites: [TLS_X]", ": tls_server_config.cipher_suites: is OpenSSL's choice here; leave it out"),
        (_TLS + "min_version: TLS10", ": tls_server_config.min_version: 'TLS10' is none of: TLS12, TLS13; did you mean 'TLS13'"),
        (
            _TLS + "client_auth_type: RequireAnyClientCert",
            ": tls_server_config.client_auth_type: 'RequireAnyClientCert' verifies nothing; write RequireAndVerifyClientCert",
        ),
        (
            _TLS + "client_auth_type: RequireAndVerifyClientCert",
            ": tls_server_config.client_ca_file: is missing; RequireAndVerifyClientCert verifies clients with it",
        ),
        (
            _TLS + "client_ca_file: a",
            ": tls_server_config.client_auth_type: asks for no certificate although client_ca_file is given; "
            "write RequireAndVerifyClientCert",
        ),
        (
            _TLS + "client_allowed_sans: [a]",
            ": tls_server_config.client_allowed_sans: needs client_auth_type: RequireAndVerifyClientCert",
        ),
        ("basic_auth_users: {ada: lovelace}", ": basic_auth_users.ada: is no hash of bcrypt; `htpasswd -nBC 10 NAME` prints one"),
        (
            f"basic_auth_users: {{ada: '{HASH.replace('$04$', '$18$')}'}}",
            ": basic_auth_users.ada: has a cost of 18, between 4 and 14 is possible; 10 is usual",
        ),
        ("basic_auth_user: {}", ": basic_auth_user: unknown key; did you mean 'basic_auth_users'"),
        ("rate_limit: {interval: 1s}", ": rate_limit.burst: must be 1 or more, or nobody gets an answer"),
        ("rate_limit: {interval: often}", None),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, said: str | None) -> None:
    found = mistakes(tmp_path, text)

    assert len(found) == 1
    assert said is None or found == [said]
    assert "lovelace" not in found[0], "it may be the password"


def test_a_file_that_cannot_be_read_or_is_too_large_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yml")
    assert mistakes(tmp_path, "#" * 300_000) == [": is larger than 256 KiB"]
    (tmp_path / "web.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no YAML"):
        load(tmp_path / "web.yml")


def test_a_hash_that_prometheus_accepts_lets_the_same_password_in() -> None:
    # htpasswd and Go write $2y$, Python's library $2b$; the hash is the same.
    made = bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    users = Users({"ada": made})
    right = "Basic YWRhOmxvdmVsYWNl"

    assert not users.remembers(right)
    assert users.lets_in(right)
    assert users.remembers(right)
    for wrong in (
        "",
        "Basic",
        "Basic YWRh",
        "Basic YWRhOmxvdmVsYWNs",
        "Bearer YWRhOmxvdmVsYWNl",
        "Basic !!!",
        "Basic Ym9iOmxvdmVsYWNl",
    ):
        assert not users.lets_in(wrong), wrong
        assert not users.remembers(wrong), wrong


@pytest.mark.parametrize("password", ["", "x" * 73, "a\0b", "é" * 30])
def test_a_password_that_bcrypt_cannot_read_is_wrong_and_no_fault(password: str) -> None:
    users = Users({"ada": bcrypt.hashpw(b"lovelace", bcrypt.gensalt(4)).decode()})
    assert not users.lets_in("Basic " + base64.b64encode(f"ada:{password}".encode()).decode())
