"""One machine of a fleet: a composed /proc, /sys and /dev with servers of its own, a daemon with a host name of its own, and what
people run beside it (`sentinel serve`, `sentinel notify`). All are real processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from composed_proc import Machine
from live import REPO
from serving import Serving

_FIXTURES = REPO / "tests/fixtures"
#: A run of the real llama-server without a GPU, from its start to answers.
_LOG = (_FIXTURES / "logs/b10434-two-slots.log").read_bytes()
_PORT_OF_LOG = b"127.0.0.1:42797"
#: Servers that are healthy: nobody asked for a GPU.
HEALTHY = 2
_FIRST_PORT = 8080


class Host:
    """A machine by its name."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.name = name
        self.folder = folder
        self.socket = folder / "sentinel.sock"
        self._machine = Machine(folder)
        shutil.copytree(_FIXTURES / "proc", folder / "proc", dirs_exist_ok=True)
        self._servers = 0
        for _ in range(HEALTHY):
            self._server()
        self.daemon = self._run("run", "--config", str(self._config()))
        self.serve: Serving | None = None
        self.notify: subprocess.Popen[bytes] | None = None

    def _config(self) -> Path:
        """Nothing of the machine that this really runs on is seen, its kernel's log included."""
        folder = self.folder
        paths = "".join(f"{one} = '{folder / one}'\n" for one in ("proc", "sys", "dev"))
        file = folder / "sentinel.toml"
        text = f"state_dir = '{folder / 'state'}'\nsocket = '{self.socket}'\nsink = 'console'\n[paths]\n{paths}"
        file.write_text(text, encoding="utf-8")
        return file

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        """A verb of sentinel under the name of this machine, which the kernel gives only root the right to set."""
        named: Sequence[str] = ()
        if os.geteuid() == 0 and (unshare := shutil.which("unshare")) and (hostname := shutil.which("hostname")):
            named = [unshare, "--uts", "/bin/sh", "-c", f'{hostname} "$0" && exec "$@"', self.name]
        env = {**os.environ, "PATH": str(self.folder / "dev"), "XDG_CONFIG_HOME": str(self.folder / "xdg")}
        with (self.folder / f"{words[0]}.out").open("wb") as out:
            command = [*named, sys.executable, "-m", "sentinel", *words]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=REPO, env=env)

    def ready(self) -> bool:
        """Its daemon answers. Raises RuntimeError where it ended."""
        if self.daemon.poll() is not None:
            raise RuntimeError(f"{self.name}: the daemon ended: {self.said('run')[-1000:]}")
        return self.socket.exists()

    def open_port(self) -> int:
        """Start what Prometheus scrapes; its port."""
        self.serve = Serving(self.folder, self.socket)
        return self.serve.port

    def report_to(self, alertmanager: str) -> None:
        """Start what sends to Alertmanager without Prometheus."""
        file = self.folder / "notify.toml"
        text = f"socket = '{self.socket}'\n[[channel]]\nname = 'am'\ntype = 'alertmanager'\nurl = '{alertmanager}'\n"
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        self.notify = self._run("notify", "--config", str(file), "--state", str(self.folder / "notify"))

    def follows(self) -> bool:
        """What was started last is at work."""
        return "follows the alerts" in self.said("notify")

    def fail(self) -> tuple[str, float]:
        """A server is started with `-ngl 99` where there is no GPU, and answers from the CPU; its name, and when that was."""
        return self._server("-ngl", "99"), time.monotonic()

    def _server(self, *words: str) -> str:
        """A llama-server that is ready; its name."""
        port = _FIRST_PORT + self._servers
        self._servers += 1
        log = self.folder / f"{port}.log"
        name = f"127.0.0.1:{port}"
        log.write_bytes(_LOG.replace(_PORT_OF_LOG, name.encode()))
        own = ("-m", "models/moe.gguf", "--port", str(port), "-np", "2", "-c", "1024")
        self._machine.start(port, *own, *words, fds={1: str(log), 2: str(log)})
        return name

    def said(self, verb: str) -> str:
        """What one of its programs printed."""
        file = self.folder / f"{verb}.out"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    @property
    def processes(self) -> dict[str, int]:
        """Its programs that run, by verb."""
        found = {"run": self.daemon.pid}
        if self.serve is not None:
            found["serve"] = self.serve.process.pid
        if self.notify is not None:
            found["notify"] = self.notify.pid
        return found

    def stop(self) -> None:
        """End all of them."""
        serve = None if self.serve is None else self.serve.process
        running = [one for one in (self.daemon, self.notify, serve) if one is not None]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def rss(pid: int) -> float:
    """Resident memory in MB (10^6 bytes): what is shared with others counts in full, as on a machine of its own."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
