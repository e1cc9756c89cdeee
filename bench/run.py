"""Every figure with its target: throughput, latency, cost at rest, of commands, of a step, of checkpoints, of the other units.

make bench                          everything, about six minutes
python bench/run.py --quick         less exact, about two minutes
python bench/run.py --only idle     one of throughput, diagnose, latency, idle, commands, steps, checkpoints, units, many, steady
python bench/run.py --long          also many servers (three minutes) and ten million lines (five minutes)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import checkpoints, commands, diagnose, idle, latency, many, steady, steps, throughput, units
from bench.figure import Figure, table

BENCHES = {
    "throughput": throughput.run,
    "diagnose": diagnose.run,
    "latency": latency.run,
    "idle": idle.run,
    "commands": commands.run,
    "steps": steps.run,
    "checkpoints": checkpoints.run,
    "units": units.run,
    "many": many.run,
    "steady": steady.run,
}
_LONG = frozenset({"many", "steady"})


def main() -> int:
    """Measure what was asked for; 1 where a target was missed."""
    parser = argparse.ArgumentParser(description="Measure sentinel; each figure with its target.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", choices=sorted(BENCHES), help="one benchmark")
    parser.add_argument("--long", action="store_true", help="also those that take minutes each")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for name, bench in BENCHES.items():
        if arguments.only == name or (arguments.only is None and (arguments.long or name not in _LONG)):
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures += bench(quick=arguments.quick)
    print(table(figures))
    return int(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
