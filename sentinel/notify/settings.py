"""The settings of `sentinel notify` as data, and where its files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    home = env.get("XDG_CONFIG_HOME") or (str(Path(env["HOME"]) / ".config") if env.get("HOME") else "")
    given = [Path(env["CREDENTIALS_DIRECTORY"]) / "notify.toml"] if env.get("CREDENTIALS_DIRECTORY") else []
    return [*given, *([Path(home) / "sentinel" / "notify.toml"] if home else []), SYSTEM_FILE]


def default_state_dir(env: Mapping[str, str]) -> Path:
    """systemd's StateDirectory, else the user's XDG state folder, else /var/lib/sentinel-notify."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if given := env.get("XDG_STATE_HOME"):
        return Path(given) / "sentinel-notify"
    if os.geteuid() != 0 and env.get("HOME"):
        return Path(env["HOME"]) / ".local" / "state" / "sentinel-notify"
    return Path("/var/lib/sentinel-notify")
