"""Runs as the main program of the shipped unit: tries, inside its sandbox, everything sentinel needs and must not be able to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sample_transitions import FIRING

from sentinel.api.event_stream import Broadcaster
from sentinel.api.server import ApiServer
from sentinel.api.socket import MODE_SERVICE, listen
from sentinel.daemon.systemd import notify, watchdog_interval
from sentinel.history import History
from sentinel.sinks import JournaldSink


def _pid() -> int:
    """The process this one is to watch: of another user, started by the script."""
    return int(Path("/opt/lab/watched.pid").read_text())


def _connect() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    return "connected"


def _udev() -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as events:
        events.bind((0, 2))
    return "listening"


def _commit() -> str:
    history = History(Path(os.environ["STATE_DIRECTORY"]) / "history.db")
    history.commit([FIRING])
    return history.fault or "written"


def _journal() -> str:
    command = ["journalctl", "-q", "-n1", "-o", "cat", "_SYSTEMD_UNIT=watched.service"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode().strip()


TRIES: dict[str, Callable[[], object]] = {
    "environ of another user": lambda: "LLAMA_ARG_CTX_SIZE=4096" in Path(f"/proc/{_pid()}/environ").read_text(),
    "open files of another user": lambda: os.readlink(f"/proc/{_pid()}/fd/1").split(":")[0],
    "libraries of another user": lambda: "libc.so" in Path(f"/proc/{_pid()}/maps").read_text(),
    "program of another user": lambda: os.readlink(f"/proc/{_pid()}/exe"),
    "log of another user": lambda: Path("/home/watched/server.log").read_text(),
    "log in /tmp": lambda: Path("/tmp/server.log").read_text(),
    "sysfs": lambda: bool(os.listdir("/sys/class")),
    "loopback": _connect,
    "udev": _udev,
    "history": _commit,
    "journal": _journal,
    "user": os.geteuid,
    "write /etc": lambda: Path("/etc/written").write_text("x"),
    "write /tmp": lambda: Path("/tmp/written").write_text("x"),
    "write a home": lambda: Path("/home/watched/written").write_text("x"),
    "kill another user": lambda: os.kill(_pid(), signal.SIGTERM),
    "become root": lambda: os.setuid(0),
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
}


def attempt(what: Callable[[], object]) -> object:
    try:
        return what()
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"


async def main() -> None:
    found = {name: attempt(what) for name, what in TRIES.items()}
    found["watchdog"] = watchdog_interval()
    JournaldSink().deliver(FIRING)
    listener = listen(Path(os.environ["RUNTIME_DIRECTORY"]) / "sentinel.sock", MODE_SERVICE)
    server = ApiServer(
        {("GET", "/v1/status"): lambda _request: {"found": found}, ("POST", "/v1/reload"): lambda _request: {"reloaded": True}},
        Broadcaster(),
        on_bug=lambda error: print(repr(error), file=sys.stderr),
    )
    await server.start(listener.socket)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    notify("READY=1", "STATUS=" + json.dumps(len(found)))
    await stop.wait()
    await server.close()
    listener.close()


asyncio.run(main())
