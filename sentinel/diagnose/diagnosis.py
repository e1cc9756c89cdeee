"""Somebody's log files as readings: no process, no clock, only what was printed and what the command line says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sentinel.diagnose.failed_starts import Start, Starts
from sentinel.engine.engine import Engine, undated
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.inspect.explain import why as explain
from sentinel.engine.log.envelope import front_end, strip
from sentinel.engine.log.extractor import Extractor
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.llama.command_line import decode
from sentinel.model.alert import Transition, Verdict
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.json_form import is_news, iso
from sentinel.model.reading import LogLines, Reading, Samples, Tick

#: Where undated logs begin on the engine's clock; the year 2001 is recognisably not a date of the log.
_UNDATED = 1_000_000_000.0
_LIVE = "a log does not tell: only a sentinel that runs beside the server sees it"
_NO_LOG = "no log of the server was given"
_DETAIL = "start llama-server with -lv 4"
#: Lines fed together; their times lie within a moment, so that windows and holds see time pass.
_BATCH = 2000
_STAMP = re.compile(rb"^(?:\x1b\[[\d;]*m)*(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3})[ \x1b]")
#: A line of the kernel inside any other log: the journal's short forms, dmesg, /dev/kmsg, the journal's export as JSON.
_KERNEL = re.compile(
    rb"^(?:\S+ +\S+ +[\d:.]+ \S+ kernel: |\d{4}-\d\d-\d\d\S+ \S+ kernel: |(?:<\d+>)?\[ *[\d.]+\] |\d+,\d+,\d+,[-+c][^;]*;"
    rb"|\{.*\"_TRANSPORT\" ?: ?\"kernel\")"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Transitions in order, for each rule that could not judge what it misses, and starts that did not come to serving."""

    transitions: tuple[Transition, ...]
    #: alerts that are open when the logs end, by fingerprint, as they stand then: they were told at their first sight
    standing: Mapping[str, Transition]
    unknown: Mapping[str, Mapping[str, str]]
    starts: tuple[Start, ...]
    lines: int
    events: int
    #: the rule that was asked about, explained: when it fired last, and as it was when the logs ended
    why: Mapping[str, Any] | None = None


def diagnose(
    ruleset: RuleSet,
    logs: Iterable[tuple[str, bytes]],
    kernel_logs: Iterable[tuple[str, bytes]],
    values: Mapping[str, Value | Unknown],
    why: str = "",
) -> Diagnosis:
    """Judge logs (name, content with lines ended by LF) of one server; `values` is what its command line asked for.

    `why` is the id of a rule to explain.
    """
    engine = Engine(ruleset)
    server = Entity("server", "llama-server")
    logs = list(logs)
    kernel_logs = list(kernel_logs)
    transitions: list[Transition] = []
    facts: dict[str, Value | Unknown] = {**_not_in_a_log(), "server.log_readable": bool(logs), **values}
    if (kept_by := _kept_by(logs)) is not None:
        facts["server.front_end"] = kept_by
    start = _begin(logs)
    dated = start is not None
    at = start if start is not None else _UNDATED
    transitions += engine.step(Samples(at, "command line", server, facts))
    nothing = Unknown("no kernel log was given: add --kernel-log FILE (journalctl -k -b > FILE)")
    readable: Value | Unknown = any(data for _, data in kernel_logs) if kernel_logs else nothing
    transitions += engine.step(Samples(at, "kernel log", HOST, {"host.kernel_log_readable": readable}))
    ends = _Ends(ruleset)
    starts = Starts(ruleset)
    for name, data in logs:
        starts.read(name, data)
    unknown: dict[str, dict[str, str]] = {}
    asked = _Asked(engine, why, server, logs=bool(logs), dated=dated)
    for name, data in logs:
        clock = _Clock(at)
        for reading in _log_readings(name, data, server, clock, ends):
            at = max(at, reading.at)
            if isinstance(reading, _RunEnds):
                # A server that is stopped ends the observation, not the condition: what was held back counts.
                transitions += asked.heard(_run_out(engine, at))
                unknown = _unknown(engine, server, at, logs=bool(logs))
                asked.stops(at)
                clock.base += _longest(engine)
            else:
                transitions += asked.heard(engine.step(reading))
    mixed = [(name, _kernel_lines(data)) for name, data in logs]
    for name, data in [*((n, d) for n, d in mixed if d), *kernel_logs]:
        transitions += asked.heard(engine.step(LogLines(at, name, HOST, data, kind="kernel")))
    transitions += asked.heard(_run_out(engine, at))
    asked.ends(at)
    fired = {t.rule for t in transitions if t.state == "firing"}
    unknown = {rule: missing for rule, missing in unknown.items() if rule not in fired} | _unknown(
        engine, server, at, logs=bool(logs)
    )
    standing = {
        told.fingerprint: told
        for record in engine.book.open()
        if record.state == "firing" and (told := engine.standing(ruleset.rules[record.rule], record))
    }
    if not dated:
        transitions = [undated(t) for t in transitions]
    return Diagnosis(
        tuple(transitions), standing, unknown, tuple(starts.unfinished()), engine.lines_read, engine.events_seen, asked.answer()
    )


class _Asked:
    """Explains one rule: at the moment when its alert was told last, and when the server stopped or the logs end."""

    def __init__(self, engine: Engine, rule: str, server: Entity, *, logs: bool, dated: bool) -> None:
        self._engine = engine
        self._rule = rule
        self._server = server
        self._reword = lambda name, reason: _reason(engine, server, name, reason, logs=logs)
        self._dated = dated
        self._moments: dict[str, dict[str, Any]] = {}

    def heard(self, transitions: list[Transition]) -> list[Transition]:
        """Look at what was told; given back as it is."""
        for told in transitions:
            if told.rule == self._rule and told.state == "firing" and told.at is not None:
                self._look("fired", told.at)
        return transitions

    def stops(self, at: float) -> None:
        """The server is about to stop."""
        self._look("stopped", at)

    def ends(self, at: float) -> None:
        """The logs end. What a server that was told to stop is then, says nothing of how it was: the moment before does."""
        state = self._engine.beliefs.facts.last(self._server, "server.state")
        if state is None or state.value != "stopping" or "stopped" not in self._moments:
            self._moments.pop("stopped", None)
            self._look("end", at)

    def _look(self, moment: str, at: float) -> None:
        if self._rule:
            found = explain(self._engine, self._rule, "", at, self._reword)
            for subject in found["subjects"]:
                subject |= {"moment": moment, "as_of": iso(at) if self._dated else None}
            self._moments[moment] = found

    def answer(self) -> Mapping[str, Any] | None:
        """As `sentinel why` answers, a subject for each moment; an alert that is still open is told as of when it fired."""
        if not self._moments:
            return None
        fired = self._moments.get("fired")
        subjects = [] if fired is None else list(fired["subjects"])
        open_now = {s["entity"] for s in subjects}
        last = self._moments.get("stopped") or self._moments["end"]
        subjects += [s for s in last["subjects"] if s["entity"] not in open_now or s["state"] != "firing"]
        return last | {"subjects": subjects}


def as_it_ended(found: Diagnosis) -> list[Transition]:
    """What people are told: an alert that is open when the logs end is told once, as it stands then."""
    out: list[Transition] = []
    standing = dict(found.standing)
    for transition in reversed(found.transitions):
        if not is_news(transition):
            continue
        end = standing.get(transition.fingerprint)
        if end is None:
            out.append(transition)
        elif transition.previous != "firing":
            # The beginning of the episode that is still open; what came before it is told as it was.
            told = {key: getattr(end, key) for key in ("severity", "summary", "cause", "fixes", "evidence")}
            out.append(replace(transition, **told))
            del standing[transition.fingerprint]
    out.reverse()
    return out


@dataclass(slots=True)
class _Clock:
    """Where the log being read begins on the engine's clock; moved on where time was let pass between its lines."""

    base: float


@dataclass(frozen=True, slots=True)
class _RunEnds:
    """Not a reading: the next line is the first of a shutdown."""

    at: float


class _Ends:
    """Finds the lines with which a server that served begins to stop."""

    def __init__(self, ruleset: RuleSet) -> None:
        stopping = [
            event
            for event in ruleset.events.values()
            if event.source == "llama-server" and event.const.get("server.state") == "stopping"
        ]
        self._extractor = Extractor(stopping)

    def lines(self, data: bytes) -> frozenset[int]:
        """Their numbers, counted from 1."""
        return frozenset(match.line_index + 1 for match in self._extractor.events(data))


def _not_in_a_log() -> dict[str, Value | Unknown]:
    """What a log never tells, each with how else to provide it."""
    asked = set(decode([], {}).signals())
    argv = Unknown("a log does not tell: add --argv with the server's command line")
    live = Unknown(_LIVE)
    return {
        name: argv if name in asked else live
        for name, signal in CATALOGUE.items()
        if signal.scope == "server" and signal.origin in ("process", "model")
    }


def _run_out(engine: Engine, at: float) -> list[Transition]:
    """Let hold times run out: the log ended, the condition did not. Quiet times do not: nobody knows what came after."""
    out: list[Transition] = []
    for second in range(1, int(_longest(engine)) + 1):
        out += [t for t in engine.step(Tick(at + second)) if t.state == "firing"]
    return out


def _longest(engine: Engine) -> float:
    """Seconds after which no rule holds anything back any more."""
    return int(max((r.rule.hold for r in engine.ruleset.rules.values()), default=0.0) + engine.incidents.longest) + 1.0


def _unknown(engine: Engine, server: Entity, at: float, *, logs: bool) -> dict[str, dict[str, str]]:
    out = {}
    for rule_id, compiled in sorted(engine.ruleset.rules.items()):
        if rule_id in engine.unhealthy:
            continue
        entity = HOST if compiled.rule.scope == "host" else server
        if compiled.rule.scope == "gpu":
            continue
        finding = engine.finding(rule_id, entity, at)
        if finding.verdict is Verdict.UNKNOWN:
            out[rule_id] = {name: _reason(engine, server, name, why, logs=logs) for name, why in finding.missing.items()}
    return out


def _reason(engine: Engine, server: Entity, name: str, why: str, *, logs: bool) -> str:
    """Why something is not known, for somebody who has files and no machine to look at."""
    signal = CATALOGUE.get(name)
    if signal is None:
        # An event: that the kernel's log is missing was said by us, of the server's the engine speaks as in a daemon.
        return why if logs or "--kernel-log" in why else _NO_LOG
    if name in engine.beliefs.facts.unknowns(HOST if signal.scope == "host" else server):
        return why
    if signal.origin != "log":
        return _LIVE
    if not logs:
        return _NO_LOG
    return "the log that was given does not say it" + (f"; to have it printed: {_DETAIL}" if _DETAIL in signal.provide else "")


def _begin(logs: Iterable[tuple[str, bytes]]) -> float | None:
    """The first absolute time in any of the logs."""
    for _, data in logs:
        for line in data[:65536].split(b"\n")[:50]:
            wall = strip(line.decode("utf-8", "replace")).wall
            if wall is not None:
                return wall
    return None


def _kept_by(logs: Iterable[tuple[str, bytes]]) -> str | None:
    """The front end whose prefix the lines carry."""
    lines = (line for _, data in logs for line in data[:65536].split(b"\n")[:100])
    return next((name for line in lines if (name := front_end(line[:160].decode("utf-8", "replace")))), None)


def _kernel_lines(data: bytes) -> bytes:
    if b"kernel" not in data and b"] " not in data and b";" not in data:
        return b""
    return b"\n".join(line for line in data.split(b"\n") if _KERNEL.match(line))


def _log_readings(name: str, data: bytes, server: Entity, clock: _Clock, ends: _Ends) -> Iterator[Reading | _RunEnds]:
    """Batches in which time passes as the stamps say; a stamp that goes back is a restart and time goes on from there."""
    last_lines = ends.lines(data)
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    offset = 0.0
    last = 0.0
    batch: list[bytes] = []
    first = 1
    at = clock.base
    for number, line in enumerate(lines, 1):
        match = _STAMP.match(line)
        if match is not None:
            elapsed = int(match[1]) * 60 + int(match[2]) + int(match[3]) / 1e3
            if elapsed < last:
                offset += last
            last = elapsed
            now = clock.base + offset + elapsed
        elif line[:1] in (b"{", b"2") or line[3:4] == b" ":
            wall = strip(line[:4096].decode("utf-8", "replace")).wall
            now = wall if wall is not None else at
        else:
            now = at
        stops = number in last_lines
        if batch and (stops or now - at >= 1.0 or len(batch) >= _BATCH):
            yield LogLines(at, name, server, b"\n".join(batch), first=first)
            yield Tick(at)
            batch, first = [], number
        if stops:
            at = max(at, now)
            yield _RunEnds(at)
            at = now = max(at, clock.base + offset + last)
        at = max(at, now)
        batch.append(line)
    if batch:
        yield LogLines(at, name, server, b"\n".join(batch), first=first)
