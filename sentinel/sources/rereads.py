"""How fast pages of files that were dropped are read again: the measure of a model that does not fit in the page cache.

Major faults are no measure of it: readahead turns hundreds of thousands of dropped pages a second into a dozen faults (measured
with a mapped model of 540 MB in a group of 250 MB). The kernel counts each page that comes back after it was pushed out
(mm/workingset.c); pages that are read for the first time do not count.
"""

from __future__ import annotations

import mmap

from sentinel.model.labels import Unknown, Value
from sentinel.sources.cgroup import Membership, groups
from sentinel.sources.roots import Roots, read_text, reason

#: one counter since Linux 5.9 for files, before that one for all; v1 counts the subtree under total_
_KEYS = ("workingset_refault_file", "workingset_refault")


class Rereads:
    """Kept for one process; a rate needs two looks."""

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def look(self, roots: Roots, member: Membership, at: float) -> dict[str, Value | Unknown]:
        """Signal ``server.reread_bytes_per_s`` of the control group that the process is in; nothing at the first look."""
        pages = refaults(roots, member)
        if isinstance(pages, Unknown):
            self._last = None
            return {"server.reread_bytes_per_s": pages}
        before, self._last = self._last, (at, pages)
        if before is None or at <= before[0] or pages < before[1]:
            return {}
        return {"server.reread_bytes_per_s": round((pages - before[1]) * mmap.PAGESIZE / (at - before[0]), 1)}


def refaults(roots: Roots, member: Membership) -> int | Unknown:
    """Pages of files that came back, in the process's own group, or on the machine where groups do not count memory."""
    found = groups(roots, member)
    path = roots.proc / "vmstat" if isinstance(found, Unknown) else found[1][0] / "memory.stat"
    prefix = "" if isinstance(found, Unknown) or member.unified else "total_"
    if not isinstance(found, Unknown) and not path.exists():
        # the controller is not on for this group
        path, prefix = roots.proc / "vmstat", ""
    try:
        counters = dict(line.split(" ", 1) for line in read_text(path).splitlines() if " " in line)
    except OSError as error:
        return Unknown(reason(path, error))
    for key in _KEYS:
        number = counters.get(prefix + key, "")
        if number.isdigit():
            return int(number)
    return Unknown(f"{path} does not count pages that come back: the kernel is older than 3.15")
