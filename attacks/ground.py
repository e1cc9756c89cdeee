"""Where an attack takes place: the real daemon as its own user with the unit's capabilities and memory limit, an honest server of
one user, and an attacker who is another.

A llama-server is a copy of the shell by that name which waits: its command line, log and sockets are what the row wants.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attacks.outcome import MOST_ALERT, MOST_MB, MOST_WAIT, Attack
from faults.daemon import REPO, Daemon, NotWell, wait_for
from faults.lines import SLEEPS, write_rules

#: Users without a name, so that nothing on the machine is theirs.
SENTINEL, ATTACKER, HONEST = 61801, 61802, 61803
_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_PATIENCE = 30.0
#: waits for a line of a pipe into which nobody writes
_IDLE = "read never"


def _unit(key: str) -> str:
    """A setting of the shipped unit."""
    lines = (REPO / "systemd" / "sentinel.service").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{key}="))


def why_not() -> str:
    """Why no attack can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "needs root, to be three users"
    return "" if shutil.which("setpriv") else "needs setpriv (util-linux)"


@contextlib.contextmanager
def _limited(name: str) -> Iterator[Path | None]:
    """A control group with the unit's memory limit; None where there can be none."""
    limit = int(_unit("MemoryMax").removesuffix("M")) << 20
    v1 = (_V1 / "memory.limit_in_bytes").exists()
    group = (_V1 if v1 else _V2) / name
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(limit))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        for _ in range(200):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


class Asker:
    """Asks the API without a pause worth mentioning, and keeps the longest wait. A process of its own: beside thousands of starts
    of processes a thread of this one waited for seconds itself.
    """

    def __init__(self, socket: Path, user: int = 0) -> None:
        self.longest = 0.0
        self.target = ""
        #: how often it asked, how often it had no answer, and why the last time
        self.asked, self.refused, self.why = 0, 0, ""
        command = [sys.executable, "-m", "attacks.asker", str(socket), str(user)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    @property
    def is_over(self) -> bool:
        return self._process.returncode is not None

    def end(self) -> None:
        """Its figures are there after this."""
        said, _ = self._process.communicate(timeout=_PATIENCE)
        self.longest, self.target, self.asked, self.refused, self.why = json.loads(said)


class Ground:
    """One attack. `row` is filled as it goes; `folder` is the attacker's own, `private` one that only the honest user enters."""

    def __init__(self, top: Path, row: Attack, group: Path | None, rest: Sequence[str], wrap: Sequence[str]) -> None:
        self.row = row
        self.top = top
        self.folder = _owned(top / "attacker", ATTACKER, 0o755)
        self.home = _owned(top / "honest", HONEST, 0o755)
        self.private = _owned(self.home / "private", HONEST, 0o700)
        capabilities = ",".join("+" + word.removeprefix("CAP_").lower() for word in _unit("AmbientCapabilities").split())
        enter = [] if group is None else ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        # The list for the daemon's program, as systemd sets it: nothing more can ever be had.
        rights = [
            "--bounding-set",
            f"-all,{capabilities}",
            "--inh-caps",
            f"-all,{capabilities}",
            "--ambient-caps",
            f"-all,{capabilities}",
        ]
        users = [f"--reuid={SENTINEL}", f"--regid={SENTINEL}", "--clear-groups", "--no-new-privs"]
        (top / "dev").mkdir()
        place = top / "sentinel"
        place.mkdir()
        self.daemon = Daemon(
            place,
            top=[write_rules(top / "rules"), *rest],
            paths={"dev": top / "dev"},
            discover=True,
            wrap=[*enter, *wrap, "setpriv", *users, *rights, "--"],
        )
        place.chmod(0o755)
        for own in (self.daemon.state, self.daemon.socket.parent):
            _owned(own, SENTINEL, 0o755)
        self._group = group
        self._never = os.pipe()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asker: Asker | None = None
        #: the honest server has it open too, so that it is the one who listens
        self._well = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.well = self._well.fileno()
        self.port = int(self._well.getsockname()[1])
        self.honest = ""
        self._log = self.home / "server.log"

    # --- the honest server and the daemon ---

    def begin(self) -> None:
        """The daemon runs and follows the log of the honest server. The measurement begins."""
        self._log.touch()
        os.chown(self._log, HONEST, HONEST)
        well = self._well.fileno()
        victim = self.server("--port", str(self.port), "--log-file", str(self._log), user=HONEST, pass_fds=(well,))
        threading.Thread(target=self._answer, daemon=True).start()
        self.daemon.start()
        wait_for(lambda: self.named(victim.pid), "the honest server is found", _PATIENCE)
        self.honest = self.named(victim.pid)
        wait_for(lambda: self.daemon.source(f"file:{self._log}").get("health") == "up", "its log is followed", _PATIENCE)
        self.tell(
            b"0.00.100.000 I srv  llama_server: loading model\n0.01.000.000 I srv  llama_server: server is listening on http://127.0.0.1:8080\n"
        )
        assert self.daemon.process is not None
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.daemon.process.pid}/clear_refs").write_text("5")
        self._asker = Asker(self.daemon.socket)

    def ask_as(self, user: int) -> None:
        """From now on this user asks the API, not root."""
        assert self._asker is not None
        self._asker.end()
        self._asker = Asker(self.daemon.socket, user)

    @property
    def asker(self) -> Asker:
        """Its figures are there after `endure`."""
        assert self._asker is not None
        return self._asker

    def _answer(self) -> None:
        """Every request is answered as by a server that is well."""
        body = b'{"status":"ok"}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        while True:
            with contextlib.suppress(OSError):
                try:
                    asker, _ = self._well.accept()
                except OSError:
                    return
                with asker:
                    asker.settimeout(1)
                    asker.recv(65536)
                    asker.sendall(head + body)

    def tell(self, lines: bytes) -> None:
        """Lines of the honest server's log."""
        with self._log.open("ab") as file:
            file.write(lines)

    def named(self, pid: int) -> str:
        """The name of the server with this process; empty while it is not known."""
        servers = (self.daemon.get("/v1/status") or {}).get("servers", [])
        return next((str(s["name"]) for s in servers if s.get("pid") == pid), "")

    def listening(self, port: int, well: socket.socket) -> subprocess.Popen[bytes]:
        """Another server of the honest user, who listens on this port."""
        os.fchown(well.fileno(), HONEST, HONEST)
        return self.server("--port", str(port), user=HONEST, pass_fds=(well.fileno(),))

    # --- the attacker ---

    def server(self, *argv: str, user: int = ATTACKER, **popen: Any) -> subprocess.Popen[bytes]:
        """A process that passes for a llama-server with this command line, of the attacker unless `user` says otherwise."""
        program = self.program(user)
        null = subprocess.DEVNULL
        options: dict[str, Any] = {
            "stdin": self._never[0],
            "stdout": null,
            "stderr": null,
            "cwd": self.folder,
            "env": {"PATH": "/usr/bin:/bin"},
        } | popen
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [str(program), "-c", _IDLE, "llama-server", *argv], user=user, group=user, extra_groups=[], **options
        )
        self._processes.append(process)
        return process

    def program(self, user: int = ATTACKER) -> Path:
        """A copy of the shell that passes for a llama-server; ``-c 'read never'`` makes it wait."""
        program = (self.folder if user == ATTACKER else self.home) / "bin" / "llama-server"
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            shutil.copy(os.path.realpath("/bin/sh"), program)
            program.chmod(0o755)
        return program

    def run(self, *command: str, user: int = ATTACKER, **popen: Any) -> subprocess.Popen[bytes]:
        """Any other program of the attacker's; it is ended with the row."""
        options: dict[str, Any] = {"cwd": self.folder, "stdin": self._never[0]} | popen
        process: subprocess.Popen[bytes] = subprocess.Popen(command, user=user, group=user, extra_groups=[], **options)
        self._processes.append(process)
        return process

    def file(self, name: str, data: bytes = b"", *, user: int = ATTACKER, mode: int = 0o644) -> Path:
        """A file of the attacker's."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        os.chown(path, user, user)
        return path

    # --- what comes of it ---

    def endure(self, seconds: float = 3.0, patience: float = _PATIENCE) -> None:
        """The attack lasts so long; then an alert of the honest server falls due, and the figures are taken.

        Fails the row where one is over its limit, where the daemon ended, or where its log holds a traceback.
        """
        row, daemon = self.row, self.daemon
        time.sleep(seconds)
        self.tell(SLEEPS)
        begin = time.monotonic()
        try:
            entry = daemon.await_entry("fault-1", "firing", self.honest, within=patience)
            row.alert = max(0.0, entry.at - begin)
            row.expect(row.alert <= MOST_ALERT, f"the honest server's alert took {row.alert:.1f} s")
        except NotWell as why:
            row.wrong.append(str(why)[:300])
        self.measure()

    def measure(self) -> None:
        """Take the figures as they are now."""
        row, daemon, asker = self.row, self.daemon, self._asker
        assert asker is not None
        assert daemon.process is not None
        asker.end()
        row.wait = asker.longest
        row.expect(asker.longest <= MOST_WAIT, f"{asker.target} took {asker.longest:.1f} s")
        ended = daemon.process.poll()
        row.expect(ended is None, f"the daemon ended with {ended}: {daemon.said()[-300:]}")
        if ended is None:
            lines = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="ascii").splitlines()
            row.peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
            row.expect(row.peak <= MOST_MB, f"{row.peak:.0f} MB at the peak")
        row.expect(not daemon.traceback(), "a traceback in its log")
        if self._group is None:
            row.notes.append("no control group here: the memory limit was measured, not set")

    def alerts(self, state: str = "firing", *, but: Sequence[str] = ("fault-1",)) -> list[str]:
        """``rule entity`` of each notification so far."""
        entries = [e for e in list(self.daemon.journal.entries) if e.state == state and e.rule not in but]
        return [f"{e.rule} {e.entity}" for e in entries]

    def told_of(self, name: str) -> list[str]:
        """Rules that notified about this server, beside the one of the campaign."""
        return sorted({e.rule for e in list(self.daemon.journal.entries) if e.entity == name and e.rule != "fault-1"})

    def said(self, *words: str) -> str:
        """The first sentence of its log, of a source's state or of the status's notices that holds all of these words."""
        status = self.daemon.get("/v1/status") or {}
        sources = [f"{s['name']}: {s.get('why', '')}" for s in status.get("sources", [])]
        cut = [f"{one['whose']}: {one['what']} ({one['count']})" for one in status.get("cut", [])]
        return next((s for s in (*cut, *self.daemon.sentences(*words), *sources) if all(word in s for word in words)), "")[:300]

    def close(self) -> None:
        """End every process of the row."""
        if self._asker is not None and not self._asker.is_over:
            self._asker.end()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        if self.daemon.process is not None:
            self.daemon.stop()
        self.daemon.journal.vanish()
        with contextlib.suppress(OSError):
            self._well.shutdown(socket.SHUT_RDWR)
        self._well.close()
        for end in self._never:
            os.close(end)


@contextlib.contextmanager
def ground(did: str, *, top: Sequence[str] = (), wrap: Sequence[str] = ()) -> Iterator[Ground]:
    """A place for one attack; `top` are more lines of the daemon's configuration, `wrap` goes before its command.
    `Ground.row` is the row.
    """
    row = Attack(did)
    name = f"attacks-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="attacks-") as folder, _limited(name) as group:
        Path(folder).chmod(0o755)
        here = Ground(Path(folder), row, group, top, wrap)
        try:
            here.begin()
            # Before this nothing was tried: what did not come is the row's whole result.
            try:
                yield here
            except NotWell as why:
                row.wrong.append(str(why)[:400])
        finally:
            here.close()


def _owned(path: Path, user: int, mode: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, user, user)
    path.chmod(mode)
    return path
