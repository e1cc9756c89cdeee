"""Evaluates saved log files: no process and no clock, only the lines and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from sentinel.diagnose import gaps
from sentinel.diagnose.complaints import NONE, Complaints, complaints
from sentinel.diagnose.explain_rule import Explained, missing_signals
from sentinel.diagnose.failed_starts import Start, StartOutcomes
from sentinel.diagnose.front_end_prefix import without_prefix
from sentinel.diagnose.hold_times import longest, run_out
from sentinel.diagnose.log_clock import LogClock, begins, undated
from sentinel.diagnose.origin import gpu_maker_of, keeper_of, system_of
from sentinel.diagnose.own_words import in_its_own_words
from sentinel.diagnose.saved_logs import ChildBegins, Later, RunBegins, RunEnds, SavedLogReader
from sentinel.diagnose.senders import Line, as_kernel, lines
from sentinel.diagnose.servers import UNNAMED, Server, end_of_process, named, recognised, servers, unit_of
from sentinel.diagnose.speeds import Reported, Speeds
from sentinel.engine.engine import Engine
from sentinel.engine.facts.state import Run
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import decode
from sentinel.model.alert import LineEvidence, Transition
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import LogLines, Samples, Tick

#: Start of undated logs on the engine's clock; the year 2001 is recognisably not a date from the log.
_UNDATED = 1_000_000_000.0
#: Lines at the start of a log that are searched for a date.
_HEAD = 50


#: Refusals that the client gets as an error.
_REFUSED = ("request_overflow", "batch_overflow")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Transitions in order, the missing signals of each rule that could not evaluate, and failed starts."""

    transitions: tuple[Transition, ...]
    #: alerts open when the logs end, by fingerprint, as they are then; their transitions are as of when they fired
    standing: Mapping[str, Transition]
    unknown: Mapping[str, Mapping[str, Unknown]]
    starts: tuple[Start, ...]
    lines: int
    events: int
    #: the explanation of the requested rule: as it last fired, and as it was when the logs ended
    why: Mapping[str, Any] | None = None
    #: number of runs of each server
    runs: Mapping[str, int] = field(default_factory=dict)
    #: the run of its server in which an alert fired, by fingerprint; counted from 1
    run_of: Mapping[str, int] = field(default_factory=dict)
    #: requests refused for their size: the count and the last one. A few are the client's problem and no alert
    refused: tuple[tuple[int, LineEvidence], ...] = ()
    #: lines in which the log itself reports an error; counted only if nothing but advice was found
    complaints: Complaints = NONE
    #: the speeds that the logs report
    speeds: Reported = field(default_factory=dict)
    #: the times of the first and the last line
    span: tuple[float, float] = (0.0, 0.0)
    #: whether times are those of a calendar; else they are seconds after an arbitrary one
    dated: bool = True
    #: senders that print lines of a llama-server and are too many to be judged
    left_out: int = 0


def diagnose(
    ruleset: RuleSet,
    logs: Iterable[tuple[str, bytes]],
    kernel_logs: Iterable[tuple[str, bytes]],
    values: Mapping[str, Value | Unknown],
    why: str = "",
    jumps: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> Diagnosis:
    """Evaluate logs (name, content with LF line ends) of one machine; `values` are the signals of its server's command line.

    `why` is the id of a rule to explain. `jumps`: by name of a log, after how many of its lines how many are missing.
    """
    return _Judge(ruleset, values, why).judge(list(logs), list(kernel_logs), jumps)


def _numbered(own: Iterable[Line], jump: tuple[int, int] | None) -> Iterable[Line]:
    """With the numbers that the lines have in the whole file."""
    if jump is None:
        return own
    head, missing = jump
    return (line if line.number <= head else line._replace(number=line.number + missing) for line in own)


class _Judge:
    def __init__(self, ruleset: RuleSet, values: Mapping[str, Value | Unknown], why: str) -> None:
        self._ruleset = ruleset
        self._values = values
        self._why = why
        self._engine = Engine(ruleset)
        self._transitions: list[Transition] = []
        self._unknown: dict[str, dict[str, Unknown]] = {}
        #: servers in the order of their first line, with the number of runs of each
        self._runs: dict[Entity, int] = {}
        self._run_of: dict[str, int] = {}
        self._starts: dict[Entity, StartOutcomes] = {}
        self._speeds = Speeds()
        self._begun = 0.0
        self._logs = False
        self._asked: Explained | None = None
        #: whether the last step was the start of a shutdown
        self._stopped = False

    def judge(
        self, logs: Sequence[tuple[str, bytes]], kernel_logs: Sequence[tuple[str, bytes]], jumps: Mapping[str, tuple[int, int]]
    ) -> Diagnosis:
        engine = self._engine
        self._logs = bool(logs)
        extractor = self._ruleset.extractors.get("llama-server")
        read = [(name, list(_numbered(lines(without_prefix(data, extractor)), jumps.get(name)))) for name, data in logs]
        start = next((at for _, own in read if (at := begins(own[:_HEAD])) is not None), None)
        clock = LogClock(_UNDATED if start is None else start, start is not None)
        self._begun = clock.at
        kernel = Later()
        reader = SavedLogReader(self._ruleset, clock, kernel)
        main: Entity | None = None
        sorted_logs = []
        left_out = 0
        for name, own in read:
            speak = recognised(own, extractor)
            found = servers(own, speak)
            left_out += len(speak.difference(*(server.voices for server in found)))
            found = found or [Server(UNNAMED, {line.voice for line in own if line.kind == "llama-server"})]
            entities, units = named(found, main)
            main = main or next(iter(entities.values()), None) or Entity("server", UNNAMED)
            sorted_logs.append((name, own, entities, units))
        main = main or Entity("server", UNNAMED)
        texts = [data for _, data in logs]
        origin = {
            "server.front_end": keeper_of(texts),
            "server.system": "linux" if kernel_logs else system_of(texts),
            "server.gpu_maker": gpu_maker_of([*texts, *(data for _, data in kernel_logs)]),
        }
        kept_by: dict[str, Value | Unknown] = {name: value for name, value in origin.items() if value}
        for server, unit in self._all(sorted_logs, main):
            self._meet(server, clock.at, ({"server.unit": unit} if unit else {}) | kept_by)
        readable: Value | Unknown = any(data for _, data in kernel_logs) if kernel_logs else gaps.NO_KERNEL_LOG
        self._step(Samples(clock.at, "kernel log", HOST, {"host.kernel_log_readable": readable}))
        asked = self._asked = Explained(engine, self._why, main, logs=self._logs, dated=clock.dated)
        beside = [(name, line) for name, data in kernel_logs for line in as_kernel(_numbered(lines(data), jumps.get(name)))]
        if local := next((line.local for _, own in read for line in own if line.local is not None), None):
            clock.starts_at(local)
        # With comparable times in both logs, an OOM kill comes before the lines of the next run.
        alike = bool(read) and all(clock.comparable(line) for _, line in beside if line.text.strip())
        if alike:
            times = [(clock.of_other(line), name, line) for name, line in beside if line.kind == "kernel"]
            kernel.lines.extend(sorted(times, key=lambda item: item[0]))
        for name, own, entities, units in sorted_logs:
            self._read_starts(name, own, entities, units)
            for step in reader.read(name, own, entities, units):
                self._take(step, clock)
        at = clock.at
        for reading in kernel.until(float("inf")):
            self._step(replace(reading, at=max(at, reading.at)))
            at = max(at, reading.at)
        if not alike:
            for name, data in kernel_logs:
                text = b"\n".join(line.text if line.kind == "kernel" else b"" for line in as_kernel(lines(data)))
                self._step(LogLines(at, name, HOST, text, kind="kernel"))
        units = {unit: entity for _, _, _, named in sorted_logs for unit, entity in named.items()}
        for name, line in beside:
            if line.kind == "systemd":
                self._step(LogLines(at, name, units.get(unit_of(line), HOST), line.text, kind="systemd", first=line.number))
        self._keep(run_out(engine, at))
        asked.ends(at)
        answer = replace(self._answer(at, asked, dated=clock.dated), left_out=left_out)
        quiet = not answer.starts and not any(t.state == "firing" and t.severity != "info" for t in answer.transitions)
        too_large = sum(times for times, _ in answer.refused)
        if quiet:
            return replace(answer, complaints=complaints(read, too_large=too_large, extractor=extractor))
        quote = partial(in_its_own_words, starts=answer.starts, logs=read, extractor=extractor)
        standing = {key: quote(one) for key, one in answer.standing.items()}
        return replace(answer, transitions=tuple(map(quote, answer.transitions)), standing=standing)

    def _all(
        self, read: Sequence[tuple[str, Sequence[Line], Mapping[str, Entity], Mapping[str, Entity]]], main: Entity
    ) -> list[tuple[Entity, str]]:
        units = {entity: unit for _, _, _, named in read for unit, entity in named.items()}
        found = dict.fromkeys([main, *(entity for _, _, entities, _ in read for entity in entities.values())])
        return [(entity, units.get(entity, "")) for entity in found]

    def _meet(self, server: Entity, at: float, more: Mapping[str, Value | Unknown]) -> None:
        """Register a server; a log without its beginning has no line of the start."""
        self._runs.setdefault(server, 1)
        if self._logs:
            self._engine.state.runs.setdefault(server, Run(at))
        facts: dict[str, Value | Unknown] = {**gaps.not_in_a_log(), "server.log_readable": self._logs, **self._values, **more}
        self._step(Samples(at, "command line", server, facts))

    def _take(self, step: LogLines | Tick | RunBegins | RunEnds | ChildBegins, clock: LogClock) -> None:
        if not isinstance(step, RunBegins):
            self._stopped = isinstance(step, RunEnds) or (self._stopped and not isinstance(step, LogLines))
        if isinstance(step, RunEnds):
            # A stopped server ends the observation, not the condition: pending alerts count.
            self._keep(run_out(self._engine, step.at))
            if step.last:
                # Of those before nothing would be left: it takes as long as 2,000 lines.
                self._unknown = self._missing(step.at)
            if self._asked is not None:
                self._asked.stops(step.at)
            clock.shift(longest(self._engine))
        elif isinstance(step, RunBegins):
            if not self._stopped:
                # It ended without a shutdown in the log: pending alerts count here as well.
                self._keep(run_out(self._engine, step.at))
            self._runs[step.server] = self._runs.get(step.server, 0) + 1
        elif isinstance(step, ChildBegins):
            child = Entity("server", f"{step.router.name}[{step.port}]")
            asked = dict(decode(step.words, {"LLAMA_ARG_ALIAS": step.name}).signals()) if step.words else {}
            if child in self._runs:
                self._runs[child] += 1
            self._runs.setdefault(child, 1)
            router: dict[str, Value | Unknown] = {"server.log_readable": True, "server.started_by": UNNAMED}
            self._step(Samples(step.at, "its router", child, {**gaps.not_in_a_log(), **router, **asked}))
        else:
            self._step(step)

    def _step(self, reading: LogLines | Samples | Tick) -> None:
        self._keep(self._engine.step(reading))
        self._speeds.note(self._engine, reading)

    def _keep(self, transitions: list[Transition]) -> None:
        for transition in transitions:
            if transition.state == "firing" and transition.previous != "firing":
                self._run_of[transition.fingerprint] = self._runs.get(transition.entity, 1)
        if self._asked is not None:
            self._asked.heard(transitions)
        self._transitions += transitions

    def _read_starts(self, name: str, own: Sequence[Line], entities: Mapping[str, Entity], units: Mapping[str, Entity]) -> None:
        for server in dict.fromkeys(entities.values()):
            mine = [line for line in own if line.kind == "llama-server" and entities.get(line.voice) == server]
            ends = [
                (line.number, f"{unit_of(line)}: {text}")
                for line in own
                if line.kind == "systemd" and units.get(unit_of(line)) == server and (text := end_of_process(line.text))
            ]
            data = b"\n".join(line.text for line in mine)
            starts = self._starts.setdefault(server, StartOutcomes(self._ruleset, server.name))
            starts.read(name, data, [line.number for line in mine], ends)

    def _answer(self, at: float, asked: Explained, *, dated: bool) -> Diagnosis:
        engine = self._engine
        fired = {t.rule for t in self._transitions if t.state == "firing"}
        unknown = {rule: missing for rule, missing in self._unknown.items() if rule not in fired} | self._missing(at)
        standing = {
            now.fingerprint: now
            for record in engine.book.open()
            if record.state == "firing" and (now := engine.standing(self._ruleset.rules[record.rule], record))
        }
        return Diagnosis(
            tuple(self._transitions if dated else (undated(t) for t in self._transitions)),
            standing if dated else {key: undated(one) for key, one in standing.items()},
            unknown,
            tuple(start for starts in self._starts.values() for start in starts.unfinished()),
            engine.intake.lines_read,
            engine.intake.events_seen,
            asked.answer(),
            {server.name: runs for server, runs in self._runs.items()},
            dict(self._run_of),
            tuple(self._refused()),
            speeds=self._speeds.all(),
            span=(self._begun, at),
            dated=dated,
        )

    def _refused(self) -> Iterator[tuple[int, LineEvidence]]:
        for server in self._runs:
            for event in _REFUSED:
                times, last = self._engine.state.happened(server, event, float("-inf"))
                if last is not None:
                    yield times, LineEvidence(last.line, last.source, last.n)

    def _missing(self, at: float) -> dict[str, dict[str, Unknown]]:
        """The missing signals of each rule; for a router, those of its children, which own the models."""
        # A child whose preset serves on another port is forgotten.
        known = [server for server in self._runs if self._engine.state.knows(server)] or list(self._runs)
        children = [server for server in known if any(server.name.startswith(f"{other.name}[") for other in known)]
        out: dict[str, dict[str, Unknown]] = {}
        for server in children or known:
            for rule, missing in missing_signals(self._engine, server, at, logs=self._logs).items():
                out.setdefault(rule, missing)
        return out
