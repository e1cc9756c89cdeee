"""Walks a path component by component, so that each folder and each symbolic link on the way can be judged before it is used.

Every object is opened with O_PATH first: that opens no device, takes no line from a pipe, and what was judged is what is used.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sentinel.model.input_limits import MOST_FOLDERS_DEEP, MOST_LINKS, MOST_STEPS

#: statfs(2)
_PROC_SUPER_MAGIC = 0x9FA0
#: NFS, SMB (three), Coda, AFS, 9P, Ceph, Lustre, OCFS2, GFS2, FUSE, autofs
_OF_OTHERS = frozenset(
    {
        0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x73757245, 0x5346414F, 0x01021997, 0x00C36400, 0x0BD00BD0, 0x7461636F,
        0x01161970, 0x65735546, 0x0187,
    }
)  # fmt: skip
_O_OBJECT: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)

#: Judges a folder by its descriptor (O_PATH) and status; raises OSError to end the walk.
JudgeFolder = Callable[[int, os.stat_result], None]
#: Judges a symbolic link by its descriptor, its status, and that of the folder that it is in.
JudgeLink = Callable[[int, os.stat_result, os.stat_result], None]


@dataclass(slots=True)
class Found:
    """The object at the end of a path: `fd` is it, -1 if it is not there, `folder` the folder that it is really in, `name` its
    name there.
    """

    fd: int
    folder: int
    name: str

    @property
    def status(self) -> os.stat_result:
        """Of the object. Raises FileNotFoundError if it is not there."""
        if self.fd < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
        return os.fstat(self.fd)

    def close(self) -> None:
        """Close both descriptors."""
        if self.fd >= 0:
            os.close(self.fd)
        os.close(self.folder)


def walk(path: str, root: int, start: int, folder: JudgeFolder, link: JudgeLink, *, may_be_missing: bool = False) -> Found:
    """Resolve `path`: absolute from `root`, which ``..`` never leaves, relative from `start`. `folder` judges each folder before
    anything is looked up in it, `link` each symbolic link before it is followed. Raises OSError; if `may_be_missing`, not where
    only the last component is not there. Raises ValueError for what is no name.
    """
    if "\0" in path:
        raise ValueError("embedded null byte")
    # All folders from the root (or the start) down to here: `..` goes back in them, whatever is renamed meanwhile.
    stack = [os.dup(root if path.startswith("/") else start)]
    pending, links, steps, name = deque(path.split("/")), 0, 0, "."
    above = -1
    try:
        while pending:
            word = pending.popleft()
            steps += 1
            if steps > MOST_STEPS or len(stack) > MOST_FOLDERS_DEEP:
                raise OSError(errno.ENAMETOOLONG, f"more than {MOST_FOLDERS_DEEP} folders within each other", path)
            if word in ("", "."):
                continue
            here = stack[-1]
            around = os.fstat(here)
            folder(here, around)
            if word == "..":
                _up(stack, root)
                continue
            try:
                fd = os.open(word, _O_OBJECT, dir_fd=here)
            except FileNotFoundError:
                if may_be_missing and not any(pending):
                    return Found(-1, stack.pop(), word)
                raise
            stack.append(fd)
            status = os.fstat(fd)
            if not stat.S_ISLNK(status.st_mode):
                name = word
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            link(fd, status, around)
            if on_procfs(fd):
                # /proc/self is whoever looks, and what /proc/PID/fd/N shows is no path.
                raise OSError(errno.EACCES, "it leads through /proc", path)
            target = os.readlink("", dir_fd=fd)
            os.close(stack.pop())
            if target.startswith("/"):
                while stack:
                    os.close(stack.pop())
                stack.append(os.dup(root))
            pending.extendleft(reversed(target.split("/")))
        fd = stack.pop()
        above = stack.pop() if stack else os.dup(fd)
        return Found(fd, above, name)
    finally:
        while stack:
            os.close(stack.pop())


def _up(stack: list[int], root: int) -> None:
    if len(stack) > 1:
        os.close(stack.pop())
    elif not os.path.sameopenfile(stack[0], root):
        # above the folder that the walk began in
        up = os.open("..", _O_OBJECT | os.O_DIRECTORY, dir_fd=stack[0])
        os.close(stack.pop())
        stack.append(up)


def on_procfs(fd: int) -> bool:
    """Whether an open file is in a /proc. Raises OSError."""
    return _file_system(fd) == _PROC_SUPER_MAGIC


def on_network(path: str) -> bool:
    """Whether a path is on a file system of another machine or program, which may hang. Raises OSError; it may hang itself."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _file_system(fd) in _OF_OTHERS
    finally:
        os.close(fd)


def _file_system(fd: int) -> int:
    # f_type is the first word of struct statfs on every platform of Linux; the rest is not read.
    answer = (ctypes.c_long * 32)()
    if _libc.fstatfs(fd, ctypes.byref(answer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(answer[0]) & 0xFFFFFFFF


def reopen(fd: int) -> int:
    """The same object, opened for reading. Raises OSError."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def open_root() -> int:
    """The root folder of our own. Raises OSError."""
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
