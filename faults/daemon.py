"""The real daemon, `python -m sentinel run`, in a folder of its own, with a journald that records what it receives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.journald import Entry, Journald
from sentinel.api import client

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 60.0


class NotWell(Exception):
    """Something that should have come did not. The text says what."""


def wait_for(condition: Callable[[], object], what: str, within: float = PATIENCE) -> float:
    """Poll until it holds; returns the seconds it took. Raises NotWell."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > within:
            raise NotWell(f"not within {within:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


class Daemon:
    """One daemon; it may be killed and started again. `top` are top-level lines of configuration, `rest` tables."""

    def __init__(
        self,
        folder: Path,
        *,
        top: Sequence[str] = (),
        rest: Sequence[str] = (),
        paths: Mapping[str, Path] | None = None,
        servers: Mapping[str, Path] | None = None,
        discover: bool = False,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
        wrap: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = folder / "run" / "sentinel.sock"
        self.journal = Journald(folder / "journal")
        self.process: subprocess.Popen[bytes] | None = None
        self._said = folder / "said"
        self._env = dict(env or {})
        self._user = user
        self._wrap = list(wrap)
        lines = [
            f'state_dir = "{self.state}"',
            f'socket = "{self.socket}"',
            'sink = "journald"',
            f"discover = {str(discover).lower()}",
            *top,
        ]
        for name, log in (servers or {}).items():
            lines += ["[[server]]", f'name = "{name}"', f'log = "{log}"']
        lines += [*rest, "[paths]", f'journal_socket = "{self.journal.path}"']
        lines += [f'{name} = "{path}"' for name, path in (paths or {}).items()]
        self._config = folder / "sentinel.toml"
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if user is not None:
            folder.chmod(0o755)
            for own in (self.state, self.socket.parent):
                own.mkdir(exist_ok=True)
                os.chown(own, user, user)

    def launch(self) -> None:
        """Start it and do not wait."""
        command = [*self._wrap, sys.executable, "-m", "sentinel", "run", "--config", str(self._config)]
        env = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"} | self._env
        env.pop("JOURNAL_STREAM", None)
        with self._said.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, user=self._user, group=self._user
            )

    def start(self) -> float:
        """Start it and wait until it answers; returns the seconds it took. Raises NotWell."""
        self.launch()
        return wait_for(self._answers, f"the daemon answers; it said: {self.said()[-1500:]}")

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise NotWell(f"the daemon ended with {self.process.returncode}: {self.said()[-1500:]}")
        return self.get("/v1/alerts") is not None

    def get(self, target: str) -> dict[str, Any] | None:
        """An answer of the API; None while there is no answer."""
        try:
            status, answer = client.get(target, (self.socket,))
        except client.DaemonUnreachable:
            return None
        return dict(answer) if status == 200 else None

    def signals(self, name: str) -> dict[str, Any]:
        """The last values of a server, by signal."""
        answer = self.get("/v1/signals") or {}
        found: dict[str, Any] = {}
        for row in answer.get("signals", []):
            if row.get("entity", {}).get("name") == name and row.get("value") is not None:
                found[row["signal"]] = row["value"]
        return found

    def source(self, name: str) -> dict[str, Any]:
        """How a source is doing."""
        sources = (self.get("/v1/status") or {}).get("sources", [])
        return next((dict(s) for s in sources if s["name"] == name), {})

    def send(self, what: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(what)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> int:
        """An orderly end; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def said(self) -> str:
        """Its own log, over all its lives."""
        return self._said.read_text(encoding="utf-8", errors="replace") if self._said.exists() else ""

    def sentences(self, *words: str) -> list[str]:
        """Lines of its own log that hold each of the words, without their time."""
        lines = [line.partition("sentinel: ")[2] or line for line in self.said().splitlines()]
        return [line for line in lines if all(word in line for word in words)]

    def footprint(self) -> dict[str, float]:
        """MB of memory that is its own (PSS), open files, threads."""
        assert self.process is not None
        process = Path(f"/proc/{self.process.pid}")
        rollup = (process / "smaps_rollup").read_text().splitlines()
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        threads = next(int(line.split()[1]) for line in (process / "status").read_text().splitlines() if "Threads" in line)
        return {"pss": pss / 1024, "files": len(list((process / "fd").iterdir())), "threads": threads}

    def traceback(self) -> str:
        """The last line of a traceback in its own log; there must be none."""
        return next((line for line in reversed(self.said().splitlines()) if "Traceback" in line), "")

    def await_entry(self, rule: str, state: str, entity: str, within: float = PATIENCE, after: int = 0) -> Entry:
        """The first entry of the rule beyond the first `after` of this state. Raises NotWell."""
        found: list[Entry] = []

        def there() -> bool:
            ended = self.process.poll() if self.process is not None else None
            found[:] = [e for e in self.journal.of(rule, entity) if e.state == state][after:]
            if not found and ended is not None:
                raise NotWell(f"the daemon ended with {ended} before {rule} {state} of {entity} was delivered")
            return bool(found)

        wait_for(there, f"{rule} {state} of {entity}; it said: {self.said()[-500:]}", within)
        return found[0]


@contextmanager
def daemon(**options: Any) -> Iterator[Daemon]:
    """A folder, a daemon in it that is not started yet, and their end."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        running = Daemon(Path(name), **options)
        try:
            yield running
        finally:
            if running.process is not None:
                running.stop()
            running.journal.vanish()
            if "KEEP" in os.environ:
                shutil.copytree(name, Path(os.environ["KEEP"]) / Path(name).name, dirs_exist_ok=True, ignore=_sockets)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()]
