"""The settings of a command whose files can be read."""

from __future__ import annotations

import os

from sentinel.llama import memory_settings
from sentinel.llama.settings import Settings
from sentinel.model.entity import Unknown
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command
from sentinel.sources.fs import Roots


def settings_of(command: Command, build: Build, roots: Roots) -> Settings | Unknown:
    """The settings it requests, or the first value that cannot be parsed."""
    return memory_settings.settings_of(command.requested, build, _projector(command, roots))


def _projector(command: Command, roots: Roots) -> int:
    """Bytes of the projector's file; 0 without one."""
    path = command.requested.text("mmproj")
    if not path:
        return 0
    try:
        return os.stat(command.path(roots, path)).st_size  # noqa: PTH116 - may hold surrogate escapes
    except (OSError, ValueError):
        return 0
