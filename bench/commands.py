"""What commands cost: `sentinel status` of a daemon with one server, and loading the shipped rules. CPU time, the least of some.

Rules are loaded twice: as the first time on a machine, and as every later time, when a decoded form is kept.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from bench.daemon import compiled, daemon  # noqa: E402
from bench.figure import Figure, below  # noqa: E402
from bench.throughput import cost  # noqa: E402

ROUNDS, QUICK_ROUNDS = 15, 5
STATUS_TARGET, LOAD_TARGET = 75.0, 0.12
_STARTED = (
    b"0.00.207.227 I srv  llama_server: model loaded\n0.00.207.233 I srv  llama_server: listening on http://127.0.0.1:8080\n"
)


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        log = folder / "server.log"
        log.write_bytes(_STARTED)
        config = ["discover = false", "[[server]]", 'name = "bench"', f'log = "{log}"']
        with daemon(folder, config):
            command = [sys.executable, "-m", "sentinel", "status", "--socket", str(folder / "socket")]
            # 3: nothing was heard yet of what it asks for
            status = min(cost(command, compiled(), (0, 1, 2, 3)).cpu for _ in range(rounds)) * 1e3
    # Not in a folder that everybody may write to: there nothing is kept.
    (ROOT / ".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / ".cache") as name:
        loading = [sys.executable, str(HERE / "commands.py"), "--load"]
        first, *later = (float(cost(loading, {**compiled(), "XDG_CACHE_HOME": name}).output) for _ in range(rounds))
    return [
        below("sentinel status: CPU", status, STATUS_TARGET, STATUS_TARGET, "ms"),
        below("loading the shipped rules: CPU", min(later), LOAD_TARGET, LOAD_TARGET, "s", f"{first:.2f} s the first time"),
    ]


def load() -> float:
    """Seconds of CPU time that it takes to load the rules, all that it needs imported before."""
    from sentinel.cli.rules.loading import load_once
    from sentinel.rulefiles.files import RuleFiles

    before = time.process_time()
    if load_once(RuleFiles()).ruleset is None:
        raise SystemExit("the shipped rules have mistakes")
    return time.process_time() - before


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        print(load())
    else:
        from bench.figure import table

        print(table(run(quick="--quick" in sys.argv)))
