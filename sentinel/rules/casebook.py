"""The inline tests of rule files, as readings on a virtual clock. The engine that serves the daemon judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sentinel.facts.catalogue import CATALOGUE
from sentinel.model.alert import Transition, Verdict
from sentinel.model.labels import HOST, Entity, Unknown, Value
from sentinel.model.reading import Event, LogLines, Reading, Samples, ServerFound, ServerGone, Tick
from sentinel.model.rule import CaseDef, RuleDef
from sentinel.rules.evaluate import Conclusion, Finding

#: The virtual clock starts here, so that no time is zero or negative.
EPOCH = 1_000_000_000.0
_PID = 4242
#: Sampled facts are confirmed this often, as sources would. Seconds.
_RESAMPLE = 5.0
#: What a machine that sentinel sees well provides without being given.
_GIVEN_TO_SERVER: dict[str, Value] = {"server.log_readable": True}
_GIVEN: dict[str, Value] = {**_GIVEN_TO_SERVER, "host.kernel_log_readable": True}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the engine said at the end of a test."""

    state: str
    cause: str
    summary: str
    fixes: tuple[str, ...]
    missing: tuple[str, ...]
    transitions: tuple[Transition, ...] = ()
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that did not come out as expected."""

    rule: str
    case: str
    what: tuple[str, ...]
    timeline: tuple[str, ...] = field(default=())


def subject(rule: RuleDef) -> Entity:
    """The entity that a rule's tests are about."""
    if rule.scope == "host":
        return HOST
    return Entity(rule.scope, "llama.service" if rule.scope == "server" else "0000:03:00.0")


def readings(rule: RuleDef, case: CaseDef) -> Iterator[Reading]:
    """The readings of a test in the order of their times, with a tick a second."""
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
    pid = about_server.pop("server.pid", _PID)
    queue: list[tuple[float, int, Reading]] = []
    uses_server = rule.scope == "server" or any(n.startswith("server.") for n in case.given)
    if uses_server:
        found = ServerFound(EPOCH, "test", server, pid if isinstance(pid, int) else _PID, EPOCH, about_server)
        queue.append((0.0, 0, found))
        by_entity[server] = {k: v for k, v in about_server.items() if CATALOGUE[k].stale_after is not None}
    gone = case.gone
    for entity, sampled in by_entity.items():
        at = 0.0
        while at <= case.at:
            if entity == server and gone is not None and at >= gone:
                # A new process brings its own values: those given are of the first.
                break
            now = {signal: _as_of(case, signal, at, value) for signal, value in sampled.items()}
            queue.append((at, 1, Samples(EPOCH + at, "test", entity, now)))
            at += _RESAMPLE
    for at, changed in case.later:
        for entity in (server, gpu, HOST):
            now = {signal: value for signal, value in changed.items() if owners[CATALOGUE[signal].scope] == entity}
            if now:
                queue.append((at, 1, Samples(EPOCH + at, "test", entity, now)))
    for at, line in case.log:
        queue.append((at, 2, LogLines(EPOCH + at, "test.log", server, line.encode() + b"\n")))
    for at, line in case.kernel:
        queue.append((at, 2, LogLines(EPOCH + at, "kernel", HOST, line.encode() + b"\n", kind="kernel")))
    for at, line in case.systemd:
        queue.append((at, 2, LogLines(EPOCH + at, "journal", server, line.encode() + b"\n", kind="systemd")))
    if gone is not None:
        queue.append((gone, 3, ServerGone(EPOCH + gone, "test", server, pid if isinstance(pid, int) else _PID)))
    if case.restart is not None:
        again = ServerFound(EPOCH + case.restart, "test", server, _PID + 1, EPOCH + case.restart, dict(_GIVEN_TO_SERVER))
        queue.append((case.restart, 0, again))
    if case.unplugged is not None:
        off = Event(EPOCH + case.unplugged, "gpu_removed", gpu, {}, "udev", f"remove {gpu.name}")
        queue.append((case.unplugged, 3, off))
    queue += [(float(t), 4, Tick(EPOCH + t)) for t in range(int(case.at) + 1)]
    queue.append((case.at, 5, Tick(EPOCH + case.at)))
    queue.sort(key=lambda item: item[:2])
    for _, _, reading in queue:
        yield reading


def _as_of(case: CaseDef, signal: str, at: float, value: Value | Unknown) -> Value | Unknown:
    """What the test says of a signal at a time."""
    for when, changed in case.later:
        if when <= at and signal in changed:
            value = changed[signal]
    return value


def compare(rule: RuleDef, case: CaseDef, outcome: Outcome) -> Failure | None:
    """None if the outcome is what the test expects."""
    expect = case.expect
    wrong = []
    if outcome.state != expect.state:
        wrong.append(f"expected state '{expect.state}', got '{outcome.state}'")
    if expect.cause and outcome.cause != expect.cause:
        wrong.append(f"expected cause '{expect.cause}', got '{outcome.cause or 'none'}'")
    if expect.summary_contains and expect.summary_contains not in outcome.summary:
        wrong.append(f"expected '{expect.summary_contains}' in the summary, got '{outcome.summary}'")
    if expect.fix_contains and not any(expect.fix_contains in f for f in outcome.fixes):
        wrong.append(f"expected '{expect.fix_contains}' in a fix, got {list(outcome.fixes)}")
    wrong += [
        f"expected '{m}' to be missing, missing are {list(outcome.missing)}" for m in expect.missing if m not in outcome.missing
    ]
    if not wrong:
        return None
    return Failure(rule.id, case.name, tuple(wrong), tuple(timeline(outcome)))


def timeline(outcome: Outcome) -> Iterator[str]:
    """How the test went: transitions, then each check with its value and what it read at the end."""
    for t in outcome.transitions:
        at = (t.at or EPOCH) - EPOCH
        yield f"+{at:g}s {t.previous} -> {t.state} ({t.reason})"
    if outcome.finding is None:
        return
    for check in outcome.finding.checks:
        shown = "unknown" if check.value is None else str(check.value).lower()
        reads = ", ".join(f"{k} = {'unknown' if v is None else v}" for k, v in check.reads.items())
        yield f"check {check.check}: {shown}   ({reads})"


def outcome_of(
    rule: RuleDef,
    transitions: list[Transition],
    finding: Finding,
    conclude: Callable[[], Conclusion],
) -> Outcome:
    """Reduce what the engine said to what a test can expect."""
    mine = [t for t in transitions if t.rule == rule.id and t.entity == subject(rule)]
    state: str = mine[-1].state if mine else "quiet"
    if state == "resolved" and mine[-1].previous == "pending":
        state = "quiet"
    if state == "quiet" and finding.verdict is Verdict.UNKNOWN:
        state = "unknown"
    missing = tuple(finding.missing)
    told = mine[-1] if mine and state in ("firing", "pending") else None
    if told is None:
        return Outcome(state, "", "", (), missing, tuple(mine), finding)
    now = conclude()
    fixes = tuple(f"{f.do} {f.command}" for f in now.fixes)
    return Outcome(state, now.cause.id if now.cause else "", now.summary, fixes, missing, tuple(mine), finding)
