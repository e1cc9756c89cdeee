"""The settings of `sentinel notify` as data, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.files.xdg import config_files
from sentinel.notify.choice import Filter
from sentinel.notify.plan import Policy
from sentinel.notify.quiet import Quiet

SYSTEM_FILE = Path("/etc/sentinel/notify.toml")


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to people, with its secrets filled in: never to be shown."""

    name: str
    kind: str
    chosen: Filter
    policy: Policy
    quiet: Quiet
    urgent: frozenset[str]
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    seconds: float = 10.0
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    file: Path
    host: str
    socket: str
    runbook: str
    channels: tuple[Channel, ...]


def default_files(env: Mapping[str, str]) -> list[Path]:
    """Default paths, that of the unit's credentials first, then the user's own."""
    given = [Path(env["CREDENTIALS_DIRECTORY"]) / SYSTEM_FILE.name] if env.get("CREDENTIALS_DIRECTORY") else []
    return [*given, *config_files(env, SYSTEM_FILE.name)]
