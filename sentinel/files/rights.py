"""What a process may do with a file, by the rules of the kernel (path_resolution(7), acl(5), capabilities(7)): from its user, its
groups and its capabilities, without being it. What a security module (SELinux, AppArmor) forbids is not known here.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.input_limits import MOST_STATUS_BYTES

#: permission bits
SEARCH, READ = 1, 4
_ACL = "system.posix_acl_access"
#: posix_acl_xattr.h
_ACL_VERSION = 2
_USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x02, 0x04, 0x08, 0x10, 0x20
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH in a CapEff mask
_READS_ALL = 1 << 1 | 1 << 2


@dataclass(frozen=True, slots=True)
class Ids:
    """Ranges of user or group ids, (first, count), as we see them."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, number: int) -> bool:
        return any(first <= number < first + count for first, count in self.ranges)


_ALL = Ids(((0, 1 << 32),))


@dataclass(frozen=True, slots=True)
class Rights:
    """`user` is -1 when unknown: such a process may what everyone may. With a capability that overrides modes it may read what
    belongs to `over_users` and `over_groups`: to anybody, or to the ids of its own user namespace.
    """

    user: int
    groups: frozenset[int]
    over_users: Ids = Ids()
    over_groups: Ids = Ids()

    @classmethod
    def of(cls, process: Path) -> Rights:
        """Of the process in /proc/PID."""
        try:
            status = _fields(_read(process / "status"))
            user, groups, capable, of_its_own = _credentials(status)
        except (OSError, ValueError, KeyError, IndexError):
            return cls(-1, frozenset())
        if not capable:
            return cls(user, groups)
        try:
            if _namespace(process) == _namespace(process.parent / "self"):
                return cls(user, groups, _ALL, _ALL) if of_its_own else cls(user, groups)
            return cls(user, groups, _mapped(_read(process / "uid_map")), _mapped(_read(process / "gid_map")))
        except (OSError, ValueError):
            # Not to be seen by us: root is root wherever it is shown as such.
            return cls(user, groups, _ALL, _ALL) if user == 0 else cls(user, groups)

    @classmethod
    def kept(cls, status: str, *, same_users: bool) -> Rights:
        """Of a process that may be gone by now, from its /proc/PID/status; `same_users`: its user namespace is ours."""
        try:
            user, groups, capable, of_its_own = _credentials(_fields(status))
        except (ValueError, KeyError, IndexError):
            return cls(-1, frozenset())
        return cls(user, groups, _ALL, _ALL) if same_users and capable and of_its_own else cls(user, groups)

    def may(self, fd: int, status: os.stat_result, wanted: int) -> bool:
        """Whether it may read (READ) or search (SEARCH) the open object."""
        if status.st_uid in self.over_users and status.st_gid in self.over_groups:
            return True
        mode = status.st_mode
        if status.st_uid == self.user:
            return bool(mode >> 6 & wanted)
        if not stat.S_ISLNK(mode) and (entries := _acl(fd)):
            return self._by_acl(entries, status.st_gid, wanted)
        return bool(mode >> (3 if status.st_gid in self.groups else 0) & wanted)

    def _by_acl(self, entries: list[tuple[int, int, int]], group: int, wanted: int) -> bool:
        mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 7)
        for tag, permissions, number in entries:
            if tag == _USER and number == self.user:
                return bool(permissions & mask & wanted)
        in_group = [
            permissions & mask & wanted
            for tag, permissions, number in entries
            if (tag == _GROUP_OBJ and group in self.groups) or (tag == _GROUP and number in self.groups)
        ]
        if in_group:
            return any(in_group)
        return any(permissions & wanted for tag, permissions, _ in entries if tag == _OTHER)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MOST_STATUS_BYTES).decode("utf-8", "replace")


def _credentials(status: dict[str, str]) -> tuple[int, frozenset[int], bool, bool]:
    """User, groups, whether it has a capability that overrides modes, and whether that was given to it by who started it.

    The last of the four ids is what the kernel checks files against (proc(5), credentials(7)). But a set-user-ID program, or one
    whose file has capabilities, acts for whoever started it: a server that had named a log of root's went on as su(1).
    """
    (real, *_, user), (real_group, *_, group) = ([int(one) for one in status[key].split()[:4]] for key in ("Uid", "Gid"))
    lent = real not in (0, user)
    if lent:
        user = real
    if real != 0:
        group = real_group
    groups = frozenset({group, *map(int, status.get("Groups", "").split())})
    effective, ambient = (int(status.get(key, "0"), 16) & _READS_ALL for key in ("CapEff", "CapAmb"))
    return user, groups, bool(effective) and not lent, user == 0 or bool(ambient)


def _fields(text: str) -> dict[str, str]:
    return {key: value for key, colon, value in (line.partition(":") for line in text.splitlines()) if colon}


def _namespace(process: Path) -> str:
    return os.readlink(process / "ns/user")  # noqa: PTH115 - "user:[4026531837]" is no path


def _mapped(text: str) -> Ids:
    """Ids outside of a user namespace, of its uid_map or gid_map (user_namespaces(7)): inside, outside, count."""
    return Ids(tuple((int(line.split()[1]), int(line.split()[2])) for line in text.splitlines() if line.strip()))


def _acl(fd: int) -> list[tuple[int, int, int]]:
    """Tag, permissions and id of each entry of an access control list; empty if there is none."""
    try:
        raw = os.getxattr(f"/proc/self/fd/{fd}", _ACL)
    except OSError:
        return []
    if len(raw) < 4 or struct.unpack_from("<I", raw)[0] != _ACL_VERSION:
        return []
    return list(struct.iter_unpack("<HHI", raw[4 : len(raw) - (len(raw) - 4) % 8]))
