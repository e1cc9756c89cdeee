"""What the screen shows, as the daemon has it: asked every two seconds, by a thread of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.api import client
from sentinel.cli.recent_series import Values

#: Ten minutes in columns of 10 s.
_SERIES = "/v1/series?seconds=600&points=60"
#: Seconds over which the pace of a load is taken.
_PACE = 30.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One answer. `fault` says why there is none: then the rest is the last one."""

    at: float = 0.0
    fault: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    #: by name of the server, GPU or host, and signal
    series: Mapping[tuple[str, str], Values] = field(default_factory=dict)
    #: seconds until a server that loads is ready, by its name, where its pace is known
    seconds_left: Mapping[str, float] = field(default_factory=dict)


class DaemonPoll:
    """Asks the daemon. The methods block and are called on threads."""

    def __init__(self, sockets: Sequence[Path] | None) -> None:
        self._sockets = sockets
        self._last = Snapshot()
        self._loads: dict[str, deque[tuple[float, float]]] = {}

    def look(self) -> Snapshot:
        """The present state; never raises for a daemon that is gone or refuses."""
        now = time.time()
        try:
            status = self._get("/v1/status")
            # An older daemon has no series.
            series = self._get(_SERIES, {"series": []})
        except client.DaemonUnreachable as gone:
            self._last = Snapshot(self._last.at, str(gone), self._last.status, self._last.series)
            self._loads.clear()
            return self._last
        values = {(one["entity"]["name"], one["signal"]): one["mean"] for one in series["series"]}
        self._last = Snapshot(now, "", status, values, self._paces(status["servers"], now))
        return self._last

    def silence(self, rule: str, server: str, duration: str) -> str:
        """Silence a rule on a server; returns what came of it, a sentence."""
        body = {"rule": rule, "server": server, "for": duration, "reason": "set in sentinel top"}
        try:
            code, answer = client.post("/v1/silences", body, self._sockets)
        except client.DaemonUnreachable as gone:
            return str(gone)
        if code != 200:
            return client.refusal(code, answer)
        return f"Silenced {rule} on {server} for {duration}. Undo: sentinel unsilence {answer['silence']['id']}"

    def verb(self, *words: str) -> str:
        """What a command of sentinel prints when it asks this daemon."""
        where = ["--socket", str(self._sockets[0])] if self._sockets else []
        # -P: with -m alone Python looks for modules in the current folder first, where anybody may have put a `sentinel`.
        command = [sys.executable, "-P", "-m", "sentinel", words[0], *where, *words[1:]]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                errors="backslashreplace",
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"`sentinel {words[0]}` gave no answer: {error}"
        return (done.stdout + done.stderr).strip() or "nothing"

    def _get(self, path: str, absent: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        code, answer = client.get(path, self._sockets)
        if code == 404 and absent is not None:
            return absent
        if code != 200:
            raise client.DaemonUnreachable(client.refusal(code, answer))
        return answer

    def _paces(self, servers: Sequence[Mapping[str, Any]], now: float) -> dict[str, float]:
        loading = {s["name"]: s["load_share"] for s in servers if s["state"] == "loading" and s.get("load_share") is not None}
        self._loads = {name: self._loads.get(name, deque()) for name in loading}
        left = {}
        for name, share in loading.items():
            seen = self._loads[name]
            if seen and share < seen[-1][1]:
                seen.clear()
            seen.append((now, share))
            while now - seen[0][0] > _PACE:
                seen.popleft()
            (begun, before), spent = seen[0], now - seen[0][0]
            if spent > 0 and share > before:
                left[name] = (1.0 - share) * (now - begun) / (share - before)
        return left
