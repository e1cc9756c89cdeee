"""Memory pressure in a control group at the daemon's own limit (MemoryMax of its unit)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.daemon import REPO, daemon, wait_for
from faults.lines import SLEEPS, WAKES, account, numbered, write_rules
from faults.outcome import Outcome

_GROUPS = Path("/sys/fs/cgroup/memory")
_MB = 1 << 20
#: What another process of the group holds, so that the daemon lives at the limit: the limit less this is what it has.
_ROOM = 88 * _MB
_HOG = (
    "import mmap, sys, time; size = int(sys.argv[1]); m = mmap.mmap(-1, size); m.write(b'x' * size); "
    "print('', flush=True); time.sleep(1e6)"
)


def limit() -> int:
    """MemoryMax of the unit, bytes."""
    text = (REPO / "systemd" / "sentinel.service").read_text(encoding="utf-8")
    value = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("MemoryMax="))
    return int(value.removesuffix("M")) * _MB


@contextmanager
def _group(most: int) -> Iterator[Path]:
    group = _GROUPS / f"faults-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(most))
        yield group
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)


def pressure(*, short: bool) -> Outcome:
    """The group is full to the limit all the while; lines pour in, and an alert is due."""
    most = limit()
    row = Outcome(
        f"a control group of {most // _MB} MB, the unit's limit, kept full by another process and by the pages of the log"
    )
    if os.geteuid() != 0 or not (_GROUPS / "memory.limit_in_bytes").exists():
        row.skipped = "needs root and the memory controller of cgroup v1"
        return row
    lines = 20_000 if short else 200_000
    with tempfile.TemporaryDirectory(prefix="faults-memory-") as name, _group(most) as group:
        log = Path(name) / "server.log"
        log.touch()
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        with daemon(top=[write_rules(Path(name) / "rules")], servers={"mine": log}, wrap=enter) as one:
            one.start()
            hog = subprocess.Popen([*enter, sys.executable, "-c", _HOG, str(most - _ROOM)], stdout=subprocess.PIPE)
            try:
                assert hog.stdout is not None
                hog.stdout.readline()
                # Pages of a file fill what is left, so that every page more has to be made room for.
                subprocess.run(
                    [*enter, "dd", "if=/dev/zero", f"of={name}/ballast", "bs=1M", "count=128", "status=none"], check=True
                )
                blob = b"".join(numbered(n) for n in range(1, lines + 1)) + SLEEPS
                writer = subprocess.Popen([*enter, "tee", "-a", str(log)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
                begin = time.monotonic()
                writer.communicate(blob)
                entry = one.await_entry("fault-1", "firing", "mine", within=300)
                row.well_after = entry.at - begin
                wrong = account(one.signals("mine"), lines)
                row.expect(not wrong, wrong)
                with log.open("ab") as file:
                    file.write(WAKES)
                one.await_entry("fault-1", "resolved", "mine", within=30)
                failed = int((group / "memory.failcnt").read_text())
                peak = int((group / "memory.max_usage_in_bytes").read_text())
                control = (group / "memory.oom_control").read_text()
                kills = int(next((line.split()[1] for line in control.splitlines() if line.startswith("oom_kill ")), "0"))
                row.expect(one.process is not None and one.process.poll() is None, "the daemon was killed")
                row.expect(kills == 0, f"{kills} OOM kills in the group")
                row.expect(peak > most * 0.95, f"no pressure: the group used {peak // _MB} MB at most")
                row.notes.append(f"{peak / _MB:.0f} MB at most in the group, the limit was hit {failed:,} times, no kill")
                row.notes.append(f"the daemon: {one.footprint()['pss']:.0f} MB (PSS)")
                row.said = entry.message
                row.lost = wrong or f"nothing: {lines:,} lines, each taken once, and both alerts"
                wait_for(lambda: one.get("/v1/status"), "it answers", 10)
            finally:
                hog.kill()
                hog.wait()
    return row
