"""Every figure with its target: throughput, latency, cost at rest, cost of a step, of checkpoints, memory
of the other units.

make bench                          everything, about four minutes
python bench/run.py --quick         less exact, about one minute
python bench/run.py --only idle     one of throughput, latency, idle, steps, checkpoints, units
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import checkpoints, idle, latency, steps, throughput, units
from bench.figure import Figure, table

BENCHES = {
    "throughput": throughput.run,
    "latency": latency.run,
    "idle": idle.run,
    "steps": steps.run,
    "checkpoints": checkpoints.run,
    "units": units.run,
}


def main() -> int:
    """Measure what was asked for; 1 where a target was missed."""
    parser = argparse.ArgumentParser(description="Measure sentinel; each figure with its target.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", choices=sorted(BENCHES), help="one benchmark")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for name, bench in BENCHES.items():
        if arguments.only in (None, name):
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures += bench(quick=arguments.quick)
    print(table(figures))
    return int(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
