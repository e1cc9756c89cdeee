"""Writes a file whole or not at all: readers, and a kill in the middle, see the old one or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """A file that only its owner may read, in the place of one that is there. Raises OSError, and ValueError for what is no path.

    By hand: the module tempfile costs a command 3 ms.
    """
    part = path.parent / f".sentinel-{os.urandom(8).hex()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    except BaseException:
        # Also where it is interrupted.
        with contextlib.suppress(OSError):
            part.unlink()
        raise
