"""Names of rotated logs: where a file was moved to, and which file succeeded it.

Supports logrotate's two naming schemes: numbers (``x.log.1`` is the newest, ``x.log.2`` older) and dates
(``x.log-20261123``, the highest is the newest). Compressed files cannot be followed and are left out.
"""

from __future__ import annotations

import heapq
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from sentinel.files.opener import Folder
from sentinel.model.input_limits import MOST_NAMES_OF_FOLDER, MOST_ROTATED_FILES

_SUFFIX = re.compile(r"[.-](\d[\d.-]{0,40})")
#: A suffix of that many digits is a date; a shorter one is a rotation number.
_DATE_DIGITS = 6
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Generation:
    """One file of a rotated log, by its name in the folder."""

    name: str
    inode: int
    #: never written to, or not since it was truncated
    empty: bool
    #: it is at the path itself
    current: bool
    #: modification time in ns since the epoch; equal in two listings for a file that is still being written to
    written: int = field(compare=False)


def settled(folder: Folder) -> list[Generation] | None:
    """Rotated files of the log, oldest first, the one at its path last; None while files are being renamed.

    A listing taken during a rotation can show a file twice, in the wrong order or not at all. Two equal listings in a row
    are consistent. Raises OSError.
    """
    listing = _listing(folder)
    for _ in range(_ATTEMPTS):
        before, listing = listing, _listing(folder)
        if listing == before:
            return listing
    return None


def _listing(folder: Folder) -> list[Generation]:
    """Rotated files of the log, oldest first, the one at its path last, alone if the folder may not be listed."""
    found: list[Generation] = []
    for _, name in sorted(heapq.nlargest(MOST_ROTATED_FILES, _candidates(folder))):
        try:
            status = folder.status(name)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(Generation(name, status.st_ino, status.st_size == 0, name == folder.name, status.st_mtime_ns))
    return found


def _candidates(folder: Folder) -> Iterator[tuple[tuple[int, int, str], str]]:
    """Names of the log and its rotated files, each with its age: a larger one is newer."""
    # On overlayfs and under a bind mount a listing shows other inodes: only names are taken from it.
    yield (2, 0, ""), folder.name
    for _, name in zip(range(MOST_NAMES_OF_FOLDER), folder.names(), strict=False):
        if name.startswith(folder.name) and (suffix := _SUFFIX.fullmatch(name, len(folder.name))):
            yield _age(suffix[1]), name


def _age(suffix: str) -> tuple[int, int, str]:
    if suffix.isdecimal() and len(suffix) < _DATE_DIGITS:
        return (1, -int(suffix), "")
    return (0, 0, suffix)


def find(folder: Folder, inode: int) -> str | None:
    """The name of the file with this inode now: the log's own or a rotated one; None if gone. Raises OSError."""
    listed = settled(folder) or _listing(folder)
    return next((generation.name for generation in listed if generation.inode == inode), None)


def successors(folder: Folder, inode: int, written: int) -> list[Generation]:
    """Non-empty files that succeeded the one with this inode, last seen modified at `written` (ns), in order; empty if
    there are none or files are being renamed. The last is the one at the log's path.

    Empty files do not count: logrotate creates one at every rotation, beside a writer that never reopens its log. A file
    that has left the folder (deleted, compressed) is followed by the one at the path. Names can mislead (tools that number
    upwards, copies somebody made): a file with an earlier modification time is older. Raises OSError.
    """
    listed = settled(folder) or []
    inodes = [generation.inode for generation in listed]
    if inode in inodes:
        later = listed[inodes.index(inode) + 1 :]
    else:
        later = [generation for generation in listed if generation.current]
    return [each for each in later if not each.empty and (each.current or each.written >= written)]
