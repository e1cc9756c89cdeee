"""What sentinel says about a case: the shipped rules, all of them together, on the engine that serves the daemon.

A case with values is lived through second by second (the virtual clock and the sources' pace of the rules' inline tests); one
of files only is judged as `sentinel diagnose` judges it.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.case import Case, CaseError
from sentinel.diagnose.diagnosis import diagnose
from sentinel.engine.engine import Engine
from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.log.envelope import strip
from sentinel.engine.log.lines import LineSplitter
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.alert import Severity, Transition, Verdict
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.problem import did_you_mean
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound
from sentinel.model.rule import CaseDef, ExpectDef, RuleDef
from sentinel.rulefiles.testing.readings import EPOCH, readings, subject

REPO = Path(__file__).resolve().parent.parent
#: What a young process is sampled at (sources/processes/sample.py). Seconds.
_SAMPLED_EVERY = 2.0
#: The server of a case, as it is named where it is lived through and where only its files are judged.
_SUBJECTS = (Entity("server", "llama.service"), Entity("server", "llama-server"))
_PID = 4242
#: A recorded kernel log comes this long before the end of a case, unless the process ends with it. Seconds.
_KERNEL_BEFORE_END = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """The last word about one rule."""

    cause: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A case and what was said; `skipped` says why nothing could be."""

    case: Case
    told: Mapping[str, Told]
    skipped: str = ""
    #: rules about the server that knew enough to judge it at the end, of how many; 0 of 0 where only files were judged
    able: tuple[int, int] = (0, 0)


def corpus() -> Path:
    """Where the recorded corpus is, if it is anywhere."""
    return Path(os.environ.get("SENTINEL_CORPUS", REPO.parent / "shared" / "corpus"))


def judge(case: Case, ruleset: RuleSet, recordings: Path) -> Judged:
    """Judge one case. `recordings` is the root of the corpus. Raises CaseError for a case that cannot be meant."""
    rule = ruleset.rules.get(case.rule)
    if case.rule and (rule is None or case.cause not in {cause.id for cause in rule.rule.causes}):
        return Judged(case, {}, "not built")
    for name in (case.recording, case.kernel_recording):
        if name and not _path(name, recordings).is_file():
            if not name.startswith("corpus:"):
                raise CaseError(f"case '{case.name}': {name} is not there")
            return Judged(case, {}, "no corpus")
    able = (0, 0)
    if case.offline:
        transitions = _offline(case, ruleset, recordings)
    else:
        transitions, able = _lived(case, ruleset, recordings)
    told = {}
    for t in transitions:
        # Where this server is well, what is told of another, by the name that the kernel gives it, is no false alarm.
        if t.state == "firing" and (case.rule or t.entity.scope != "server" or t.entity in _SUBJECTS):
            told[t.rule] = Told(t.cause.id if t.cause else "", t.severity, t.summary)
    return Judged(case, told, able=able)


def _offline(case: Case, ruleset: RuleSet, recordings: Path) -> list[Transition]:
    log = _clean(_path(case.recording, recordings))
    kernel = [_clean(_path(case.kernel_recording, recordings))] if case.kernel_recording else []
    return list(diagnose(ruleset, [log], kernel, case.asked or {}).transitions)


def _lived(case: Case, ruleset: RuleSet, recordings: Path) -> tuple[list[Transition], tuple[int, int]]:
    rule = next(r.rule for r in ruleset.rules.values() if r.rule.scope == "server")
    engine = Engine(ruleset)
    transitions: list[Transition] = []
    for reading in heapq.merge(_common(rule, case), _special(rule, case, recordings), key=lambda reading: reading.at):
        transitions += engine.step(reading)
    if engine.unhealthy:
        raise CaseError(f"case '{case.name}': rules that raised: {engine.unhealthy}")
    about_it = [rule_id for rule_id, compiled in ruleset.rules.items() if compiled.rule.scope == "server"]
    verdicts = [engine.finding(rule_id, subject(rule), EPOCH + case.at).verdict for rule_id in about_it]
    return transitions, (sum(verdict is not Verdict.UNKNOWN for verdict in verdicts), len(verdicts))


def _common(rule: RuleDef, case: Case) -> Iterator[Reading]:
    """What the inline tests of rules know as well."""
    for signal in (*case.given, *case.unknown, *case.series):
        if signal not in CATALOGUE:
            raise CaseError(f"case '{case.name}': there is no signal '{signal}'{did_you_mean(signal, CATALOGUE)}")
    known = {name: value for name, value in case.given.items() if isinstance(value, bool | int | float | str)}
    unknown = (*case.unknown, *(case.given.keys() - known.keys()))
    # A server is there in every case, whatever is known of it.
    known.setdefault("server.pid", _PID)
    told = CaseDef(
        name=case.name,
        at=case.at,
        expect=ExpectDef("quiet"),
        given=known,
        unknown=unknown,
        log=case.log,
        kernel=case.kernel,
        systemd=case.systemd,
        gone=case.gone,
    )
    return readings(rule, told)


def _special(rule: RuleDef, case: Case, recordings: Path) -> list[Reading]:
    """Values that change, recorded logs, another process of the server, and events that sources tell by themselves."""
    server = subject(rule)
    entities: dict[str, Entity] = {"server": server, "host": HOST, "gpu": Entity("gpu", "0000:03:00.0")}
    out: list[Reading] = []
    for signal, points in case.series.items():
        entity = entities[CATALOGUE[signal].scope]
        until = case.at if case.gone is None or entity != server else min(case.at, case.gone)
        steps = int(until / _SAMPLED_EVERY) + 1
        out += [
            Samples(EPOCH + at, "eval", entity, {signal: value})
            for at in (step * _SAMPLED_EVERY for step in range(steps))
            if (value := _at(points, at)) is not None
        ]
    if case.restart is not None:
        out += _again(case, server)
    if case.recording:
        out += _recorded(_clean(_path(case.recording, recordings)), server)
    if case.kernel_recording:
        name, data = _clean(_path(case.kernel_recording, recordings))
        told = case.at - _KERNEL_BEFORE_END if case.gone is None else case.gone
        out.append(LogLines(EPOCH + told, name, HOST, data, kind="kernel"))
    out += [LogLines(EPOCH + at, "oom-daemons", HOST, line.encode(), kind="systemd") for at, line in case.oom_daemons]
    out += [Event(EPOCH + at, name, server, {"unit": server.name}, "journal") for at, name in case.events]
    return sorted(out, key=lambda reading: reading.at)


def _again(case: Case, server: Entity) -> Iterator[Reading]:
    """The same server in a new process: asked the same, and sampled as before."""
    values = {name: value for name, value in case.given.items() if CATALOGUE[name].scope == "server" and name != "server.pid"}
    began = case.restart or 0.0
    values["server.log_readable"] = True
    yield ServerFound(EPOCH + began, "eval", server, _PID + 1, EPOCH + began, values)
    sampled = {name: value for name, value in values.items() if CATALOGUE[name].stale_after is not None}
    for step in range(int((case.at - began) / _SAMPLED_EVERY) + 1):
        yield Samples(EPOCH + began + step * _SAMPLED_EVERY, "eval", server, sampled)


def _at(points: tuple[tuple[float, Value], ...], at: float) -> Value | None:
    """The value at a time: between two numbers in proportion, else the last one given; None before the first."""
    after = bisect_right([when for when, _ in points], at)
    if after == 0:
        return None
    since, value = points[after - 1]
    if after == len(points) or isinstance(value, bool | str):
        return value
    until, following = points[after]
    if isinstance(following, bool | str):
        return value
    now = value + (following - value) * (at - since) / (until - since)
    return round(now) if isinstance(value, int) and isinstance(following, int) else now


def _recorded(log: tuple[str, bytes], server: Entity) -> Iterator[Reading]:
    """A recorded log as the follower of the file would have read it: a second of its own stamps at a time."""
    name, data = log
    second, first, batch = 0, 1, list[bytes]()
    for number, line in enumerate(data.splitlines(), 1):
        elapsed = strip(line[:200].decode("utf-8", "replace")).elapsed
        if elapsed is not None and int(elapsed) > second:
            yield LogLines(EPOCH + second + 1, name, server, b"\n".join(batch), first=first)
            second, first, batch = int(elapsed), number, []
        batch.append(line)
    yield LogLines(EPOCH + second + 1, name, server, b"\n".join(batch), first=first)


def _path(name: str, recordings: Path) -> Path:
    where, _, rest = name.partition(":")
    return recordings / rest if where == "corpus" else REPO / name


def _clean(path: Path) -> tuple[str, bytes]:
    """A file as the command reads it."""
    splitter = LineSplitter()
    return path.name, splitter.feed(path.read_bytes()) + splitter.flush()
