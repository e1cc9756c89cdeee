"""Whether a folder is one's own: whoever may write it, or anything on the way to it, may put something else in a file's place."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from sentinel.files.walk import open_root, walk
from sentinel.model.text import clean


class NotOwn(Exception):
    """Others could replace what is in the folder. The text says who, as the second half of a sentence."""


def check_folder(path: str) -> None:
    """Raises NotOwn unless only root and we may write the folder and whatever leads to it, and OSError if it cannot be reached.

    A sticky folder may be on the way, such as /tmp, but not the folder itself: another user may take any name in it first.
    """
    # In a user namespace without root (a user unit's sandbox), root's folders show the id of everybody who has none there.
    owner = Owner(*(() if _has_root() else (_nobody(),)))
    root = open_root()
    try:
        found = walk(path, root, root, owner.judge_passed, owner.judge_link)
    finally:
        os.close(root)
    try:
        Owner().judge(found.fd, found.status)
    finally:
        found.close()


class Owner:
    """Root and us, and `others` where they are trusted."""

    def __init__(self, *others: int) -> None:
        self._trusted = {0, os.geteuid(), *others}

    def judge_passed(self, fd: int, status: os.stat_result) -> None:
        """A folder that only one entry is taken from. Where it is sticky, only the owners of the entry and of the folder,
        who are judged, can rename, remove or replace that entry (unlink(2), EPERM).
        """
        if status.st_mode & stat.S_ISVTX:
            self.judge_link(fd, status, status)
        else:
            self.judge(fd, status)

    def judge(self, fd: int, status: os.stat_result) -> None:
        """A folder or file that no one else may write."""
        self.judge_link(fd, status, status)
        by_group = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
        if status.st_mode & stat.S_IWOTH or by_group:
            raise NotOwn(f"others than root and you may write {_where(fd)}")

    def judge_link(self, fd: int, status: os.stat_result, folder: os.stat_result) -> None:
        """A symbolic link, or anything else, that belongs to no one else."""
        del folder
        if status.st_uid not in self._trusted:
            raise NotOwn(f"{_where(fd)} belongs to another user ({status.st_uid})")


def _where(fd: int) -> str:
    return clean(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - may hold what no Path keeps


def _has_root() -> bool:
    """Whether root has an id in this user namespace (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return True
    return any(line.split()[1] == "0" for line in lines if line.strip())


def _nobody() -> int:
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 65534


def _is_own_group(group: int) -> bool:
    """A group of which only we are a member: distributions give each user one, and make files writable for it."""
    me = os.geteuid()
    try:
        names = {pwd.getpwuid(user).pw_name for user in (0, me)}
        others = set(grp.getgrgid(group).gr_mem) - names
    except KeyError:
        return False
    return not others and all(user.pw_uid in (0, me) for user in pwd.getpwall() if user.pw_gid == group)
