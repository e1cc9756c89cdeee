"""The environment that a process was started with, from /proc."""

from __future__ import annotations

import os

from sentinel.model.cuts import text
from sentinel.model.input_limits import MOST_ENVIRONMENT_BYTES, MOST_NAME, MOST_WORDS
from sentinel.sources.fs import Roots, read_bytes, reason


def environment(roots: Roots, pid: int) -> tuple[dict[str, str], str]:
    """The variables, and why they cannot be read, else empty."""
    path = roots.proc / str(pid) / "environ"
    try:
        pairs = read_bytes(path, MOST_ENVIRONMENT_BYTES).split(b"\0")
    except OSError as error:
        return {}, reason(path, error)
    decoded = (os.fsdecode(pair).partition("=") for pair in pairs[:MOST_WORDS])
    return {text(name, MOST_NAME): text(value) for name, equals, value in decoded if equals}, ""
