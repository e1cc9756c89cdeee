"""Many real llama-servers at once, and one that is started every second and ends at once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO / "demo"), str(REPO / "tests" / "fixtures")]

import make_models  # noqa: E402
import real_server  # noqa: E402

from faults.daemon import daemon, wait_for  # noqa: E402
from faults.outcome import Outcome  # noqa: E402


@contextlib.contextmanager
def _started(folder: Path, model: Path, count: int) -> Iterator[list[int]]:
    """So many llama-servers on ports of their own; a tiny model, asked for on a GPU that is not there."""
    running: list[subprocess.Popen[bytes]] = []
    ports: list[int] = []
    try:
        for number in range(count):
            ports.append(real_server.free_port())
            command = [str(real_server.binary()), "-m", str(model), "-c", "256", "-np", "1", "-t", "1", "-ngl", "99"]
            command += ["--port", str(ports[-1]), "--no-warmup", "--log-file", str(folder / f"{number}.log")]
            running.append(_run(command))
        yield ports
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def _run(command: list[str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, env=real_server.environment())


def fifty(*, short: bool) -> Outcome:
    """All fall back to the CPU, notify, and end."""
    count = 5 if short else 50
    row = Outcome(f"{count} real llama-servers started at once, each asked for a GPU that is not there; then all killed at once")
    with tempfile.TemporaryDirectory(prefix="faults-servers-") as name, daemon(discover=True) as one:
        folder = Path(name)
        model = make_models.write_moe(folder / "tiny.gguf", experts=0)
        one.start()
        before = one.footprint()
        begin = time.monotonic()
        with _started(folder, model, count) as ports:
            mine = {f"127.0.0.1:{port}" for port in ports}

            def fallen() -> int:
                return len({e.entity for e in one.journal.of("cpu-fallback") if e.entity in mine and e.state == "firing"})

            wait_for(lambda: fallen() == count, f"a cpu-fallback of each of {count}", 240)
            delivered = time.monotonic() - begin
            during = one.footprint()
        begin = time.monotonic()

        def ended() -> int:
            return len({e.entity for e in one.journal.of("cpu-fallback") if e.entity in mine and e.state == "resolved"})

        wait_for(lambda: ended() == count, f"the end of each of {count}", 60)
        row.well_after = time.monotonic() - begin
        for server in mine:
            states = [e.state for e in one.journal.of("cpu-fallback", server)]
            row.expect(states == ["firing", "resolved"], f"{states} were delivered for {server}")
        row.said = one.journal.of("cpu-fallback")[0].message[:160]
        row.lost = "nothing: one alert and one end of each" if not row.wrong else "see below"
        row.notes.append(
            f"all came {delivered:.1f} s after the first start; "
            f"memory {before['pss']:.0f} MB before, {during['pss']:.0f} MB with all"
        )
        row.expect(during["pss"] < 64, f"{during['pss']:.0f} MB with {count} servers")
        row.expect(not one.traceback(), "a traceback in its log")
    return row


def restarting(*, short: bool) -> Outcome:
    """A server that fails at every start, started again each second."""
    starts = 8 if short else 60
    row = Outcome(f"a real llama-server whose model is not there, started {starts} times, once a second")
    with tempfile.TemporaryDirectory(prefix="faults-servers-") as name:
        log = Path(name) / "server.log"
        log.touch()
        # Not the machine's kernel log: a kill of somebody else's server would be taken for one of the only server there is.
        (Path(name) / "dev").mkdir()
        with daemon(servers={"mine": log}, paths={"dev": Path(name) / "dev"}) as one:
            one.start()
            wait_for(lambda: one.source(f"file:{log}").get("health") == "up", "the log is followed")
            before = one.footprint()
            command = [str(real_server.binary()), "-m", str(Path(name) / "none.gguf"), "--port", str(real_server.free_port())]
            for _ in range(starts):
                begin = time.monotonic()
                _run([*command, "--log-file", str(log)]).wait()
                time.sleep(max(0.0, 1.0 - (time.monotonic() - begin)))
            begin = time.monotonic()
            one.await_entry("start-failed", "firing", "mine", within=20)
            row.well_after = time.monotonic() - begin
            after = one.footprint()
            delivered = one.journal.of("start-failed", "mine")
            row.expect(
                [e.state for e in delivered] == ["firing"], f"start-failed was delivered as {[e.state for e in delivered]}"
            )
            others = [e.rule for e in one.journal.entries if e.entity == "mine" and e.rule != "start-failed"]
            row.expect(others == [], f"other alerts: {others}")
            row.said = delivered[0].message
            row.notes.append(f"other alerts: {', '.join(others) or 'none'}")
            row.notes.append(f"memory {before['pss']:.0f} MB before, {after['pss']:.0f} MB after")
            row.expect(after["pss"] < before["pss"] + 12, f"memory grew from {before['pss']:.0f} to {after['pss']:.0f} MB")
            row.expect(after["files"] <= before["files"] + 2, "open files grew")
            row.expect(not one.traceback(), "a traceback in its log")
    return row
