"""The outcome of each start in a server's log. Pure: for saved logs, without the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sentinel.diagnose.error_lines import FATAL, FATAL_BYTES, NEVER_RAN, first_error, last_error, last_line, last_number
from sentinel.engine.log.envelope import strip
from sentinel.engine.log.match import Match
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import LineEvidence
from sentinel.model.input_limits import SPAN_LIMIT

#: Events whose line names why a load failed; "failed to load model", which follows them, does not.
_SAYS_WHY = frozenset(
    {
        "model_rejected",
        "model_file_missing",
        "kv_alloc_failed",
        "weights_alloc_failed",
        "compute_alloc_failed",
        "gpu_alloc_failed",
        "host_alloc_failed",
        "buffer_alloc_failed",
    }
)
_DOTS = "load_dots"
#: Ends that are no sign of a start: they come to a server that serves as well.
_ANY_TIME = frozenset({"gpu_fault", "exception_thrown", "aborted", "shell_told_end"})
#: The library prints this in every load. It counts only where no line of llama-server itself reports the load.
_LIBRARY_LOADS = "library_loading"
_LOADED = "model_loaded"
#: Only a server that is ready works on requests: in an excerpt these lines stand for the start that was cut off.
_WORK = frozenset(
    {
        "slot_selected",
        "request_finished",
        "request_truncated",
        "request_cancelled",
        "prompt_timing",
        "generation_timing",
        "prompt_advanced",
        "prompt_progress",
        "generation_progress",
        "checkpoint_made",
        "gpu_lost_serving",
        "kv_full",
        "decode_failed",
    }
)
#: A router starts a child, and reports its end.
_CHILD, _CHILD_ENDED = "router_child", "router_child_exited"
_READ = _SAYS_WHY | _WORK | {_DOTS, _CHILD, _CHILD_ENDED, _LOADED}
#: Lines after the last event of a run that are searched for its end.
_LAST_LINES = 60


@dataclass(frozen=True, slots=True)
class Start:
    """A start that failed before serving, or one that served and then died.

    `failed`: the server reported it. `ended`: something else reports that it ended while loading the model. `loading`: the log
    stops while the model was loading. `crashed`: it had served. `died`: the excerpt has neither its start nor any work of it.
    """

    kind: Literal["failed", "ended", "loading", "crashed", "died"]
    #: the most informative line
    line: LineEvidence
    #: the minimum percentage of the model that was loaded, by the progress dots of old builds; 0 without dots
    percent: int = 0
    #: whether it is the last one in the logs
    last: bool = True
    #: the server that started
    who: str = ""
    #: of a log that stops while the model loads: its last line, where that is one that sentinel does not know
    final: LineEvidence | None = None
    #: `line` reports an error that no pattern knows
    unknown: bool = False


@dataclass(slots=True)
class _Run:
    """The current run."""

    state: str = ""
    served: bool = False
    failed: LineEvidence | None = None
    why: LineEvidence | None = None
    #: the message of systemd, a shell or a driver about its end
    ended: LineEvidence | None = None
    began: LineEvidence | None = None
    percent: int = 0
    #: llama-server's own lines say when it loads
    own: bool = False
    #: what failed can only fail at a start
    at_start: bool = False
    #: the last line behind all that is known
    final: LineEvidence | None = None
    #: the last error of a load that did not come to an end, where no pattern knows it
    error: LineEvidence | None = None

    def outcome(self) -> Start | None:
        if self.served:
            last_word = self.failed or self.ended
            return None if last_word is None or self.state == "stopping" else Start("crashed", self.why or last_word)
        if self.failed is not None:
            # Of an excerpt that begins in the middle, an abort is no failed start: the server may have served for days.
            known = self.at_start or self.began is not None or self.why is not None
            return Start("failed" if known else "died", self.why or self.failed, unknown=(self.why or self.failed) is self.error)
        if self.state in ("started", "loading") and self.began is not None:
            if self.why is not None:
                return Start("failed", self.why)
            if self.ended is not None:
                return Start("ended", self.ended, self.percent)
            if self.error is not None:
                return Start("loading", self.error, self.percent, final=self.final, unknown=True)
            return Start("loading", self.began, self.percent, final=self.final)
        return None


@dataclass(slots=True)
class StartOutcomes:
    """Reads the logs of one server in order; a router's children are distinguished by their ports."""

    ruleset: RuleSet
    who: str = "llama-server"
    #: the ports of a router's children, by model name
    _ports: dict[str, int] = field(default_factory=dict)
    _runs: dict[int | None, _Run] = field(default_factory=dict)
    _earlier: list[Start] = field(default_factory=list)

    def read(self, name: str, data: bytes, numbers: Sequence[int] | None = None, ends: Iterable[tuple[int, str]] = ()) -> None:
        """Read the next log; a server may continue in the next file of a rotated log.

        `numbers`: each line's number in its file, if other senders' lines were filtered out. `ends`: other senders' lines, by
        number, that report the end of the server's process.
        """
        extractor = self.ruleset.extractor(
            "llama-server", lambda event: event.starts_run or "server.state" in event.const or event.name in _READ
        )
        lines = data.split(b"\n")
        numbers = range(1, len(lines) + 1) if numbers is None else numbers
        pending = sorted(ends, reverse=True)
        #: index of the first line after the last event of each run
        beyond: dict[int | None, int] = {}
        for match in extractor.events(data):
            line = LineEvidence(match.text, name, numbers[match.line_index])
            while pending and pending[-1][0] < line.n:
                self._ended(name, *pending.pop())
            if match.event.name in (_CHILD, _CHILD_ENDED):
                self._child(match, line)
                continue
            run = self._runs.setdefault(match.port, _Run())
            if match.event.starts_run and run.state != "started":
                self._look_beyond(run, match.port, name, lines, numbers, beyond.pop(match.port, None), match.line_index)
                self._over(run, match.port)
                run = self._runs[match.port] = _Run("started", began=line)
            _advance(run, match, line)
            beyond[match.port] = match.line_index + 1
        for port, begin in beyond.items():
            self._look_beyond(self._runs[port], port, name, lines, numbers, begin, len(lines))
        while pending:
            self._ended(name, *pending.pop())
        if not self._runs:
            # The dynamic loader or a shell reported that the server could not run: it printed nothing itself.
            none = _Run("started")
            self._look_beyond(none, None, name, lines, numbers, 0, len(lines))
            if none.failed is not None:
                none.at_start = NEVER_RAN.search(none.failed.line) is not None
                self._runs[None] = none

    def unfinished(self) -> list[Start]:
        """Starts that failed or died, in order; the last run of each process comes last."""
        serves = any(run.served for run in self._runs.values())
        # A child that has printed nothing yet, beside one that served, is where the excerpt ends: routers change models all day.
        runs = {
            port: run
            for port, run in self._runs.items()
            if port is None or run.state != "started" or run.failed or run.ended or not serves
        }
        ends = [replace(end, who=self._name(port)) for port, run in runs.items() if (end := run.outcome()) is not None]
        if any(end.who == self.who and end.kind != "loading" for end in ends):
            # A router's child ends with it.
            ends = [end for end in ends if end.kind != "loading"]
        return [*self._earlier, *ends]

    def _over(self, run: _Run, port: int | None) -> None:
        if (end := run.outcome()) is not None:
            self._earlier.append(replace(end, last=False, who=self._name(port)))

    def _name(self, port: int | None) -> str:
        name = next((name for name, known in self._ports.items() if known == port), "")
        return self.who if port is None else f"the child for model '{name}'" if name else f"{self.who}[{port}]"

    def _child(self, match: Match, line: LineEvidence) -> None:
        """Handle a router's line about its children."""
        fields = match.fields
        name = str(fields.get("name", ""))
        port = fields.get("port", self._ports.get(name))
        if not isinstance(port, int):
            return
        run = self._runs.get(port)
        if match.event.name == _CHILD:
            if run is not None:
                self._over(run, port)
            self._ports = {known: at for known, at in self._ports.items() if at != port} | {name: port}
            self._runs[port] = _Run("started", began=line)
        elif run is not None and fields.get("status") != 0:
            run.ended = run.ended or line
        elif run is not None:
            run.state = "stopping"

    def _knows(self, line: bytes) -> bool:
        extractor = self.ruleset.extractors.get("llama-server")
        return extractor is not None and next(extractor.events(line), None) is not None

    def _ended(self, name: str, number: int, text: str) -> None:
        run = self._runs.get(None)
        if run is not None and run.ended is None:
            run.ended = LineEvidence(text[:SPAN_LIMIT], name, number)

    def _look_beyond(
        self, run: _Run, port: int | None, name: str, lines: Sequence[bytes], numbers: Sequence[int], begin: int | None, end: int
    ) -> None:
        """Search lines that match no event: for the first error of a failed load, and the last message of a dead program."""
        if begin is None:
            return
        if run.failed is not None and run.why is None and run.began is not None and not run.served:
            first = next((i for i, n in enumerate(numbers) if n >= run.began.n), begin) if run.began.source == name else 0
            run.why = run.error = first_error(name, lines, numbers, first, begin, port)
        if run.failed is not None or run.state in ("", "stopping", "sleeping"):
            return
        for index in range(begin, min(end, begin + _LAST_LINES)):
            if FATAL_BYTES.search(lines[index]) is None:
                continue
            envelope = strip(lines[index].decode("utf-8", "replace"))
            if (
                envelope.port == port
                and envelope.level in (None, "E")
                and not envelope.private
                and FATAL.search(envelope.message)
            ):
                word = LineEvidence(envelope.message.strip()[:SPAN_LIMIT], name, numbers[index])
                if run.served:
                    run.ended = word
                else:
                    run.failed = word
                return
        if run.state in ("started", "loading") and run.why is None and run.began is not None:
            first = next((i for i, n in enumerate(numbers) if n >= run.began.n), begin) if run.began.source == name else 0
            run.error = last_error(name, lines, numbers, first, end, port, self._knows)
            if run.state == "loading":
                error = first_error(name, lines, numbers, begin, min(end, begin + _LAST_LINES), port, levels_only=True)
                if error is not None and error.n == last_number(lines, numbers, end):
                    run.failed = run.error = error
                run.final = last_line(name, lines, numbers, max(begin, end - _LAST_LINES), end, port)


def _advance(run: _Run, match: Match, line: LineEvidence) -> None:
    state = str(match.event.const.get("server.state", ""))
    if match.event.name == _DOTS:
        run.percent = min(100, len(str(match.fields["dots"])))
    elif match.event.name in _SAYS_WHY:
        # While the server serves, such a line concerns one request.
        run.why = run.why if run.served else line
    elif match.event.name in _WORK:
        run.served = True
    elif match.event.name == _LOADED:
        # What ends it from here on is no failed load.
        run.state, run.served, run.failed, run.why, run.ended = "ready", True, None, None, None
    elif match.event.name == _LIBRARY_LOADS and run.own:
        return
    elif state == "failed":
        run.state, run.failed = state, run.failed or line
        run.at_start = run.at_start or match.event.name not in _ANY_TIME
    elif state == "ready":
        run.state, run.served, run.failed, run.why, run.ended = state, True, None, None, None
    elif state == "loading":
        # Loaded again after sleep, or after a failed first attempt.
        run.state, run.failed, run.began, run.percent = state, None, line, 0
        run.own = match.event.name != _LIBRARY_LOADS
    elif state:
        run.state = state
