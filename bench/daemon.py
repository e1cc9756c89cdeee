"""The real daemon as a process of its own, with its state, its socket and its journal in a folder of the benchmark."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
#: An alert with its evidence may be larger than what a datagram socket takes by default.
_RECEIVE_BUFFER = 4 << 20


@dataclass(frozen=True)
class Daemon:
    """A running daemon, and the socket on which its alerts arrive as journald would get them."""

    process: subprocess.Popen[bytes]
    journal: socket.socket


#: Imports what the daemon may, also what it imports late.
_IMPORT_ALL = """
import importlib, pkgutil, sentinel.cli.run
names = [found.name for found in pkgutil.walk_packages(sentinel.__path__, "sentinel.")]
for name in [*(name for name in names if not name.endswith("__main__")), "pynvml", "apprise", "mcp.server.fastmcp"]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
"""


@cache
def compiled() -> dict[str, str]:
    """The daemon's environment, in which all modules are compiled, as installed: pip compiles what it installs.

    A daemon that compiles pynvml, or what was changed since, holds 2 to 5 MB more for good (measured).
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PYTHONPATH": str(_ROOT), "PYTHONPYCACHEPREFIX": str(_ROOT / ".cache" / "bytecode"), "PYTHONNODEBUGRANGES": "1"}
    subprocess.run([sys.executable, "-c", _IMPORT_ALL], env=env, check=True)
    return env


@contextmanager
def daemon(folder: Path, config: Sequence[str] = (), more_paths: Sequence[str] = ()) -> Iterator[Daemon]:
    """`sentinel run` with more lines of configuration: top-level keys first, then tables; `more_paths` go into `[paths]`.

    Raises RuntimeError.
    """
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    journal.bind(str(folder / "journal"))
    own = [f'state_dir = "{folder}/state"', f'socket = "{folder}/socket"', 'sink = "journald"']
    paths = ["[paths]", f'journal_socket = "{folder}/journal"', *more_paths]
    file = folder / "sentinel.toml"
    file.write_text("\n".join([*own, *config, *paths]) + "\n")
    said = folder / "daemon.out"
    with said.open("wb") as out:
        command = [sys.executable, "-m", "sentinel", "run", "--config", str(file)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=compiled())
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (folder / "socket").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sentinel did not start: {said.read_text(errors='replace')[-1000:]}")
            time.sleep(0.05)
        yield Daemon(process, journal)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        journal.close()


def pss(pid: int) -> float:
    """Megabytes (10^6 bytes) of a process, shared pages counted in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
