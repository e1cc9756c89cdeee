"""Real certificates, made by OpenSSL, and `sentinel serve` with a file that names them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bcrypt
from said_daemon import SaidDaemon
from serving import Serving


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


def certificate(folder: Path, name: str, san: str, ca: str = "ca") -> None:
    """NAME.pem and NAME.key, signed by the authority."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
    _openssl(folder, "req", *key, "-subj", f"/CN={name}", "-out", f"{name}.csr")
    (folder / f"{name}.ext").write_text(f"subjectAltName={san}\n")
    by = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *by, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def make_authority(folder: Path, ca: str = "ca") -> None:
    """CA.pem and CA.key."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, "req", "-x509", *key, "-keyout", f"{ca}.key", "-subj", f"/CN={ca}", "-days", "2", "-out", f"{ca}.pem")


def users(password: bytes = b"lovelace") -> str:
    return f"basic_auth_users:\n  ada: {bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()}\n"


def tls(made: Path, more: str = "") -> str:
    return f"tls_server_config:\n  cert_file: {made / 'server.pem'}\n  key_file: {made / 'server.key'}\n{more}"


def serving(folder: Path, daemon: SaidDaemon, text: str, *words: str, listen: str = "127.0.0.1:0") -> Serving:
    (folder / "web.yml").write_text(text, encoding="utf-8")
    return Serving(folder, daemon.socket, "--web-config", str(folder / "web.yml"), *words, listen=listen)
