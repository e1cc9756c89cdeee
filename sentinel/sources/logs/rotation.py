"""Names of rotated logs: where a file was moved to, and which file succeeded it.

Supports logrotate's two naming schemes: numbers (``x.log.1`` is the newest, ``x.log.2`` older) and dates
(``x.log-20261123``, the highest is the newest). Compressed files cannot be followed and are left out.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

_SUFFIX = re.compile(r"[.-](\d[\d.-]*)")
#: A suffix of that many digits is a date; a shorter one is a rotation number.
_DATE_DIGITS = 6
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Generation:
    """One file of a rotated log."""

    file: Path
    inode: int
    #: never written to, or not since it was truncated
    empty: bool
    #: it is at the path itself
    current: bool
    #: modification time in ns since the epoch; equal in two listings for a file that is still being written to
    written: int = field(compare=False)


def settled(path: Path) -> list[Generation] | None:
    """Rotated files of `path`, oldest first, the one at `path` itself last; None while files are being renamed.


    A listing taken during a rotation can show a file twice, in the wrong order or not at all. Two equal listings in a row
    are consistent. Raises OSError.
    """
    listing = _listing(path)
    for _ in range(_ATTEMPTS):
        before, listing = listing, _listing(path)
        if listing == before:
            return listing
    return None


def _listing(path: Path) -> list[Generation]:
    """Rotated files of `path`, oldest first, the one at `path` itself last, alone if the folder may not be listed."""
    # logrotate renames the file that a symbolic link points to, in the folder of that file.
    path = _real(path)
    found: list[tuple[tuple[int, int, str], Generation]] = []
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        names = [path.name]
    for name in names:
        suffix = _SUFFIX.fullmatch(name, len(path.name))
        if suffix is None and name != path.name:
            continue
        try:
            # On overlayfs and under a bind mount the listing shows a different inode.
            status = (path.parent / name).lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            age = _age(suffix[1]) if suffix else (2, 0, "")
            found.append(
                (age, Generation(path.parent / name, status.st_ino, status.st_size == 0, name == path.name, status.st_mtime_ns))
            )
    return [generation for _, generation in sorted(found, key=lambda pair: pair[0])]


def _real(path: Path) -> Path:
    # Path.resolve raises RuntimeError for a link to itself.
    return Path(os.path.realpath(path))


def _age(suffix: str) -> tuple[int, int, str]:
    if suffix.isdecimal() and len(suffix) < _DATE_DIGITS:
        return (1, -int(suffix), "")
    return (0, 0, suffix)


def find(path: Path, inode: int) -> Path | None:
    """Where the file with this inode is now: at `path` or renamed beside it; None if gone. Raises OSError."""
    return next((generation.file for generation in settled(path) or _listing(path) if generation.inode == inode), None)


def successors(path: Path, inode: int, written: int) -> list[Generation]:
    """Non-empty files that succeeded the one with this inode, last seen modified at `written` (ns), in order; empty if
    there are none or files are being renamed. The last is the one at `path` itself.

    Empty files do not count: logrotate creates one at every rotation, beside a writer that never reopens its log. A file
    that has left the folder (deleted, compressed) is followed by the one at `path`. Names can mislead (tools that number
    upwards, copies somebody made): a file with an earlier modification time is older. Raises OSError.
    """
    listed = settled(path) or []
    inodes = [generation.inode for generation in listed]
    if inode in inodes:
        later = listed[inodes.index(inode) + 1 :]
    else:
        later = [generation for generation in listed if generation.current]
    return [each for each in later if not each.empty and (each.current or each.written >= written)]
