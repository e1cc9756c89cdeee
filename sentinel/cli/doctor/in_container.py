"""What `sentinel doctor` advises in the container image (docs/container.md): a line of the compose file, nothing of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sentinel.cli.doctor.capability import INSTALL, JOURNAL_GROUP, Capability

#: set by the image (packaging/container/Containerfile)
VARIABLE = "SENTINEL_CONTAINER"

_PROCESSES = "give the container SYS_PTRACE and DAC_READ_SEARCH (cap_add); with AppArmor also security_opt: apparmor:unconfined"
_FIXES: Mapping[str, str] = MappingProxyType(
    {
        "state": "give it a volume at /var/lib/sentinel",
        "daemon": "docker compose up -d; what it said: docker logs sentinel",
        "processes": _PROCESSES,
        "other-users": _PROCESSES,
        "log": _PROCESSES,
        "journald": "mount /run/systemd (read-only is enough)",
        "journal": "mount /var/log, /run/log and /etc/machine-id read-only, and give it DAC_READ_SEARCH (cap_add)",
        "kernel-log": "give it /dev/kmsg (devices) and SYSLOG (cap_add)",
        "cgroup": "mount /sys/fs/cgroup read-only, with cgroup: host",
        "starts": "give it the host's processes and network (pid: host, network_mode: host)",
    }
)
#: A log that no right would make readable keeps its own remedy, such as --log-file.
_RIGHTS = ("CAP_SYS_PTRACE", INSTALL, JOURNAL_GROUP)


def translated(row: Capability) -> Capability:
    """The row with the remedy of the image, where the one that it has is for a host."""
    if row.id in ("service", "service-rights"):
        return Capability(row.id, "absent", "sentinel runs in a container of its own image")
    fix = _FIXES.get(kind := row.id.partition(":")[0])
    if fix is None or row.state == "works" or row.id.startswith("daemon:"):
        return row
    if kind in ("processes", "log") and not any(word in row.fix for word in _RIGHTS):
        return row
    return replace(row, fix=fix)
