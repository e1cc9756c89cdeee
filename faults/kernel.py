"""/dev/kmsg overrun: the kernel writes faster than anybody reads, and its ring is overwritten."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from faults.daemon import daemon, wait_for
from faults.outcome import Outcome

_LIMIT = Path("/proc/sys/kernel/printk_devkmsg")
#: An OOM kill as the kernel writes it, by a program, which does not count; what counts is that reading goes on.
_RECORD = b"<12>sentinel fault campaign: record %d " + b"x" * 400 + b"\n"


def overrun(*, short: bool) -> Outcome:
    """The daemon stands still while the ring is overwritten several times."""
    records = 20_000
    row = Outcome(
        f"/dev/kmsg: {records:,} records written while the daemon stood still (SIGSTOP), so that the ring was overwritten"
    )
    if short or os.geteuid() != 0 or not os.access("/dev/kmsg", os.W_OK) or not os.access(_LIMIT, os.W_OK):
        row.skipped = "overwrites the machine's kernel log: only in full, as root, where /dev/kmsg may be written"
        return row
    with daemon() as one:
        one.start()
        wait_for(lambda: one.source("kmsg").get("health") == "up", "the kernel's log is read")
        before = _LIMIT.read_text().split()[0]
        one.send(signal.SIGSTOP)
        try:
            _LIMIT.write_text("on\n")
            with Path("/dev/kmsg").open("wb", buffering=0) as kmsg:
                for number in range(records):
                    kmsg.write(_RECORD % number)
        finally:
            _LIMIT.write_text(f"{before}\n")
            one.send(signal.SIGCONT)
        begin = time.monotonic()
        wait_for(lambda: one.sentences("warning", "kernel"), "that records were lost is reported", 30)
        row.well_after = time.monotonic() - begin
        row.expect(one.source("kmsg").get("health") == "up", "the kernel's log is not read any more")
        warned = one.sentences("warning", "kernel")
        row.expect(len(warned) == 1, f"not one message but {len(warned)}")
        row.said = "; ".join(warned)
        row.lost = "what the kernel had overwritten, which is said with its number"
        row.expect(not one.traceback(), "a traceback in its log")
    return row
