"""File descriptors: the limit is raised at the start, logs get a part of it, and their lack is a source's fault."""

from __future__ import annotations

import errno
import resource
from contextlib import suppress

#: For the daemon itself: its socket and clients, SQLite, sources, programs that it runs.
_OWN = 48
#: Errors that say that the machine or the unit has no more to give, and nothing about what was asked for.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


def raise_limit() -> None:
    """Raise the soft limit to the hard one: it is low only for programs that use select(2) (systemd.exec(5), LimitNOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_logs() -> int:
    """Logs that may be open at a time; further ones are opened for each look."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if soft == resource.RLIM_INFINITY else max(4, min((soft - _OWN) // 2, 4096))


def shortage(error: OSError) -> str:
    """Why nothing could be opened, if that is the lack of descriptors, memory or threads; else empty."""
    if error.errno not in _SHORTAGE:
        return ""
    what = {errno.EMFILE: "file descriptor", errno.ENFILE: "file descriptor", errno.ENOMEM: "memory"}
    return f"no {what.get(error.errno or 0, 'thread')} is left ({error.strerror}); it is tried again"
