"""From the write of a log line to the arrival of its alert on journald's socket, through the real daemon.

The daemon follows a log file; a rule of bench/rules fires with one line and ends with the next. The clock runs from just before
write(2) to just after recv(2) in another process, so both processes' wake-ups count.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.daemon import Daemon, daemon  # noqa: E402
from bench.figure import Figure, below, percentile  # noqa: E402

#: An alert that comes and goes five times in ten minutes is flapping and is told no more, so each server has two: one that opens
#: its log, and one that is measured. As many servers as this to a daemon, and as many daemons.
SERVERS = 4
DAEMONS, QUICK_DAEMONS = 50, 12
TARGET_MS = 20.0
GOAL_MS = 5.0
_SLEEPS = b"0.01.232.363 I srv  handle_sleep: server is entering sleeping state\n"
_WAKES = b"0.02.734.703 I srv  handle_sleep: server is exiting sleeping state\n"
#: Longest wait for one alert, seconds: well above a second, at which files are looked at without inotify.
_PATIENCE = 10.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    fired: list[float] = []
    phase = random.Random(7)
    for _ in range(QUICK_DAEMONS if quick else DAEMONS):
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            fired += _alerts(Path(name), phase)
    millis = [seconds * 1e3 for seconds in fired]
    return [
        below("line written to alert received, p99", percentile(millis, 0.99), TARGET_MS, GOAL_MS, "ms"),
        Figure("  median", f"{median(millis):.3g} ms", note=f"{len(millis)} alerts; the slowest took {max(millis):.3g} ms"),
    ]


def _alerts(folder: Path, phase: random.Random) -> list[float]:
    """Seconds that each alert of one daemon took."""
    logs = [folder / f"{number}.log" for number in range(SERVERS)]
    config = [f'rules = ["{HERE}/rules"]', "discover = false"]
    for number, log in enumerate(logs):
        log.touch()
        config += ["[[server]]", f'name = "bench-{number}"', f'log = "{log}"']
    times: list[float] = []
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(daemon(folder, config))
        running.journal.settimeout(_PATIENCE)
        files = [os.open(log, os.O_WRONLY | os.O_APPEND) for log in logs]
        for file in files:
            stack.callback(os.close, file)
        for file in files:
            # The first is slow: a log is opened at its own pace after the start.
            _one(running, file, _SLEEPS, b"SENTINEL_STATE=firing\n")
            _one(running, file, _WAKES, b"SENTINEL_STATE=resolved\n")
        for file in files:
            # Out of step with what the daemon does once a second.
            time.sleep(phase.uniform(0.005, 0.025))
            times.append(_one(running, file, _SLEEPS, b"SENTINEL_STATE=firing\n"))
            _one(running, file, _WAKES, b"SENTINEL_STATE=resolved\n")
    return times


def _one(running: Daemon, fd: int, line: bytes, state: bytes) -> float:
    begin = time.perf_counter()
    os.write(fd, line)
    try:
        while True:
            entry = running.journal.recv(1 << 20)
            if b"SENTINEL_RULE=bench-latency\n" in entry and state in entry:
                return time.perf_counter() - begin
    except TimeoutError:
        raise RuntimeError(f"no alert within {_PATIENCE:g} s of its line") from None


if __name__ == "__main__":
    from bench.figure import table

    print(table(run(quick="--quick" in sys.argv)))
