"""`sentinel notify` as a program of its own, beside a real daemon, and the daemon whose alerts can be switched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from live import REPO, Sentinel, wait_for

from faults.lines import SLEEPS, WAKES, write_rules


class Switched(Sentinel):
    """A real daemon of `servers` logs; each line of a log fires or ends `rules` alerts (of severity info)."""

    def __init__(self, folder: Path, servers: int = 1, rules: int = 1) -> None:
        self.logs = {f"s{n}": folder / f"s{n}.log" for n in range(servers)}
        for log in self.logs.values():
            log.touch()
        tables = "".join(f"[[server]]\nname = '{name}'\nlog = '{log}'\n" for name, log in self.logs.items())
        # One folder for all daemons of a run, so that what the first one decoded counts for the next.
        own = folder.parent / f"own-rules-{rules}"
        if not own.exists():
            write_rules(own, rules)
        super().__init__(folder, f"rules = ['{own}']\ndiscover = false\n{tables}", kernel=False)

    def switch(self, name: str, *, on: bool) -> None:
        """One line into one log."""
        with self.logs[name].open("ab") as log:
            log.write(SLEEPS if on else WAKES)

    def changes(self) -> list[tuple[str, str, str, str]]:
        """What notifies, by the daemon's own history: server, rule, state, when."""
        history = self.ask("alerts", "--all")["transitions"]
        return [
            (t["entity"]["name"], t["rule"], t["state"], t["at"])
            for t in history
            if t["rule"].startswith("fault-") and (t["state"] == "firing" or t["previous"] == "firing")
        ]


class Notifier:
    """Its own configuration and state; it may be killed and started again in them."""

    def __init__(self, folder: Path, daemon: Sentinel, text: str) -> None:
        folder.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.errors = folder / "stderr"
        self.config = folder / "notify.toml"
        self.config.write_text(f"socket = '{daemon.socket}'\nhost = 'gpu-1'\n{text}", encoding="utf-8")
        self.config.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sentinel", "notify", "--config", str(self.config), "--state", str(self.state), *words]

    def start(self) -> Notifier:
        """Start it and wait until it follows the daemon."""
        before = self.said().count("follows the alerts")
        self.launch()
        wait_for(lambda: self.said().count("follows the alerts") > before, lambda: f"it follows; it said {self.said()}", 30.0)
        return self

    def launch(self) -> None:
        """Start it and do not wait."""
        with self.errors.open("ab") as stream:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=REPO)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)

    def stop(self) -> None:
        """However it stands."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """What it printed, over all its lives."""
        return self.errors.read_text(encoding="utf-8", errors="replace") if self.errors.exists() else ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same verb for once: --check, --test, --status."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False, cwd=REPO)

    def status(self) -> dict[str, dict[str, Any]]:
        """How each channel fares."""
        done = self.run("--status", "--json")
        assert done.stdout, done.stderr
        return {one["name"]: one for one in json.loads(done.stdout)["channels"]}
