"""The interface to the service manager: readiness, watchdog, socket activation (sd_notify(3), sd_listen_fds(3)).

Written by hand, because it is twenty lines and a library would add a compiled dependency. Nothing here raises: a daemon that
systemd did not start, or whose manager is gone, works all the same.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

#: sd_listen_fds(3): passed descriptors start after standard error.
FIRST_LISTEN_FD = 3


def is_booted(root: Path = Path("/")) -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return (root / "run/systemd/system").is_dir()


def to_journal(descriptor: int = 2, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the descriptor leads to the journal, where ``<3>`` before a line sets its priority (sd-daemon(3)).

    JOURNAL_STREAM alone is not enough: a terminal started by a desktop service inherits it (systemd.exec(5)).
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def notify(*assignments: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Notify the service manager, for example ``notify("READY=1", "STATUS=watching 2 servers")``.

    Returns whether it was sent. A newline inside an assignment becomes a space: it would start another assignment, and a
    status may quote a server's name.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    datagram = "\n".join(" ".join(one.splitlines()) for one in assignments).encode("utf-8", "replace")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(datagram, address)
    except OSError:
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Seconds between two ``WATCHDOG=1``: half of systemd's limit (sd_watchdog_enabled(3)); None without a watchdog."""
    if environ.get("WATCHDOG_PID", str(_own(pid))) != str(_own(pid)):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) == 0:
        return None
    return int(text) / 2_000_000


def listen_fds(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> tuple[socket.socket, ...]:
    """Listening unix sockets passed by a socket unit, in its order. Empty if there are none or they are not for this process.

    The descriptors are set close-on-exec, so that commands which the daemon runs do not inherit them.
    """
    if environ.get("LISTEN_PID") != str(_own(pid)):
        return ()
    text = environ.get("LISTEN_FDS", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 4:
        return ()
    passed = []
    for fd in range(FIRST_LISTEN_FD, FIRST_LISTEN_FD + int(text)):
        try:
            os.set_inheritable(fd, False)
            sock = socket.socket(fileno=fd)
        except OSError:
            continue
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM and listening:
            passed.append(sock)
        else:
            sock.detach()
    return tuple(passed)


def _own(pid: int | None) -> int:
    return os.getpid() if pid is None else pid
