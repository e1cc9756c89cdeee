"""What a live page shows, gathered from the daemon's answers: the last ones where it is gone. Blocks: called on threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sentinel.model.fault import Fault
from sentinel.report.of_daemon import Collected
from sentinel.terminal.glance import rank
from sentinel.web.answers import Answers

#: What may be looked at, in seconds; the first is shown unless another is asked for.
SPANS: Mapping[str, int] = {"1h": 3600, "24h": 86_400, "7d": 7 * 86_400}
#: Values of a plot.
_POINTS = 120
#: Servers whose plots are shown while none is chosen, and GPUs.
_MOST_PLOTTED, _MOST_GPUS = 3, 4
#: Seconds for which values over time and what was hold: their step is 30 s and more.
_SLOW = 10.0
_SPEEDS = "/v1/series?seconds=600&points=60&signal=server.generation_tps"

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class View:
    """`fault` says why the daemon does not answer: then the rest is what was last known."""

    host: str
    span: str
    chosen: str
    fault: str = ""
    #: None: nothing was ever known
    collected: Collected | None = None
    #: tokens a second of the last ten minutes, by server
    speeds: Mapping[str, Values] = field(default_factory=dict)


class Views:
    """Makes views, and keeps the last of each for when the daemon is gone."""

    def __init__(self, answers: Answers, host: str) -> None:
        self._answers = answers
        self.host = host
        self._last: dict[tuple[str, str], View] = {}

    def view(self, span: str, chosen: str) -> View:
        """Never raises for a daemon that is gone or refuses."""
        try:
            made = self._made(span, chosen, time.time())
        except Fault as gone:
            last = self._last.get((span, chosen)) or next(iter(self._last.values()), None)
            if last is None:
                return View(self.host, span, chosen, str(gone))
            return View(self.host, span, chosen, str(gone), last.collected, last.speeds)
        # One is enough for each page that is open; names that are typed are no reason to keep more.
        self._last = {**dict(list(self._last.items())[-3:]), (span, chosen): made}
        return made

    def status_or_fault(self) -> tuple[Mapping[str, Any], str]:
        """What the daemon says now; or nothing, and why."""
        try:
            return self._answers.json("/v1/status"), ""
        except Fault as gone:
            return {}, str(gone)

    def _made(self, span: str, chosen: str, now: float) -> View:
        status = self._answers.json("/v1/status")
        seconds = SPANS[span]
        # In steps, so that nothing of the page changes without need.
        until = now - now % _SLOW
        history = self._answers.json(f"/v1/history?since={until - seconds:.0f}", _SLOW)["transitions"]
        speeds = {one["entity"]["name"]: one["mean"] for one in self._series(_SPEEDS, _SLOW)["series"]}
        series = {}
        for scope, name in _plotted(status, chosen):
            answer = self._series(f"/v1/series?seconds={seconds}&points={_POINTS}&entity={quote(name, safe='')}", _SLOW)
            if answer["series"]:
                series[scope, name] = answer
        local = time.localtime(now)
        collected = Collected(
            made=until, begin=until - seconds, offset=local.tm_gmtoff, zone=local.tm_zone, machine=self.host, status=status,
            transitions=history, series=series, commands={},
        )  # fmt: skip
        return View(self.host, span, chosen, "", collected, speeds)

    def _series(self, path: str, fresh: float) -> Mapping[str, Any]:
        # An older daemon has none, and one that never had memory has none either.
        with contextlib.suppress(Fault):
            return self._answers.json(path, fresh)
        return {"series": []}


def _plotted(status: Mapping[str, Any], chosen: str) -> list[tuple[str, str]]:
    servers = [str(server["name"]) for server in sorted(status["servers"], key=lambda one: rank(one, status["alerts"]))]
    if chosen:
        return [("server", chosen)] if chosen in servers else []
    found = [("server", name) for name in servers[:_MOST_PLOTTED]]
    found += [("gpu", str(gpu["address"])) for gpu in status["gpus"][:_MOST_GPUS]]
    return [*found, ("host", "host")]
