"""Names of systemd units among the names of servers, and the command that shows their journal."""

from __future__ import annotations

import re
import shlex

_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")


def is_unit(entity: str) -> bool:
    """Whether a server's name is that of its unit."""
    return _UNIT.fullmatch(entity) is not None


def journal_query(entity: str) -> str:
    """The command that shows a server's log together with its alerts; empty if no unit runs it."""
    if not is_unit(entity):
        return ""
    return f"journalctl -x {shlex.quote(f'_SYSTEMD_UNIT={entity}')} + {shlex.quote(f'OBJECT_SYSTEMD_UNIT={entity}')}"
