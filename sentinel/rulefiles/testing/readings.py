"""The inline tests of rule files, as readings on a virtual clock. The daemon's engine evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.rules.evaluate import Finding
from sentinel.model.alert import Conclusion, Transition, Verdict
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.model.rule import CaseDef, ExpectDef, RuleDef

#: The virtual clock starts here, so that no time is zero or negative.
EPOCH = 1_000_000_000.0
_PID = 4242
#: Sampled facts are confirmed this often, as sources would. Seconds.
_RESAMPLE = 5.0
#: For this long after any reading, time passes second by second, as for the daemon. Seconds.
_BUSY = 60.0
#: Signals that every test gets: a machine on which all sources can be read.
_GIVEN_TO_SERVER: dict[str, Value] = {"server.log_readable": True}
_GIVEN: dict[str, Value] = {**_GIVEN_TO_SERVER, "host.kernel_log_readable": True}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The engine's output at a time of a test."""

    state: str
    cause: str
    summary: str
    fixes: tuple[str, ...]
    missing: tuple[str, ...]
    transitions: tuple[Transition, ...] = ()
    #: the outcomes at the times of earlier expectations
    earlier: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A test whose outcome was not as expected."""

    rule: str
    case: str
    what: tuple[str, ...]
    timeline: tuple[str, ...] = field(default=())
    #: the override that causes the difference: then it is not a mistake
    override: str = ""


def subject(rule: RuleDef) -> Entity:
    """The entity of a rule's tests."""
    if rule.scope == "host":
        return HOST
    return Entity(rule.scope, "llama.service" if rule.scope == "server" else "0000:03:00.0")


def readings(rule: RuleDef, case: CaseDef) -> Iterator[Reading]:
    """The readings of a test in order of time, with a tick a second while anything happens."""
    server = subject(rule) if rule.scope == "server" else Entity("server", "llama.service")
    gpu = subject(rule) if rule.scope == "gpu" else Entity("gpu", "0000:03:00.0")
    owners = {"server": server, "gpu": gpu, "host": HOST}
    values: dict[str, Value | Unknown] = {**_GIVEN, **case.given}
    for name in case.unknown:
        values[name] = Unknown("not readable in this test")
    by_entity: dict[Entity, dict[str, Value | Unknown]] = {}
    for name, value in values.items():
        by_entity.setdefault(owners[CATALOGUE[name].scope], {})[name] = value
    about_server = by_entity.pop(server, {})
    given_pid = about_server.pop("server.pid", _PID)
    pid = given_pid if isinstance(given_pid, int) else _PID
    queue: list[tuple[float, int, Reading]] = []
    if rule.scope == "server" or any(n.startswith("server.") for n in (*case.given, *case.series)):
        queue.append((0.0, 0, ServerFound(EPOCH, "test", server, pid, EPOCH, about_server)))
        by_entity[server] = {k: v for k, v in about_server.items() if CATALOGUE[k].stale_after is not None}
    gone = case.gone
    for entity, sampled in by_entity.items():
        at = 0.0
        while at <= case.at:
            if entity == server and gone is not None and at >= gone:
                # A new process brings its own values: the given ones are the first one's.
                break
            now = {signal: _as_of(case, signal, at, value) for signal, value in sampled.items()}
            queue.append((at, 1, Samples(EPOCH + at, "test", entity, now)))
            at += _RESAMPLE
    happens = _happens(case, owners, pid)
    queue += happens
    queue += [(at, 4, Tick(EPOCH + at)) for at in _ticks(case, [at for at, _, _ in happens])]
    queue.sort(key=lambda item: item[:2])
    for _, _, reading in queue:
        yield reading


def _happens(case: CaseDef, owners: Mapping[str, Entity], pid: int) -> list[tuple[float, int, Reading]]:
    """What changes after the start: time, order within one moment, reading."""
    server, gpu = owners["server"], owners["gpu"]
    happens: list[tuple[float, int, Reading]] = [
        (at, 1, _samples(at, entity, changed, owners)) for at, changed in case.later for entity in owners.values()
    ]
    happens += [
        (at, 1, Samples(EPOCH + at, "test", owners[CATALOGUE[signal].scope], {signal: value}))
        for signal, at, value in _over_time(case)
    ]
    for at, line in case.log:
        happens.append((at, 2, LogLines(EPOCH + at, "test.log", server, line.encode() + b"\n")))
    for at, line in case.kernel:
        happens.append((at, 2, LogLines(EPOCH + at, "kernel", HOST, line.encode() + b"\n", kind="kernel")))
    for at, line in case.systemd:
        happens.append((at, 2, LogLines(EPOCH + at, "journal", server, line.encode() + b"\n", kind="systemd")))
    if case.gone is not None:
        happens.append((case.gone, 3, ServerGone(EPOCH + case.gone, "test", server, pid)))
    if case.restart is not None:
        again = ServerFound(EPOCH + case.restart, "test", server, _PID + 1, EPOCH + case.restart, dict(_GIVEN_TO_SERVER))
        happens.append((case.restart, 0, again))
    if case.unplugged is not None:
        off = Event(EPOCH + case.unplugged, "gpu_removed", gpu, {}, "udev", f"remove {gpu.name}")
        happens.append((case.unplugged, 3, off))
    return happens


def _samples(at: float, entity: Entity, changed: Mapping[str, Value], owners: Mapping[str, Entity]) -> Samples:
    now = {signal: value for signal, value in changed.items() if owners[CATALOGUE[signal].scope] == entity}
    return Samples(EPOCH + at, "test", entity, now)


def _over_time(case: CaseDef) -> Iterator[tuple[str, float, Value | Unknown]]:
    """Signal, time and value of each reading of the series. Polled signals are read again between steps and after the last."""
    for signal, steps in case.series.items():
        polled = CATALOGUE[signal].origin != "log" and CATALOGUE[signal].stale_after is not None
        for i, step in enumerate(steps):
            at = i * case.step
            end = case.at + 1.0 if i == len(steps) - 1 else (i + 1) * case.step
            while step is not None and at < end and at <= case.at:
                # A process that is gone has no values.
                if (
                    case.gone is None
                    or CATALOGUE[signal].scope != "server"
                    or at < case.gone
                    or at >= (case.restart or case.at + 1.0)
                ):
                    yield signal, at, step
                if not polled:
                    break
                at += _RESAMPLE


def _ticks(case: CaseDef, happens: Iterable[float]) -> list[float]:
    """Each second for a minute after any reading, else each five seconds; and at the times of expectations."""
    wanted = {at for at, _ in case.expectations}
    recent = sorted({0.0, *happens, *wanted})
    last = 0.0
    due = iter([*recent[1:], float("inf")])
    upcoming = next(due)
    for second in range(int(case.at) + 1):
        while upcoming <= second:
            last, upcoming = upcoming, next(due)
        if second - last <= _BUSY or second % int(_RESAMPLE) == 0 or upcoming - second <= 1.0:
            wanted.add(float(second))
    return sorted(wanted)


def _as_of(case: CaseDef, signal: str, at: float, value: Value | Unknown) -> Value | Unknown:
    """The test's value of a signal at a time."""
    for when, changed in case.later:
        if when <= at and signal in changed:
            value = changed[signal]
    return value


def compare(rule: RuleDef, case: CaseDef, outcome: Outcome) -> Failure | None:
    """None if the outcome is as the test expects, at each of its times."""
    wrong: list[str] = []
    for (at, expect), came in zip(case.expectations, (*outcome.earlier, outcome), strict=True):
        when = f"at {at:g}s: " if case.earlier else ""
        wrong += [when + what for what in _differs(expect, came)]
    return Failure(rule.id, case.name, tuple(wrong)) if wrong else None


def _differs(expect: ExpectDef, outcome: Outcome) -> Iterator[str]:
    if outcome.state != expect.state:
        yield f"expected state '{expect.state}', got '{outcome.state}'"
    if expect.cause and outcome.cause != expect.cause:
        yield f"expected cause '{expect.cause}', got '{outcome.cause or 'none'}'"
    if expect.summary_contains and expect.summary_contains not in outcome.summary:
        yield f"expected '{expect.summary_contains}' in the summary, got '{outcome.summary}'"
    for text in expect.fix_contains:
        if not any(text in fix for fix in outcome.fixes):
            yield f"expected '{text}' in a fix, got {list(outcome.fixes)}"
    for text in expect.fix_lacks:
        yield from (f"expected no '{text}' in a fix, got '{fix}'" for fix in outcome.fixes if text in fix)
    last = outcome.transitions[-1].reason if outcome.transitions else "none"
    if expect.reason and expect.reason != last:
        yield f"expected the reason '{expect.reason}' of its last change, got '{last}'"
    for signal in expect.missing:
        if signal not in outcome.missing:
            yield f"expected '{signal}' to be missing, missing are {list(outcome.missing)}"


def outcome_of(
    rule: RuleDef,
    transitions: list[Transition],
    finding: Finding,
    conclude: Callable[[], Conclusion],
) -> Outcome:
    """Reduce the engine's output to what a test can expect."""
    mine = [t for t in transitions if t.rule == rule.id and t.entity == subject(rule)]
    state: str = mine[-1].state if mine else "quiet"
    if state == "resolved" and mine[-1].previous == "pending":
        state = "quiet"
    if state == "quiet" and finding.verdict is Verdict.UNKNOWN:
        state = "unknown"
    missing = tuple(finding.missing)
    last = mine[-1] if mine and state in ("firing", "pending") else None
    if last is None:
        return Outcome(state, "", "", (), missing, tuple(mine))
    now = conclude()
    fixes = tuple(f"{f.do} {f.command}" for f in now.fixes)
    return Outcome(state, now.cause.id if now.cause else "", now.summary, fixes, missing, tuple(mine))
