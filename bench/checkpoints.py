"""What a checkpoint costs on a machine with everything: 1,500 servers, 21,000 open alerts, 100 transitions a second.

It grows with what changed, not with what is known. In a process of its own, because its peak of memory is what counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.figure import Figure, below  # noqa: E402

SERVERS, ALERTS_EACH, TRANSITIONS = 1_500, 14, 100


@dataclass(frozen=True)
class Measured:
    """MB that are known, MB that the transitions wrote, seconds that they took, MB of memory at the peak."""

    known: float
    written: float
    seconds: float
    peak: float


def measure() -> Measured:
    """In a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / "checkpoints.py")], capture_output=True, text=True, check=False, timeout=300, cwd=HERE.parent
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return Measured(*map(float, done.stdout.split()))


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    del quick
    found = measure()
    what = f"{SERVERS:,} servers, {SERVERS * ALERTS_EACH:,} alerts"
    known = f"{found.known:.1f} MB are known"
    return [
        below(f"checkpoints: {TRANSITIONS} transitions with {what}, to disk", found.seconds, 1.0, 0.5, "s"),
        below("checkpoints: written by these", found.written, 4.0, 2.0, "MB", known),
        below(f"checkpoints: peak of memory with {what}", found.peak, 128.0, 100.0, "MB"),
    ]


def _work(folder: Path) -> Sequence[float]:
    import msgspec

    from sentinel.engine.alerts.book import Notice
    from sentinel.engine.alerts.lifecycle import Life
    from sentinel.engine.engine import Engine
    from sentinel.history import History
    from sentinel.model.alert import Cause, Conclusion, Fix
    from sentinel.model.entity import Entity, Value
    from sentinel.rulefiles.files import load_paths, shipped

    ruleset, problems = load_paths([shipped()])
    if ruleset is None:
        raise SystemExit("\n".join(map(str, problems)))
    engine = Engine(ruleset)
    values: dict[str, Value] = {
        "server.port": 8080,
        "server.is_router": False,
        "server.user": "me",
        "server.model_path": "/models/" + "m" * 60,
    }
    rules = [rule for rule, compiled in ruleset.rules.items() if compiled.rule.scope == "server"][:ALERTS_EACH]
    fixes = (Fix("Leave out a flag, or start it with fewer layers", "llama-server -ngl 20", "low", "look again"),) * 2
    says = Conclusion("a summary of some words", Cause("c", "some words about the cause", "high"), fixes)
    servers = [Entity("server", f"s{number}") for number in range(SERVERS)]

    def change(server: Entity, at: float) -> None:
        for rule in rules:
            record = engine.book.record(rule, server)
            record.life = Life(state="firing", since=at)
            record.notice = Notice(says, "c")
        for name, value in values.items():
            engine.state.put(server, name, value, at, "process")
        engine._touched.add(server)

    history = History(folder / "history.sqlite")

    def checkpoint() -> int:
        parts = {f"entity:{one}": msgspec.json.encode(engine.dump_of(one)) for one in engine.changed()}
        history.commit((), parts)
        return sum(map(len, parts.values()))

    for server in servers:
        change(server, 1.0)
    known = checkpoint()
    begin, written = time.perf_counter(), 0
    for server in servers[:TRANSITIONS]:
        change(server, 2.0)
        written += checkpoint()
    took = time.perf_counter() - begin
    history.close()
    # Not ru_maxrss: that is inherited across exec from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return known / 1e6, written / 1e6, took, peak / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(*_work(Path(name)))
