"""What one step of the engine costs for each kind of reading: median microseconds, in process, with every shipped rule.

The engine knows one server that is ready and serving. Times are data to it, so the clock of the readings simply advances.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.figure import Figure  # noqa: E402
from sentinel.engine.engine import Engine  # noqa: E402
from sentinel.model.entity import HOST, Entity  # noqa: E402
from sentinel.model.reading import LogLines, Reading, Samples, ServerFound, Tick  # noqa: E402
from sentinel.rulefiles.files import load_paths, shipped  # noqa: E402

STEPS = 2000
QUICK_STEPS = 300
_SERVER = Entity("server", "127.0.0.1:8080")
_BORN = 1_700_000_000.0
_STARTED = b"""0.00.093.860 I srv    load_model: loading model 'models/moe.gguf'
0.00.204.162 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 512, kv_unified = 'true'
0.00.207.227 I srv  llama_server: model loaded
0.00.207.233 I srv  llama_server: listening on http://127.0.0.1:8080
"""
_UNMATCHED = b"0.00.090.372 W srv  llama_server: this can be a security risk (cross-origin attacks)\n"
_MATCHED = (
    b"0.02.187.807 I slot print_timing: id  1 | task 41 |        eval time =    1466.69 ms /   400 tokens "
    b"(    3.68 ms per token,   272.04 tokens per second)\n"
)
_TRUNCATED = b"0.01.296.271 I slot      release: id  3 | task 41 | stop processing: n_tokens = 512, truncated = 1\n"


def _cases() -> dict[str, Callable[[int, float], Reading]]:
    """By name, the reading of step number n at a time."""
    return {
        "LogLines, a line that no pattern wants": lambda _n, at: LogLines(at, "log", _SERVER, _UNMATCHED),
        "LogLines, an event that no rule watches": lambda _n, at: LogLines(at, "log", _SERVER, _MATCHED),
        "LogLines, an event that a rule watches": lambda _n, at: LogLines(at, "log", _SERVER, _TRUNCATED),
        "Samples, nothing changed": lambda _n, at: Samples(at, "process", _SERVER, {"server.gpu_nodes_open": 1}),
        "Samples, a value that rules read changed": lambda n, at: Samples(
            at, "process", _SERVER, {"server.gpu_memory_bytes": (5 << 30) + n}
        ),
        "Tick": lambda _n, at: Tick(at),
        "ServerFound": lambda _n, at: ServerFound(at, "process", _SERVER, 4711, _BORN, {"server.port": 8080}),
    }


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        raise SystemExit("\n".join(str(problem) for problem in problems))
    figures = []
    for name, reading in _cases().items():
        engine = Engine(ruleset)
        engine.step(ServerFound(_BORN, "process", _SERVER, 4711, _BORN, {"server.port": 8080, "server.gpu_nodes_open": 1}))
        engine.step(Samples(_BORN, "host", HOST, {"host.gpu_count": 1, "host.kernel_log_readable": True}))
        engine.step(LogLines(_BORN + 1.0, "log", _SERVER, _STARTED))
        figures.append(Figure(f"step: {name}", f"{_micros(engine, reading, QUICK_STEPS if quick else STEPS):.1f} us"))
    return figures


def _micros(engine: Engine, reading: Callable[[int, float], Reading], steps: int) -> float:
    times = []
    for number in range(steps):
        # A quarter of a second apart: the look at every rule that comes each ten seconds falls on few of them.
        taken = reading(number, _BORN + 10.0 + number / 4)
        begin = time.perf_counter_ns()
        engine.step(taken)
        times.append(time.perf_counter_ns() - begin)
    return median(times) / 1e3


if __name__ == "__main__":
    from bench.figure import table

    print(table(run(quick="--quick" in sys.argv)))
