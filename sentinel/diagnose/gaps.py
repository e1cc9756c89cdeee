"""Why files leave signals unknown, and what would provide them, the most useful first."""

from __future__ import annotations

from sentinel.model.entity import Unknown

ARGV = Unknown("a log does not show it", "--argv 'COMMAND', the server's command line")
NO_KERNEL_LOG = Unknown("no kernel log was given", "--kernel-log FILE, from journalctl -k -b > FILE")
#: printed by a server at a higher verbosity
DETAIL = Unknown("the log that was given does not say it", "a log of a server started with -lv 4")
LIVE = Unknown("a log does not show it", "sentinel running beside the server (sentinel run)")
NO_LOG = Unknown("no log of the server was given")
REMEDIES = tuple(gap.remedy for gap in (ARGV, NO_KERNEL_LOG, DETAIL, LIVE))
