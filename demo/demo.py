"""The main job on real input: a real llama-server that fails in silence, and what sentinel says about it.

Starts the daemon as the user's own, then two real llama-servers one after the other, and shows what sentinel prints.
Needs no root, no GPU and no systemd. Everything is stopped again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from real_server import Running, model, request, server, stop, wait

#: seconds from the server being ready until its alert must be there
PROMISE = 15.0


def say(text: str) -> None:
    """The demo's own voice, apart from what the programs print."""
    print(f"\n==> {text}", flush=True)


@contextmanager
def llama_server(folder: Path, *arguments: str) -> Iterator[Running]:
    """The real llama-server with its output in a file; what it printed is shown once it is ready."""
    log = folder / f"server-{len(list(folder.glob('server-*')))}.log"
    say("$ llama-server " + " ".join(Path(a).name if "/" in a else a for a in arguments) + f" 2> {log.name}")
    with server(*arguments, log=log) as running:
        print("llama-server is ready; all that it printed:")
        for line in log.read_text(errors="replace").splitlines():
            print(f"    {line[:150]}")
        yield running


@contextmanager
def sentinel(folder: Path) -> Iterator[Path]:
    """The daemon as the user's own, its output on this terminal; its socket."""
    command = shutil.which("sentinel", path=str(Path(sys.executable).parent)) or "sentinel"
    state, runtime = folder / "state", folder / "run"
    state.mkdir()
    runtime.mkdir()
    config = folder / "sentinel.toml"
    path = runtime / "sentinel.sock"
    config.write_text(f"state_dir = '{state}'\nsocket = '{path}'\n")
    say("$ sentinel run")
    process = subprocess.Popen([command, "run", "--config", str(config)], stdin=subprocess.DEVNULL)
    try:
        if not wait(path.exists, 20) or process.poll() is not None:
            sys.exit("demo: sentinel did not start")
        yield path
    finally:
        stop(process)


def alerts(path: Path) -> dict[str, dict[str, object]]:
    """Open alerts by rule."""
    command = str(Path(sys.executable).parent / "sentinel")
    done = subprocess.run([command, "alerts", "--json", "--socket", str(path)], capture_output=True, check=False)
    return {a["rule"]: a for a in json.loads(done.stdout or b'{"alerts": []}')["alerts"]}


def status(path: Path) -> bytes:
    """What the daemon knows, as JSON."""
    command = str(Path(sys.executable).parent / "sentinel")
    return subprocess.run([command, "status", "--json", "--socket", str(path)], capture_output=True, check=False).stdout


def expect(path: Path, rule: str, what: str) -> None:
    """Wait for an alert and say how long it took."""
    began = time.monotonic()
    if not wait(lambda: rule in alerts(path), PROMISE):
        sys.exit(f"demo: no {rule} alert within {PROMISE:.0f} s; this is a bug")
    say(f"{rule}: {what}; sentinel knew {time.monotonic() - began:.1f} s after")


def show(path: Path, *verb: str) -> None:
    """A command of sentinel as a person would type it."""
    say("$ sentinel " + " ".join(verb))
    command = str(Path(sys.executable).parent / "sentinel")
    subprocess.run([command, *verb, "--socket", str(path)], check=False)


def main() -> int:
    """Both failures, then everything is stopped."""
    file = model(say)
    with tempfile.TemporaryDirectory(prefix="sentinel-demo-") as name:
        folder = Path(name)
        with sentinel(folder) as path:
            say(
                "first: 99 GPU layers are asked for, and there is no GPU that llama-server can use. Watch what it says about that"
            )
            with llama_server(folder, "-m", str(file), "-c", "2048", "-ngl", "99") as running:
                expect(path, "cpu-fallback", "the server is ready and answers, on the CPU, without one word about it")
                for _ in range(2):
                    request(f"{running.url}/completion", json.dumps({"prompt": "The sea is", "n_predict": 60}).encode())
                wait(lambda: b"generation_tps" in status(path), 3)
                show(path, "status")
            say("the first server is stopped; its alert ends by itself")
            wait(lambda: "cpu-fallback" not in alerts(path), 20)
            say("second: 65536 tokens of context are asked for, on a model that was trained for 32768")
            with llama_server(folder, "-m", str(file), "-c", "65536", "-np", "1", "-ngl", "0"):
                expect(path, "context-collapse", "llama-server serves half of what was asked for")
                show(path, "alerts")
            say("stopping everything")
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
