"""From the write of a log line to the arrival of its alert on journald's socket, through the real daemon.

The daemon follows a log file; a rule of bench/rules fires with one line and ends with the next. The clock runs from just before
write(2) to just after recv(2) in another process, so both processes' wake-ups count.
"""

from __future__ import annotations

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

ALERTS = 400
QUICK_ALERTS = 200
TARGET_MS = 20.0
GOAL_MS = 5.0
_SLEEPS = b"0.01.232.363 I srv  handle_sleep: server is entering sleeping state\n"
_WAKES = b"0.02.734.703 I srv  handle_sleep: server is exiting sleeping state\n"
#: Longest wait for one alert, seconds: well above a second, at which files are looked at without inotify.
_PATIENCE = 10.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        log = folder / "server.log"
        log.touch()
        config = [f'rules = ["{HERE}/rules"]', "discover = false", "[[server]]", 'name = "bench"', f'log = "{log}"']
        with daemon(folder, config) as running:
            fired = _alerts(running, log, QUICK_ALERTS if quick else ALERTS)
    millis = [seconds * 1e3 for seconds in fired]
    return [
        below("line written to alert received, p99", percentile(millis, 0.99), TARGET_MS, GOAL_MS, "ms"),
        Figure("  median", f"{median(millis):.3g} ms", note=f"{len(millis)} alerts; the slowest took {max(millis):.3g} ms"),
    ]


def _alerts(running: Daemon, log: Path, wanted: int) -> list[float]:
    """Seconds that each alert took."""
    times: list[float] = []
    phase = random.Random(7)
    running.journal.settimeout(_PATIENCE)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        # The first is slow: the log is opened at its own pace after the start.
        for number in range(wanted + 1):
            took = _one(running, fd, _SLEEPS, b"SENTINEL_STATE=firing\n")
            if number:
                times.append(took)
            _one(running, fd, _WAKES, b"SENTINEL_STATE=resolved\n")
            # Out of step with what the daemon does once a second.
            time.sleep(phase.uniform(0.005, 0.025))
    finally:
        os.close(fd)
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
