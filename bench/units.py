"""What the programs beside the daemon hold in memory once each has done its work: notify, serve, cure, mcp.

Each is started as its unit or its user starts it, beside a real daemon with one alert, and measured when it has brought that
alert, has answered for its page, metrics and report, has said what it would restart, or has answered a call of `status`.
Memory is Pss (smaps_rollup), which counts what it shares with the daemon in proportion.
"""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "demo"))

from real_server import free_port, request, stop, wait  # noqa: E402

from bench.daemon import compiled, daemon, pss  # noqa: E402
from bench.figure import Figure  # noqa: E402
from faults.lines import SLEEPS, write_rules  # noqa: E402

_SECONDS = 60.0
#: After its work: what it lets go of then does not count.
_SETTLE_SECONDS = 3.0


def run(*, quick: bool = False) -> list[Figure]:
    """Measure. It takes as long as the programs take to start, however quick it is to be."""
    del quick
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        log = folder / "server.log"
        log.touch()
        write_rules(folder / "rules")
        config = [f'rules = ["{folder}/rules"]', "discover = false", f'[[server]]\nname = "s0"\nlog = "{log}"']
        with daemon(folder, config):
            log.write_bytes(SLEEPS)
            socket = ("--socket", str(folder / "socket"))
            return [
                Figure("memory of sentinel notify (PSS): a webhook", _notify(folder, "webhook", "url = 'http://{}/'", socket)),
                Figure("  an Apprise service", _notify(folder, "apprise", "url = 'json://{}'", socket)),
                Figure("memory of sentinel serve (PSS), after page, metrics and report", _serve(folder, socket)),
                Figure("memory of sentinel cure (PSS)", _cure(folder, socket)),
                Figure("memory of sentinel mcp (PSS), after a call of status", _mcp(folder, socket)),
            ]


def _notify(folder: Path, kind: str, url: str, socket: Sequence[str]) -> str:
    with _receiver() as (port, received):
        file = folder / f"{kind}.toml"
        address = url.format(f"127.0.0.1:{port}")
        file.write_text(f'[[channel]]\nname = "x"\ntype = "{kind}"\n{address}\nseverities = ["info"]\ngroup_wait = "0s"\n')
        file.chmod(0o600)
        words = ("notify", "--config", str(file), "--state", str(folder / f"state-{kind}"), *socket)
        return _measured(folder, words, lambda _: received.is_set())


def _serve(folder: Path, socket: Sequence[str]) -> str:
    port = free_port()

    def answered(_: IO[bytes]) -> bool:
        try:
            return all(request(f"http://127.0.0.1:{port}/{page}", timeout=20) for page in ("", "metrics", "report"))
        except OSError:
            return False

    return _measured(folder, ("serve", "--listen", f"127.0.0.1:{port}", *socket), answered)


def _cure(folder: Path, socket: Sequence[str]) -> str:
    file = folder / "cure.toml"
    file.write_text('[[action]]\nrestart = "none.service"\nrules = ["fault-1"]\nserver = "s0"\n')
    said = folder / "cure.out"
    words = ("cure", "--dry-run", "--config", str(file), *socket)
    return _measured(folder, words, lambda _: "none.service" in said.read_text(errors="replace"))


def _mcp(folder: Path, socket: Sequence[str]) -> str:
    asked = False
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    messages = (
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "status", "arguments": {}}},
    )
    said = folder / "mcp.out"

    def answered(stdin: IO[bytes]) -> bool:
        nonlocal asked
        if not asked:
            asked = True
            for message in messages:
                stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            stdin.flush()
        return '"id":2' in said.read_text(errors="replace").replace(" ", "")

    return _measured(folder, ("mcp", *socket), answered)


def _measured(folder: Path, words: Sequence[str], done: Callable[[IO[bytes]], bool]) -> str:
    """Memory of `sentinel WORDS` once that is done. Raises RuntimeError with what it said."""
    said = folder / f"{words[0]}.out"
    with said.open("wb") as out:
        command = [sys.executable, "-m", "sentinel", *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=compiled(), cwd=ROOT)
    stdin = process.stdin
    assert stdin is not None
    try:
        if not wait(lambda: process.poll() is not None or done(stdin), _SECONDS) or process.poll() is not None:
            raise RuntimeError(f"sentinel {words[0]} did not do its work: {said.read_text(errors='replace')[-1000:]}")
        time.sleep(_SETTLE_SECONDS)
        return f"{pss(process.pid):.3g} MB"
    finally:
        stdin.close()
        stop(process)


@contextmanager
def _receiver() -> Iterator[tuple[int, threading.Event]]:
    """An HTTP server that takes what it is sent: its port, and that something came."""
    received = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            received.set()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], received
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    from bench.figure import table

    print(table(run()))
