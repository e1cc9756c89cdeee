"""The key of a server that wants one, from a file, as llama-server reads its own (--api-key-file)."""

from __future__ import annotations

import os
from pathlib import Path

from sentinel.files.opener import Opener

_MOST_BYTES = 4096


class NoKey(ValueError):
    """The first line of the file is no key."""


def read(path: Path) -> tuple[str, int]:
    """The first line of the file, and whose file it is. Raises OSError, NotRegular, NoKey, and ValueError for other bytes than
    ASCII and for a name that no file has.
    """
    with os.fdopen(Opener().open(str(path)), "rb") as stream:
        owner = os.fstat(stream.fileno()).st_uid
        text = stream.read(_MOST_BYTES).decode("ascii").strip()
    key = text.splitlines()[0].strip() if text else ""
    if not key or not key.isprintable():
        raise NoKey("its first line is no key")
    return key, owner
