"""Faults against the real daemon, one table as their result: what was lost, what was said, how long until all was well again.

make faults                          every fault, about a quarter of an hour
python faults/run.py --short         each in its short form
python faults/run.py --only killed   one of them, or several
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults import clock, disk, gpu, journal, kernel, kill, logs, memory, rules, servers, soak
from faults.campaign import Campaign, Trial
from faults.outcome import Outcome

FAULTS: dict[str, Trial[Outcome]] = {
    "killed": kill.killed,
    "log-renamed": logs.renamed,
    "log-truncated": logs.truncated,
    "log-copytruncated": logs.copied,
    "log-flood": logs.flood,
    "log-long-line": logs.long_line,
    "journald-stopped": journal.stopped,
    "socket-folder-removed": journal.folder_removed,
    "disk-full": disk.full,
    "disk-read-only": disk.read_only,
    "rocm-smi-broken": gpu.rocm_smi,
    "sysfs-broken": gpu.sysfs,
    "kmsg-overrun": kernel.overrun,
    "memory-pressure": memory.pressure,
    "rules-replaced": rules.replaced,
    "day-of-virtual-time": soak.day,
    "clock-set-by-a-day": clock.set_by_a_day,
    "fifty-servers": servers.fifty,
    "server-restarting": servers.restarting,
}
CAMPAIGN = Campaign(
    "fault",
    FAULTS,
    Outcome,
    ("lost",),
    ("well again after",),
    """\
Each fault is done to the real daemon, `python -m sentinel run`, whose alerts go to a socket that stands in for journald and keeps
each entry. The command ends with 1 where something was lost, delivered twice without a reason, not said, or not well again.""",
)

if __name__ == "__main__":
    sys.exit(CAMPAIGN.main())
