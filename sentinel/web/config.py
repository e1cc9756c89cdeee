"""The file that exporters of Prometheus share for TLS and users (exporter-toolkit's web configuration), strictly validated.

What Python's TLS cannot do is a mistake with one sentence, never left out in silence: whoever writes it relies on it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sentinel.model.problem import ConfigError, Problem
from sentinel.rulefiles.toml.tables import Findings, Table

_MOST_BYTES = 256 * 1024
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
#: One try of a cost of 14 takes a second; of 18, a quarter of a minute of the processor for each wrong password of anybody.
_MOST_COST = 14
_MOST_USERS = 100
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
#: How each of the toolkit's words treats certificates of clients; the other two accept what nobody has verified.
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")
_INLINE = {"cert": "cert_file", "key": "key_file", "client_ca": "client_ca_file"}
#: Headers of the toolkit: ours are stricter, so what the file says of these changes nothing.
_HEADERS = ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection")


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key as files, and what is wanted of clients."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    clients: ssl.VerifyMode = ssl.CERT_NONE
    #: a client's certificate has one of these names; empty: any
    sans: frozenset[str] = frozenset()
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True, slots=True)
class WebConfig:
    """All of the file. Without one: no TLS, no authentication."""

    tls: Tls | None = None
    #: bcrypt's hash of the password of each
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    hsts: str = ""
    #: seconds for which a request pays, 0: there is no limit; and how many may come at once
    interval: float = 0.0
    burst: int = 0
    files: tuple[Path, ...] = ()

    @property
    def authenticates(self) -> bool:
        """Whether each request needs a password or a certificate."""
        return bool(self.users) or (self.tls is not None and self.tls.clients == ssl.CERT_REQUIRED)


def load(file: Path) -> WebConfig:
    """Raises ConfigError."""
    findings = Findings(str(file))
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ConfigError([Problem(str(file), "", f"is larger than {_MOST_BYTES >> 10} KiB")])
        data = yaml.safe_load(raw.decode("utf-8"))
    except OSError as error:
        raise ConfigError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([_no_yaml(file, error)]) from error
    if not isinstance(data, dict | None):
        raise ConfigError([Problem(str(file), "", "is no YAML mapping; write tls_server_config: or basic_auth_users:")])
    config = _decode(file, Table(_text_keys(data or {}), (), findings))
    if findings.problems:
        raise ConfigError(findings.problems)
    return config


def _no_yaml(file: Path, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or type(error).__name__
    return Problem(str(file), "", f"is no YAML: {said}", line=0 if mark is None else mark.line + 1)


def _text_keys(value: Any) -> Any:
    """YAML knows keys that are numbers, dates or true."""
    if isinstance(value, dict):
        return {str(key): _text_keys(inner) for key, inner in value.items()}
    return value


def _decode(file: Path, top: Table) -> WebConfig:
    tls = _tls(file.parent, top.table("tls_server_config")) if top.holds("tls_server_config", dict) else None
    top.leave("tls_server_config")
    hsts = _http(top.table("http_server_config"))
    users = _users(top)
    limit = top.table("rate_limit")
    interval = limit.duration("interval", 0.0) or 0.0
    burst = limit.get("burst", int, 0)
    if interval and burst < 1:
        limit.findings.error(limit.at("burst"), "must be 1 or more, or nobody gets an answer")
    limit.done()
    top.done()
    files = (file,) if tls is None else (file, tls.cert, tls.key, *([tls.client_ca] if tls.client_ca else []))
    return WebConfig(tls, users, hsts, interval, burst, files)


def _tls(folder: Path, table: Table) -> Tls | None:
    for inline, instead in _INLINE.items():
        if table.text(inline):
            table.findings.error(table.at(inline), f"certificates are read from files only; write {instead}")
    for key in ("cipher_suites", "curve_preferences"):
        if table.texts(key):
            table.findings.error(table.at(key), "is OpenSSL's choice here; leave it out")
    table.get("prefer_server_cipher_suites", bool, True)
    cert, key, ca = (table.text(name) for name in ("cert_file", "key_file", "client_ca_file"))
    for name, given in (("cert_file", cert), ("key_file", key)):
        if not given:
            table.findings.error(table.at(name), "is missing; without it there is no TLS")
    least, most = (table.text(name, default, one_of=tuple(_VERSIONS)) for name, default in _LIMITS)
    word = table.text("client_auth_type", "NoClientCert", one_of=(*_CLIENTS, *_UNVERIFIED))
    if word in _UNVERIFIED:
        table.findings.error(table.at("client_auth_type"), f"'{word}' verifies nothing; write RequireAndVerifyClientCert")
    clients = _CLIENTS.get(word, ssl.CERT_NONE)
    if clients != ssl.CERT_NONE and not ca:
        table.findings.error(table.at("client_ca_file"), f"is missing; {word} verifies clients with it")
    if clients == ssl.CERT_NONE and ca and word not in _UNVERIFIED:
        said = "asks for no certificate although client_ca_file is given; write RequireAndVerifyClientCert"
        table.findings.error(table.at("client_auth_type"), said)
    sans = frozenset(table.texts("client_allowed_sans"))
    if sans and clients != ssl.CERT_REQUIRED:
        table.findings.error(table.at("client_allowed_sans"), "needs client_auth_type: RequireAndVerifyClientCert")
    table.done()
    return Tls(folder / cert, folder / key, folder / ca if ca else None, clients, sans, _VERSIONS[least], _VERSIONS[most])


_LIMITS = (("min_version", "TLS12"), ("max_version", "TLS13"))


def _http(table: Table) -> str:
    # HTTP/2 is offered to no one; whoever wants it goes on with HTTP/1.1.
    table.get("http2", bool, True)
    headers = table.table("headers")
    hsts = headers.text("Strict-Transport-Security")
    if not (hsts.isascii() and (hsts.isprintable() or not hsts)):
        headers.findings.error(headers.at("Strict-Transport-Security"), "holds a character that no header can hold")
    for name in _HEADERS:
        headers.text(name)
    headers.done()
    table.done()
    return hsts


def _users(top: Table) -> dict[str, str]:
    users = {}
    found = top.mapping("basic_auth_users")
    if len(found) > _MOST_USERS:
        top.findings.error(("basic_auth_users",), f"{len(found)} are too many; at most {_MOST_USERS}")
    for name, given in list(found.items())[:_MOST_USERS]:
        match = _HASH.fullmatch(given) if isinstance(given, str) else None
        at = ("basic_auth_users", name)
        if ":" in name or not name:
            top.findings.error(at, "is no name of a user: it is empty, or has a colon in it")
        elif match is None:
            # Not repeated: it may be the password itself.
            top.findings.error(at, "is no hash of bcrypt; `htpasswd -nBC 10 NAME` prints one")
        elif not 4 <= int(match[1]) <= _MOST_COST:
            top.findings.error(at, f"has a cost of {match[1]}, between 4 and {_MOST_COST} is possible; 10 is usual")
        else:
            users[name] = given
    return users
