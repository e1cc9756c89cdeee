"""The socket file: its owner, its mode, and how to handle an existing one.

A lock file beside the socket shows whether another daemon runs: the lock is released when its process exits, also on kill -9,
while a socket file stays. Without it two daemons starting together could each take the other's new socket for a stale one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from sentinel.files.own_folder import NotOwn, check_folder

#: The backlog: connections that the kernel queues, in their order, until they are accepted. Who comes beyond it waits, or is
#: refused where it does not (EAGAIN): with 64 that was everybody while forty users knocked.
BACKLOG = 256
#: sun_path of unix(7), less the final zero byte.
_LONGEST_PATH = 107

#: As a service: the socket's group may read. For a user's own daemon: only the user.
MODE_SERVICE = 0o660
MODE_USER = 0o600


class SocketUnsafe(Exception):
    """Others may write the socket's folder, so that they could take its place. The text is one sentence with the remedy."""


class SocketInUse(Exception):
    """The path is in use, or not usable for a socket. The text is one sentence: where, why, and the remedy."""


@dataclass(slots=True)
class Listener:
    """A listening socket. `close` removes its file, unless systemd created it (`path` is None then)."""

    socket: socket.socket
    path: Path | None = None
    lock: int = -1
    #: device and inode of the socket's file
    identity: tuple[int, int] = (0, 0)

    def is_there(self) -> bool:
        """Whether a client that connects to the path reaches this socket."""
        if self.path is None:
            return True
        try:
            status = self.path.lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def close(self) -> None:
        """Stop listening and remove the file if it is still ours."""
        if self.path is not None and self.is_there():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.socket.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def listen(path: Path, mode: int = MODE_USER) -> Listener:
    """Listen on `path`, replacing the file of a dead daemon.

    Raises SocketInUse; SocketUnsafe, and OSError if this user may not write there: a daemon without a socket can still deliver
    alerts.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SocketInUse(f"the socket path {path} is longer than {_LONGEST_PATH} bytes; choose a shorter one")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        check_folder(str(path.parent.absolute()))
    except NotOwn as why:
        raise SocketUnsafe(
            f"not listening on {path}: {why}, and another program could answer there in sentinel's place; correct the folder's "
            "owner and mode, or set socket to a path in a folder of its own"
        ) from None
    lock = _lock(path)
    try:
        bound = _bind(path, mode)
        status = path.lstat()
        return Listener(bound, path, lock, (status.st_dev, status.st_ino))
    except (OSError, SocketInUse):
        os.close(lock)
        raise


def _lock(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise _in_use(path) from error
    return lock


def _bind(path: Path, mode: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SocketInUse(f"{path} exists and is no socket; move it away or choose another path")
        if _answers(path):
            raise _in_use(path)
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    # The umask is set before bind, so that no other user can connect in between.
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except BlockingIOError:
            # EAGAIN: a process listens, but its backlog is full.
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _in_use(path: Path) -> SocketInUse:
    return SocketInUse(f"another sentinel already answers at {path}; stop it first (systemctl stop sentinel) or use that one")
