"""Memory over ten million lines in 24 hours of virtual time: a server that starts, serves and is restarted each hour.

One process: lines split, events found, facts kept, every shipped rule judged, a tick each second. What counts is how much the
anonymous memory grows from the first million lines to the last.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.daemon import compiled  # noqa: E402
from bench.figure import Figure, below  # noqa: E402
from bench.throughput import recorded, serving  # noqa: E402

LINES, QUICK_LINES = 10_000_000, 500_000
HOURS, QUICK_HOURS = 24, 2
#: MB for each million lines after the first tenth
TARGET = 0.2
_BEGAN = 1_700_000_000.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure, in a process of its own."""
    if not recorded():
        return [Figure("memory over time", "-", note="no recorded logs; set SENTINEL_CORPUS to a folder with logs/*.log")]
    lines, hours = (QUICK_LINES, QUICK_HOURS) if quick else (LINES, HOURS)
    command = [sys.executable, str(HERE / "steady.py"), "--child", str(lines), str(hours)]
    said = subprocess.run(command, env=compiled(), capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(said.stderr[-2000:])
    first, last, read, seconds = map(float, said.stdout.split())
    note = f"{read:,.0f} lines, {hours} hours of virtual time, {seconds:.0f} s of CPU; "
    note += f"{first:.1f} MB after a tenth, {last:.1f} MB at the end"
    return [below("memory per million lines", (last - first) / (0.9 * read / 1e6), TARGET, TARGET, "MB", note)]


def child(lines: int, hours: int) -> None:
    """Prints MB after a tenth and at the end, lines read, seconds of CPU time."""
    from sentinel.daemon.malloc import give_back
    from sentinel.engine.engine import Engine
    from sentinel.engine.log.lines import LineSplitter
    from sentinel.model.entity import Entity
    from sentinel.model.reading import LogLines, Tick
    from sentinel.rulefiles.files import RuleFiles

    def anonymous() -> float:
        gc.collect()
        give_back()
        rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss_Anon:")) * 1024 / 1e6

    ruleset = RuleFiles().load().ruleset
    if ruleset is None:
        raise SystemExit("the shipped rules have mistakes")
    start, served = serving(recorded())
    rows = served.splitlines(keepends=True)
    each = -(-lines // (hours * 3600))
    engine, server, splitter = Engine(ruleset), Entity("server", "bench"), LineSplitter()
    first, at_row = 0.0, 0
    seconds = hours * 3600
    for second in range(seconds):
        at = _BEGAN + second
        data = start if second % 3600 == 0 else b""
        for _ in range(each):
            data += rows[at_row]
            at_row = (at_row + 1) % len(rows)
        data = splitter.feed(data)
        engine.step(LogLines(at, "log", server, data, first=engine.intake.lines_read + 1))
        engine.step(Tick(at))
        if second == seconds // 10:
            first = anonymous()
    print(first, anonymous(), engine.intake.lines_read, time.process_time())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), int(sys.argv[3]))
    else:
        from bench.figure import table

        print(table(run(quick="--quick" in sys.argv)))
