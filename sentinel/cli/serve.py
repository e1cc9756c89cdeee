"""`sentinel serve`: a page, metrics and JSON over HTTP. What sentinel-web.service starts."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.cli.main import CRITICAL, OK
from sentinel.cli.output import say, warn
from sentinel.daemon.systemd import to_journal
from sentinel.files.libraries import how_to_add
from sentinel.model.problem import ConfigError
from sentinel.model.text import escape

if TYPE_CHECKING:
    import argparse

    from sentinel.web.config import WebConfig

DEFAULT = "127.0.0.1:8477"
_NEEDED = ("starlette", "uvicorn", "bcrypt", "yaml")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?")


def main(arguments: argparse.Namespace) -> int:
    """Serve until stopped, or check."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        warn(f"serve needs {', '.join(missing)}: {how_to_add('starlette uvicorn bcrypt pyyaml', 'web')}")
        return CRITICAL
    # Only here: the libraries may be missing.
    from sentinel.web.config import WebConfig, load
    from sentinel.web.run import CannotServe, check_files, run

    try:
        address, port = _address(arguments.listen)
        for origin in arguments.frame:
            if not _ORIGIN.fullmatch(origin):
                raise CannotServe(f"--frame {origin}: write the address of the page around it, http://HOST:PORT")
        file = _file(arguments.web_config)
        config = WebConfig() if file is None else load(file)
        check_files(config)
        _is_safe(address, config, insecure=arguments.insecure)
        if arguments.check:
            say(_described(arguments.listen, file, config))
            return OK
        names = [*_own_names(), *arguments.name, address]
        run(
            (address, port), file, config, names=names, frames=arguments.frame, host=platform.node(),
            sockets=[arguments.socket] if arguments.socket else None, log=_journal,
            patient=to_journal(),
        )  # fmt: skip
    except ConfigError as error:
        for problem in error.problems:
            warn(str(problem))
        return CRITICAL
    except CannotServe as error:
        warn(str(error))
        return CRITICAL
    return OK


def _address(given: str) -> tuple[str, int]:
    """As people write it: 127.0.0.1:8477, [::]:8477, :8477 (everywhere), a name of this machine."""
    from sentinel.web.run import CannotServe

    host, colon, port = given.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise CannotServe(f"--listen {given}: write ADDRESS:PORT, for example {DEFAULT}")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise CannotServe(f"--listen {given}: an IPv6 address stands in brackets, [::1]:8477")
    return host.strip("[]") or "::", int(port)


def _file(given: str | None) -> Path | None:
    if given:
        return Path(given)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    handed = Path(folder) / "web.yml" if folder else None
    return handed if handed is not None and handed.is_file() else None


def _is_safe(address: str, config: WebConfig, *, insecure: bool) -> None:
    from sentinel.web.run import CannotServe

    if _only_here(address) or insecure:
        return
    if not config.authenticates:
        raise CannotServe(
            f"{address} can be reached from other machines without authentication: name a file with basic_auth_users or "
            "client certificates (--web-config, docs/web.md), or add --insecure if everybody may read it"
        )
    if config.tls is None:
        _journal(4, f"passwords come to {address} in clear text: add tls_server_config, or a proxy with TLS in front")


def _only_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)


def _own_names() -> list[str]:
    node = platform.node()
    short = node.partition(".")[0]
    return ["localhost", *([node, short, f"{short}.local"] if short else [])]


def _described(listen: str, file: Path | None, config: WebConfig) -> str:
    who = f"{len(config.users)} users" if config.users else "client certificates" if config.authenticates else "everybody"
    return f"{file or 'no file'}: {'https' if config.tls else 'http'} on {listen}, for {who}"


def _journal(level: int, sentence: str) -> None:
    """One line on standard error; under systemd with its level (sd-daemon(3))."""
    mark = f"<{level}>" if os.environ.get("JOURNAL_STREAM") else "sentinel: "
    print(f"{mark}{escape(sentence)}", file=sys.stderr, flush=True)
