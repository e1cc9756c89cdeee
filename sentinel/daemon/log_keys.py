"""The key under which each log is followed: one follower for one log, whoever names it."""

from __future__ import annotations

import os

from sentinel.daemon.config import ServerConfig
from sentinel.sources.processes.server_process import ServerProcess


def configured_key(server: ServerConfig) -> str:
    """Of a log that the configuration names."""
    return f"file:{server.log}" if server.log else f"journal:{server.unit}"


def unit_user(server: ServerProcess) -> int | None:
    """The user whose systemd runs it; None for the machine's."""
    return server.user if server.member.is_user_unit else None


def unit_key(unit: str, user: int | None) -> str:
    """Of a unit's journal. Users name their units as they like: as the machine's as well."""
    return f"journal:{unit}" if user in (None, os.getuid()) else f"journal:{unit} of user {user}"
