"""Paths as a process sees them, and as sentinel can open them."""

from __future__ import annotations

import os

from sentinel.sources.fs import Roots, file_identity, link


def inside(roots: Roots, pid: int, path: str) -> str:
    """A path of the process as sentinel can open it: through /proc/PID/root if its mounts differ from ours."""
    process = roots.proc / str(pid)
    through = f"{process}/root{path}"
    try:
        if link(process / "ns/mnt") == link(roots.proc / "self/ns/mnt"):
            return path
        theirs = file_identity(through)
    except OSError:
        return path
    return path if is_file(path, theirs) else through


def absolute(roots: Roots, pid: int, path: str) -> str:
    """A path as the process resolves it: relative ones start at its working folder."""
    if path.startswith("/"):
        return path
    try:
        cwd = link(roots.proc / str(pid) / "cwd")
    except OSError:
        # the file will be missing, and is then reported with this path
        cwd = "/"
    return os.path.normpath(f"{cwd}/{path}")


def is_file(path: str, identity: tuple[int, int]) -> bool:
    """False for a deleted file and for one in another mount namespace: they are reachable through the descriptor only."""
    try:
        return file_identity(path) == identity
    except OSError:
        return False
