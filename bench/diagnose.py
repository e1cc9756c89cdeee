"""`sentinel diagnose` of a log in which a server starts again and again, beside mtail with eight patterns on the same file.

As many lines as are judged at once (`model/input_limits.py`), recorded runs one after the other: a start each 90 lines or so, and
at each end the hold times of alerts run out. User + system CPU time of the whole process, the least of all rounds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.daemon import compiled  # noqa: E402
from bench.figure import Figure, below  # noqa: E402
from bench.throughput import compose, cost, mtail_of, recorded, text_of  # noqa: E402
from sentinel.cli.log_files import MOST_SECONDS  # noqa: E402
from sentinel.model.input_limits import MOST_JUDGED_LINES  # noqa: E402

QUICK_LINES = 25_000
ROUNDS, QUICK_ROUNDS = 2, 1
TARGET = 4.0
#: 0 fine, 1 warning, 2 critical: a log of failures is one
_CODES = (0, 1, 2)


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    logs = recorded()
    if not logs:
        return [Figure("diagnose", "-", note="no recorded logs; set SENTINEL_CORPUS to a folder with logs/*.log")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "server.log"
        data = b"".join(map(text_of, logs))
        wanted = QUICK_LINES if quick else MOST_JUDGED_LINES - data.count(b"\n")
        lines = compose(file, data, wanted)
        rounds = QUICK_ROUNDS if quick else ROUNDS
        command = [sys.executable, "-m", "sentinel", "diagnose", "--json", str(file)]
        ours = min((cost(command, compiled(), _CODES) for _ in range(rounds)), key=lambda one: one.cpu)
        name = f"sentinel diagnose of {lines:,} lines of recorded runs: CPU"
        if '"runs"' not in ours.output:
            return [Figure(name, "-", f"<= {MOST_SECONDS:g} s", False, "gave up: nothing is judged for longer")]
        mtail = shutil.which("mtail")
        if mtail is None:
            return [Figure(name, f"{ours.cpu:.1f} s", note="mtail is not installed, so there is nothing to compare with")]
        theirs = min(cost(mtail_of(mtail, file)).cpu for _ in range(rounds))
        return [
            Figure(name, f"{ours.cpu:.1f} s"),
            below("  times mtail's CPU time", ours.cpu / theirs, TARGET, TARGET, "", f"mtail {theirs:.2f} s"),
        ]


if __name__ == "__main__":
    from bench.figure import table

    print(table(run(quick="--quick" in sys.argv)))
