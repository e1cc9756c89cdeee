"""What sentinel costs while nothing happens: CPU time and memory of the daemon beside one idle llama-server.

The real daemon finds the real server by itself and follows its log: first as configured by default, then with all sources on
and a GPU. The GPU is a tree of files in the place of /sys, with KFD's account of the server, and device nodes in the place of
/dev: reads of files cost less than a driver's. With an NVIDIA driver beside it the binding of NVML is loaded, too, and finds no
library. Beside the first, in the same seconds, prometheus-node-exporter is scraped once a second, as a Prometheus server would.
CPU is utime + stime of the process and of the children it waited for (proc(5)), memory its Pss (smaps_rollup) at the end,
children included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "demo"))
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))

from real_server import free_port, request, server, stop, wait  # noqa: E402

from bench.daemon import daemon, pss  # noqa: E402
from bench.figure import Figure, below  # noqa: E402

SECONDS = 60.0
QUICK_SECONDS = 15.0
#: After the start: the model's header is read, the first polls and the first checkpoint are done.
_SETTLE_SECONDS = 8.0
#: KFD's number of the mocked GPU
_GPU_ID = 57300
CPU_TARGET, CPU_GOAL = 0.85, 0.4
PSS_TARGET, PSS_GOAL = 45.0, 40.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure."""
    seconds = QUICK_SECONDS if quick else SECONDS
    try:
        from make_models import write_moe
    except ModuleNotFoundError as missing:
        return [Figure("cost at rest", "-", note=f"{missing.name} is not installed: pip install -e '.[dev,real]'")]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        model = write_moe(folder / "tiny.gguf")
        try:
            with server("-m", str(model), log=folder / "server.log") as llama:
                with daemon(folder) as running, _exporter() as exporter:
                    figures = _watch(running.process.pid, exporter, seconds)
                for what, nvidia in (("all sources, a GPU", False), ("the same and an NVIDIA driver", True)):
                    place = folder / what.split()[-1]
                    paths = _machine(place, llama.process.pid, nvidia=nvidia)
                    with daemon(place, ["watch_slots = true"], paths) as running:
                        figures += _cost(running.process.pid, seconds, what)
                        _check(place)
                return figures
        except ModuleNotFoundError as missing:
            return [Figure("cost at rest", "-", note=f"{missing.name} is not installed: pip install -e '.[dev,real]'")]


def _machine(folder: Path, server: int, *, nvidia: bool) -> list[str]:
    """A machine with an AMD GPU on which the server holds memory. Returns the lines that put the daemon into it."""
    shutil.copytree(ROOT / "tests/fixtures/sys", folder / "sys")
    held = folder / f"sys/class/kfd/kfd/proc/{server}"
    held.mkdir(parents=True)
    (held / f"vram_{_GPU_ID}").write_text("2353860608\n")
    (folder / "sys/class/kfd/kfd/topology/nodes/1/gpu_id").write_text(f"{_GPU_ID}\n")
    nodes = folder / "dev/dri"
    nodes.mkdir(parents=True)
    for node in (nodes / "renderD128", folder / "dev/kfd", *([folder / "dev/nvidiactl"] if nvidia else [])):
        node.touch()
    if nvidia:
        card = folder / "sys/bus/pci/devices/0000:41:00.0"
        card.mkdir(parents=True)
        for name, content in (("class", "0x030000"), ("vendor", "0x10de"), ("device", "0x2684")):
            (card / name).write_text(content + "\n")
    return [f'sys = "{folder}/sys"', f'dev = "{folder}/dev"']


def _check(folder: Path) -> None:
    """The mocked card is seen and its memory is the server's, or the figures would be of something else. Raises RuntimeError."""
    asked = [sys.executable, "-m", "sentinel", "status", "--json", "--socket", str(folder / "socket")]
    status = json.loads(subprocess.run(asked, capture_output=True, check=False, cwd=ROOT).stdout)
    cards = [gpu.get("power_watts") for gpu in status["gpus"]]
    held = [one.get("gpu_memory_bytes") for one in status["servers"]]
    if not any(cards) or not any(held):
        raise RuntimeError(f"the mocked GPU is not seen: {status['gpus']}, {held}")


def _cost(pid: int, seconds: float, what: str) -> list[Figure]:
    time.sleep(_SETTLE_SECONDS)
    begin, before = time.monotonic(), cpu_of(pid)
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    share = (cpu_of(pid) - before) / elapsed * 100
    memory = sum(pss(process) for process in family(pid))
    return [
        below(f"  {what}: CPU", share, CPU_TARGET, CPU_GOAL, "% of a core", f"over {elapsed:.0f} s"),
        below(f"  {what}: PSS", memory, PSS_TARGET, PSS_GOAL, "MB"),
    ]


def _watch(pid: int, exporter: tuple[int, str] | None, seconds: float) -> list[Figure]:
    time.sleep(_SETTLE_SECONDS)
    begin = time.monotonic()
    ours = cpu_of(pid)
    theirs = cpu_of(exporter[0]) if exporter else 0.0
    scrapes = 0
    while (elapsed := time.monotonic() - begin) < seconds:
        if exporter:
            request(exporter[1], timeout=5)
            scrapes += 1
        time.sleep(max(0.0, min(begin + elapsed + 1.0, begin + seconds) - time.monotonic()))
    elapsed = time.monotonic() - begin
    share = (cpu_of(pid) - ours) / elapsed * 100
    memory = sum(pss(process) for process in family(pid))
    figures = [
        below("CPU at rest, one idle llama-server", share, CPU_TARGET, CPU_GOAL, "% of a core", f"over {elapsed:.0f} s"),
        below("memory at rest (PSS)", memory, PSS_TARGET, PSS_GOAL, "MB"),
    ]
    if exporter is None:
        hint = "prometheus-node-exporter is not installed, so there is nothing to compare with: apt-get install it"
        return [*figures, Figure("  node_exporter", "-", note=hint)]
    their_share = (cpu_of(exporter[0]) - theirs) / elapsed * 100
    note = f"{scrapes} scrapes in {elapsed:.0f} s"
    return [
        *figures,
        Figure("  node_exporter, scraped each second: CPU", f"{their_share:.3g} % of a core", note=note),
        Figure("  node_exporter: PSS", f"{pss(exporter[0]):.3g} MB"),
    ]


@contextmanager
def _exporter() -> Iterator[tuple[int, str] | None]:
    """A node_exporter of its own: its pid and where it is scraped; None where it is not installed."""
    binary = shutil.which("prometheus-node-exporter")
    if binary is None:
        yield None
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    command = [binary, f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not wait(lambda: process.poll() is not None or _answers(url), 20.0) or process.poll() is not None:
            raise RuntimeError("prometheus-node-exporter did not start")
        yield process.pid, url
    finally:
        stop(process)


def _answers(url: str) -> bool:
    try:
        return bool(request(url, timeout=5))
    except OSError:
        return False


def cpu_of(pid: int) -> float:
    """Seconds of CPU time of a process, the children it has waited for, and those that live."""
    total = 0
    for process in family(pid):
        # The name may hold blanks and brackets; what follows the last bracket begins with field 3.
        after = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in after[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its children, theirs included."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


if __name__ == "__main__":
    from bench.figure import table

    print(table(run(quick="--quick" in sys.argv)))
