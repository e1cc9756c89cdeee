"""Faults against the real daemon, one table as their result: what was lost, what was said, how long until all was well again.

make faults                          every fault, about a quarter of an hour
python faults/run.py --short         each in its short form
python faults/run.py --only killed   one of them, or several
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults import clock, disk, gpu, journal, kernel, kill, logs, memory, rules, servers, soak
from faults.daemon import NotWell
from faults.outcome import Outcome, markdown, table


class Fault(Protocol):
    """One fault; raises NotWell where what should come does not."""

    def __call__(self, *, short: bool) -> Outcome: ...


FAULTS: dict[str, Fault] = {
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


def attempt(name: str, *, short: bool, say: Callable[[str], None] = lambda _text: None) -> Outcome:
    """Try one fault. A bug of sentinel, or something that never came, is a failure of its row and not the end of the campaign."""
    say(f"{name} ...")
    begin = time.monotonic()
    fault = FAULTS[name]
    try:
        row = fault(short=short)
    except NotWell as why:
        row = Outcome(str(fault.__doc__).strip(), wrong=[str(why)], lost="see below")
    except (OSError, subprocess.SubprocessError) as error:
        row = Outcome(str(fault.__doc__).strip(), skipped=f"could not be tried here: {error}")
    say(f"{name}: {row.verdict} in {time.monotonic() - begin:.0f} s{''.join(f'; {wrong}' for wrong in row.wrong)}")
    return row


def main() -> int:
    """Try what was asked for; 1 where something was lost, or not said, or did not get well."""
    parser = argparse.ArgumentParser(description="Faults against the real daemon.")
    parser.add_argument("--short", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), help="some of them")
    parser.add_argument("--markdown", type=Path, help="write the table to this page too")
    arguments = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    begin = time.monotonic()
    names = [name for name in FAULTS if arguments.only is None or name in arguments.only]
    rows: list[tuple[str, Outcome]] = []
    for name in names:
        rows.append((name, attempt(name, short=arguments.short, say=say)))
        if arguments.markdown:
            # After each: a campaign that is ended early has what it had.
            arguments.markdown.write_text(_page(rows), encoding="utf-8")
    print(table(rows))
    print(f"\n{len(rows)} faults in {(time.monotonic() - begin) / 60:.1f} min: ", end="")
    print(", ".join(f"{sum(row.verdict == v for _, row in rows)} {v}" for v in ("pass", "FAIL", "skipped")))
    return int(any(row.wrong for _, row in rows))


def _page(rows: list[tuple[str, Outcome]]) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"""# Faults

What `make faults` printed on {day} on {os.cpu_count()} processors (load {os.getloadavg()[0]:.1f} at the end). Each fault is done
to the real daemon, `python -m sentinel run`, whose alerts go to a socket that stands in for journald and keeps each entry. The
command ends with 1 where something was lost, delivered twice without a reason, not said, or not well again.
`python faults/run.py --only NAME` does one of them.

{markdown(rows)}
"""


if __name__ == "__main__":
    sys.exit(main())
