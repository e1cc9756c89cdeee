"""How each start that a server's log tells of came out. Pure: for logs of servers that nobody can look at any more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sentinel.engine.log.extractor import Extractor, Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import LineEvidence

#: Lines that say why a load failed; "failed to load model", which follows them, says only that it did.
_TELLING = (
    "model_rejected",
    "model_file_missing",
    "kv_alloc_failed",
    "weights_alloc_failed",
    "compute_alloc_failed",
    "gpu_alloc_failed",
    "host_alloc_failed",
    "buffer_alloc_failed",
)
_DOTS = "load_dots"


@dataclass(frozen=True, slots=True)
class Start:
    """A start that did not come to serving: it failed, or nothing more was printed while the model was loaded."""

    kind: Literal["failed", "loading"]
    #: the line that tells most of it
    line: LineEvidence
    #: percent of the model that were loaded at least, by the progress dots of old builds; 0 where there are none
    percent: int = 0
    #: it is the last one in the logs
    last: bool = True


@dataclass(slots=True)
class _Run:
    """The run that is being read."""

    state: str = ""
    failed: LineEvidence | None = None
    telling: LineEvidence | None = None
    began: LineEvidence | None = None
    percent: int = 0

    def outcome(self) -> Start | None:
        if self.failed is not None:
            return Start("failed", self.telling or self.failed)
        if self.state in ("started", "loading") and self.began is not None:
            return Start("loading", self.began, self.percent)
        return None


@dataclass(slots=True)
class Starts:
    """Reads the logs of one server in their order; the children of a router are told apart by their ports."""

    ruleset: RuleSet
    _runs: dict[int | None, _Run] = field(default_factory=dict)
    _earlier: list[Start] = field(default_factory=list)

    def read(self, name: str, data: bytes) -> None:
        """One more log; a server may go on in the next file of a rotated log."""
        wanted = [
            event
            for event in self.ruleset.events.values()
            if event.source == "llama-server"
            and (event.starts_run or "server.state" in event.const or event.name in (*_TELLING, _DOTS))
        ]
        for match in Extractor(wanted).events(data):
            line = LineEvidence(match.text, name, match.line_index + 1)
            run = self._runs.setdefault(match.port, _Run())
            state = str(match.event.const.get("server.state", ""))
            if match.event.starts_run and run.state != "started":
                self._over(run)
                run = self._runs[match.port] = _Run("started", began=line)
            _advance(run, match, state, line)

    def unfinished(self) -> list[Start]:
        """Starts that did not come to serving, in their order; of the last run of each process the last."""
        ends = [end for run in self._runs.values() if (end := run.outcome()) is not None]
        return [*self._earlier, *ends]

    def _over(self, run: _Run) -> None:
        if (end := run.outcome()) is not None:
            self._earlier.append(replace(end, last=False))


def _advance(run: _Run, match: Match, state: str, line: LineEvidence) -> None:
    if match.event.name == _DOTS:
        run.percent = min(100, len(str(match.fields["dots"])))
    elif match.event.name in _TELLING:
        run.telling = line
    elif state == "failed":
        run.state, run.failed = state, run.failed or line
    elif state == "ready":
        run.state, run.failed, run.telling = state, None, None
    elif state == "loading":
        # Loaded anew after sleep, or after a first attempt that failed.
        run.state, run.failed, run.began, run.percent = state, None, line, 0
    elif state:
        run.state = state
