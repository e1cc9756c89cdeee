"""The real daemon as a program of its own, and what the tests with it share."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import pytest

from sentinel.api import client

REPO = Path(__file__).resolve().parents[2]


#: Seconds from the server being ready until its alert must be there.
PROMISE = 15.0


class Sentinel:
    """One daemon with a state folder and a socket of its own; it may be killed and started again in them."""

    #: What the first daemon kept decoded, by the setting `rules`. It counts for the same rule files only (rulefiles/kept.py), and
    #: saves the next new daemon 1.3 of the 1.9 s of CPU that its start takes.
    _decoded: ClassVar[dict[str, bytes]] = {}

    def __init__(self, folder: Path, extra: str = "", *, kernel: bool = True) -> None:
        """Without `kernel` it does not see the kernel's log, and `extra` has no `[paths]`.

        Every daemon on this machine reports what the kernel kills in other tests.
        """
        self.folder = folder
        self.socket = folder / "sentinel.sock"
        self.config = folder / "sentinel.toml"
        self.errors = folder / "stderr"
        #: the drop-in folder of the daemon's user, not there until somebody makes it
        self.rules = folder / "xdg/sentinel/rules.d"
        self.environ = {**os.environ, "XDG_CONFIG_HOME": str(folder / "xdg")}
        if not kernel:
            # no /dev/kmsg, and no journalctl in its place
            (folder / "dev").mkdir()
            self.environ["PATH"] = str(folder / "dev")
            extra = f"{extra}\n[paths]\ndev = '{folder / 'dev'}'"
        self.config.write_text(
            f"state_dir = '{folder / 'state'}'\nsocket = '{self.socket}'\nsink = 'console'\n{extra}\n", encoding="utf-8"
        )
        self.process: subprocess.Popen[bytes] | None = None
        #: words before its command: it runs as another user
        self.before: Sequence[str] = ()

    def start(self, output: int | None = None) -> Self:
        """Start it and wait until it answers. `output` is a descriptor to print to instead of the file `errors`."""
        command = [*self.before, sys.executable, "-m", "sentinel", "run", "--config", str(self.config)]
        rules = "".join(re.findall(r"(?m)^rules = .*$", self.config.read_text(encoding="utf-8")))
        decoded = self.folder / "state/rules.decoded"
        if rules in self._decoded and not self.before and not decoded.parent.exists():
            decoded.parent.mkdir(mode=0o700)
            decoded.write_bytes(self._decoded[rules])
        with self.errors.open("ab") as stream:
            to = stream if output is None else output
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to, cwd=REPO, env=self.environ)
        wait_for(self._answers, lambda: f"the daemon answers; it said: {self.said()[-2000:]}", 120.0)
        if rules not in self._decoded and not self.rules.exists() and decoded.exists():
            self._decoded[rules] = decoded.read_bytes()
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.said()[-2000:]}"
        try:
            return client.get("/v1/status", [self.socket])[0] == 200
        except client.DaemonUnreachable:
            return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(20)

    def said(self) -> str:
        """What it printed so far, over all its lives: its own log and the alerts."""
        return self.errors.read_text(encoding="utf-8", errors="replace") if self.errors.exists() else ""

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of sentinel that asks this daemon."""
        command = [sys.executable, "-m", "sentinel", *words, "--socket", str(self.socket)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=REPO, env=self.environ)

    def ask(self, *words: str) -> dict[str, Any]:
        """What the command prints with --json.

        Tests poll with it: a process for each question costs 0.1 s of CPU, and its answer is as much older.
        """
        match words:
            case ("status",) | ("alerts",):
                return self._get(f"/v1/{words[0]}")
            case ("alerts", "--all"):
                return self._past()
            case ("why", rule):
                return self._get(f"/v1/why/{quote(rule, safe='')}")
            case ("why", rule, server):
                return self._get(f"/v1/why/{quote(rule, safe='')}?server={quote(server, safe='')}")
        done = self.cli(*words, "--json")
        assert done.stdout, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def _get(self, path: str) -> dict[str, Any]:
        status, answer = client.get(path, [self.socket])
        assert status == 200, client.refusal(status, answer)
        return answer

    def _past(self) -> dict[str, Any]:
        """The whole history; the daemon answers in pages, the newest first."""
        query = "?limit=1000"
        answer = self._get(f"/v1/history{query}")
        found = list(answer["transitions"])
        while answer["earlier"] is not None:
            answer = self._get(f"/v1/history{query}&before={answer['earlier']}")
            found[:0] = answer["transitions"]
        return {**answer, "transitions": found}

    def reads(self, rule: str, name: str) -> dict[str, object]:
        """What the checks of a rule read for one server, at present; nothing while the server is not known."""
        status, answer = client.get(f"/v1/why/{quote(rule, safe='')}?server={quote(name, safe='')}", [self.socket])
        assert status in (200, 404), client.refusal(status, answer)
        return {
            read["name"]: read["value"]
            for subject in answer.get("subjects", ())
            for check in subject["checks"]
            for read in check["reads"]
        }

    def server(self, pid: int) -> dict[str, Any] | None:
        """What the status says about the process."""
        return next((s for s in self.ask("status")["servers"] if s["pid"] == pid), None)

    def name_of(self, pid: int) -> str:
        """The name under which the daemon knows the process, as soon as it has found it and seen it ready."""
        found: list[dict[str, Any]] = []

        def ready() -> bool:
            entry = self.server(pid)
            if entry is not None and entry["state"] == "ready":
                found.append(entry)
            return bool(found)

        wait_for(ready, lambda: f"the daemon knows process {pid} as ready; it has {self.ask('status')['servers']}", PROMISE)
        return str(found[0]["name"])

    def alert(self, rule: str, name: str) -> dict[str, Any] | None:
        """The open alert of a rule about a server."""
        found = self.ask("alerts")["alerts"]
        return next((a for a in found if a["rule"] == rule and a["entity"]["name"] == name), None)

    def await_alert(self, rule: str, name: str, within: float = PROMISE) -> dict[str, Any]:
        """Wait for it."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            if (alert := self.alert(rule, name)) is not None:
                found.append(alert)
            return bool(found)

        wait_for(there, lambda: f"{rule} about {name}; `why` says {self.ask('why', rule, name)}", within)
        return found[0]

    def verdict(self, rule: str, name: str) -> tuple[str, str]:
        """Verdict and alert state of a rule for one server."""
        (subject,) = self.ask("why", rule, name)["subjects"]
        return subject["verdict"], subject["state"]

    def verdicts(self, name: str) -> dict[str, tuple[str, str]]:
        """Those of every rule above advice."""
        rules = self.ask("status")["rules"]
        above = [rule["id"] for rule in rules if rule["severity"] != "info" and rule["scope"] == "server"]
        return {rule: self.verdict(rule, name) for rule in above}

    def told(self, rule: str, state: str = "firing") -> list[dict[str, Any]]:
        """Transitions of a rule in the history."""
        history = self.ask("alerts", "--all")["transitions"]
        return [t for t in history if t["rule"] == rule and t["state"] == state]


def wait_for(condition: Callable[[], object], what: str | Callable[[], str], within: float = 10.0, *, pause: float = 0.1) -> None:
    """Poll until the condition holds; fails with `what`, which is asked when it failed if it says how things stand."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)


def first_flags(alert: dict[str, Any]) -> list[str]:
    """The words that the first fix says to add."""
    added = re.search(r"\(add `([^`]*)` (?:to|at the end of) the command line of llama-server", alert["fixes"][0]["do"])
    assert added, alert["fixes"][0]
    return shlex.split(added[1])


def over(sentinel: Sentinel, rule: str, name: str, within: float = PROMISE) -> None:
    """The alert is over, because the rule is known not to hold; that nothing can be judged would not do."""

    def known() -> bool:
        return sentinel.alert(rule, name) is None and sentinel.verdict(rule, name) == ("no-match", "inactive")

    # Both at once: while it is read, a value may just have grown too old.
    wait_for(known, lambda: f"{rule} is over; {sentinel.ask('why', rule, name)}", within)


def needs_root() -> None:
    """Skip where the test cannot do its part."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def as_user(uid: int, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    return subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, check=False, cwd="/")
