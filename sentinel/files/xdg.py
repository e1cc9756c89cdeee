"""Where sentinel's own files are by default: as systemd says, else by the XDG base directories, else below /etc and /var/lib."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_home(env: Mapping[str, str]) -> str:
    """The user's XDG configuration folder; empty where neither it nor a home is named, as in a service of a bare user id."""
    return env.get("XDG_CONFIG_HOME") or (str(Path(env["HOME"]) / ".config") if env.get("HOME") else "")


def config_files(env: Mapping[str, str], name: str) -> list[Path]:
    """Default paths of a configuration file, the user's own first."""
    home = config_home(env)
    return [*([Path(home) / "sentinel" / name] if home else []), Path("/etc/sentinel") / name]


def state_folder(env: Mapping[str, str], name: str = "sentinel") -> Path:
    """systemd's StateDirectory, else the user's XDG state folder, else that of /var/lib."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if given := env.get("XDG_STATE_HOME"):
        return Path(given) / name
    if os.geteuid() != 0 and env.get("HOME"):
        return Path(env["HOME"]) / ".local" / "state" / name
    return Path("/var/lib") / name
