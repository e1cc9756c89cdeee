"""Values of the configuration of `sentinel notify` that several of its parts have: durations and addresses."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from sentinel.notify.plan import Policy
from sentinel.rulefiles.toml.tables import Table


def policy_of(table: Table, default: Policy) -> Policy:
    """When messages go out, by the keys of the file or of a channel."""
    return replace(
        default,
        group_wait=seconds_of(table, "group_wait", default.group_wait),
        group_interval=seconds_of(table, "group_interval", default.group_interval),
        first_pause=seconds_of(table, "retry", default.first_pause, least=0.1),
    )


def seconds_of(table: Table, key: str, default: float, least: float = 0.0, most: float = 3600.0) -> float:
    """A duration within bounds."""
    seconds = table.duration(key, default)
    if seconds is None:
        return default
    if not least <= seconds <= most:
        table.findings.error(table.at(key), f"{seconds:g} s is out of range; between {least:g} s and {most:g} s")
        return default
    return seconds


def check_address(table: Table, url: str) -> None:
    """Without repeating it: it may be a secret."""
    try:
        address = urlsplit(url)
        fine = address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or not url.isascii() or any(char <= " " for char in url):
        table.findings.error(
            table.at("url"), "is no address; write http:// or https://, a host and a path, in ASCII without spaces"
        )
