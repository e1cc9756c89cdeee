"""What a check costs the server: tokens, seconds and processor time, and its share of a day (docs/quality.md).

python eval/quality_cost.py [MODEL...]. Processor time counts: a busy machine doubles
the seconds and not the work.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "demo")]

from real_server import server  # noqa: E402

from eval.quality_mixture import mixture  # noqa: E402
from eval.quality_models import quantized  # noqa: E402
from sentinel.quality.asking import measure, plan  # noqa: E402
from sentinel.quality.http import Address, Client  # noqa: E402

_FLAGS = ("-c", "2048", "-np", "1", "-t", "1", "-ngl", "0", "-fit", "off", "--no-warmup")
_DAY = 86_400
_TICKS = os.sysconf("SC_CLK_TCK")
_MODELS: dict[str, Callable[[], Path]] = {
    **{f"gemma-3-270m {name}": partial(quantized, name) for name in ("F16", "Q8_0", "Q4_K_M", "Q2_K")},
    "mixture F16 (random, 3.6 million)": mixture,
}


def _spent(pid: int) -> float:
    """Seconds of processor time (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _row(name: str, path: Path) -> str:
    with server("-m", str(path), *_FLAGS) as running:
        client = Client(Address("127.0.0.1", running.port), seconds=600)
        # The first question pays for what the server has put off.
        client.post("/completion", {"prompt": "a", "n_predict": 1})
        before, own, began = _spent(running.process.pid), time.process_time(), time.monotonic()
        found = measure(client, plan(client, estimated=False), 1)
        cost, mine, took = _spent(running.process.pid) - before, time.process_time() - own, time.monotonic() - began
    each = cost / found.tokens
    cells = (
        name, f"{found.tokens:,}", f"{took:.0f}", f"{cost:.1f}", f"{each * 1000:.2f}", f"{_DAY / each / 1e6:.1f} million",
        f"{cost / _DAY:.3%}", f"{mine:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print the table."""
    head = (
        "model", "tokens", "s", "server's CPU s", "CPU ms a token", "tokens that one core computes in a day", "share of that",
        "sentinel's CPU s",
    )  # fmt: skip
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for name, make in _MODELS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            print(_row(name, make()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
