"""A rule's verdict for one entity at one time, and, when it is to be told, the text with cause, fixes and evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sentinel.facts.store import Fact
from sentinel.model.alert import Cause, CheckResult, Fix, LineEvidence, Verdict
from sentinel.model.labels import HOST, Entity
from sentinel.model.pattern import BuildRange
from sentinel.model.reading import Event
from sentinel.model.rule import WindowDef
from sentinel.rules.condition import Condition, context
from sentinel.rules.ruleset import SCOPES, CompiledFix, CompiledRule

#: A printed build number below this is a distribution's own count ("build 1"), not llama.cpp's.
_LEAST_BUILD = 1000


#: By name, what is missing underneath it, each with the question why: putting the answers in words took a fifth of an
#: evaluation, and hardly any is ever read (measured).
_Gaps = dict[str, dict[str, Callable[[], str]]]


class World(Protocol):
    """What evaluation may ask. Every question names its time."""

    def fact(self, entity: Entity, signal: str, at: float) -> Fact | None:
        """A fresh fact, or None."""

    def why_missing(self, entity: Entity, signal: str, at: float) -> str:
        """Why there is none and what would provide it."""

    def window(self, entity: Entity, window: WindowDef, at: float) -> float | None:
        """A window reduced to a number."""

    def happened(self, entity: Entity, event: str, since: float) -> tuple[int, Event | None]:
        """How often since then, and the last."""

    def run_start(self, entity: Entity) -> float:
        """When the server's present run began."""

    def observed(self, entity: Entity, event: str) -> str:
        """Empty if the absence of this event means something, else why it does not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with everything it rests on."""

    verdict: Verdict
    clear: bool | None
    event_at: float | None
    #: names as expressions and templates see them
    variables: Mapping[str, Any]
    #: the same, as CEL takes them: preparing them anew for the causes took a quarter of the time of a firing rule (measured)
    prepared: Any
    _results: tuple[tuple[str, Condition, Any], ...]
    _gaps: _Gaps

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """Each check with what it read. Why something is missing is told as of now: ask before the next reading."""
        return tuple(_result(name, condition, value, self.variables, self._gaps) for name, condition, value in self._results)

    @property
    def missing(self) -> dict[str, str]:
        """What is not known, and why."""
        return {name: why for c in self.checks if c.value is None for name, why in c.missing.items()}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What to tell a person."""

    summary: str
    cause: Cause | None
    fixes: tuple[Fix, ...]
    evidence: tuple[CheckResult | LineEvidence, ...]


def evaluate(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding:
    """Evaluate every check, then `when` and `clear`. Raises ExpressionError if the rule has a type mistake."""
    variables, gaps, event_at = _variables(compiled, entity, at, world)
    prepared = context(variables)
    for name, condition in compiled.values:
        value = condition.evaluate(prepared)
        if value is None:
            gaps[name] = {root: why for path in condition.paths for root, why in _roots(path, gaps).items()}
        else:
            variables[name] = value
            prepared.add_variable(name, value)
    results = []
    for name, condition in compiled.checks:
        value = condition.evaluate(prepared)
        if value is not None:
            variables[name] = value
            prepared.add_variable(name, value)
        results.append((name, condition, value))
    verdict = _verdict(compiled.when.evaluate(prepared))
    clear: bool | None = False
    if compiled.clear is not None:
        clear = compiled.clear.evaluate(prepared)
    return Finding(verdict, clear, event_at, variables, prepared, tuple(results), gaps)


def _verdict(value: object) -> Verdict:
    if value is None:
        return Verdict.UNKNOWN
    return Verdict.MATCH if value is True else Verdict.NO_MATCH


def _variables(compiled: CompiledRule, entity: Entity, at: float, world: World) -> tuple[dict[str, Any], _Gaps, float | None]:
    variables: dict[str, Any] = {}
    gaps: _Gaps = {}
    for scope in SCOPES:
        variables[scope] = {}
    variables[entity.scope]["name"] = entity.name
    for signal in compiled.signals:
        scope, _, key = signal.partition(".")
        owner = HOST if scope == "host" else entity
        fact = world.fact(owner, signal, at)
        if fact is None:
            gaps[signal] = {signal: partial(world.why_missing, owner, signal, at)}
        else:
            variables[scope][key] = fact.value
    for name, window in compiled.windows.items():
        value = world.window(entity, window, at)
        if value is None:
            gaps[name] = {window.signal: partial("none in the last {:g} s".format, window.over)}
        else:
            variables[name] = value
    newest: float | None = None
    for name, binding in compiled.bindings.items():
        since = world.run_start(entity) if binding.over is None else at - binding.over
        count, last = world.happened(entity, binding.event, since)
        if last is None:
            if why := world.observed(entity, binding.event):
                gaps[name] = {f"event {binding.event}": partial(str, why)}
            else:
                variables[name] = {"count": 0, "fields": {}}
            continue
        newest = last.at if newest is None else max(newest, last.at)
        variables[name] = {"count": count, "age": max(0.0, at - last.at), "fields": dict(last.fields)}
    return variables, gaps, newest


def _result(name: str, condition: Condition, value: Any, variables: Mapping[str, Any], gaps: _Gaps) -> CheckResult:
    reads = {path: find(variables, path) for path in condition.paths}
    missing = {root: why() for path, read in reads.items() if read is None for root, why in _roots(path, gaps).items()}
    return CheckResult(name, None if value is None else value is True, reads, missing)


def _roots(path: str, gaps: _Gaps) -> Mapping[str, Callable[[], str]]:
    """What is missing underneath a name: the signal itself, the event, or what a value was to be computed from."""
    return gaps.get(path) or gaps.get(path.partition(".")[0]) or {}


def find(variables: Mapping[str, Any], path: str) -> Any:
    """The value of a dotted name, None if it is not known. Tables as such are not values."""
    here: Any = variables
    for part in path.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return None if isinstance(here, Mapping) else here


def conclude(compiled: CompiledRule, entity: Entity, finding: Finding, world: World) -> Conclusion:
    """Summary, first cause that is true, its fixes that fit this build and machine, and the evidence."""
    variables = finding.variables

    def look_up(name: str) -> Any:
        return find(variables, name)

    prepared = finding.prepared
    cause: Cause | None = None
    fixes: tuple[Fix, ...] = ()
    for candidate in compiled.causes:
        if candidate.when is None or candidate.when.evaluate(prepared) is True:
            cause = Cause(candidate.cause.id, candidate.text.render(look_up), candidate.cause.confidence)
            low, high = _builds(entity, world)
            fixes = tuple(fix for fix in (_fix(f, prepared, look_up, low, high) for f in candidate.fixes) if fix is not None)
            break
    lines: dict[tuple[str, int, str], LineEvidence] = {}
    for binding in compiled.bindings.values():
        since = world.run_start(entity) if binding.over is None else float("-inf")
        _, last = world.happened(entity, binding.event, since)
        if last is not None and last.line:
            lines[(last.source, last.n, last.line)] = LineEvidence(last.line, last.source, last.n)
    # What is not known supports nothing; `why` shows it.
    known = tuple(c for c in finding.checks if c.value is not None)
    return Conclusion(compiled.summary.render(look_up), cause, fixes, known + tuple(lines.values()))


def _builds(entity: Entity, world: World) -> tuple[int | None, int | None]:
    """The interval in which the server's build must lie."""
    forever = float("-inf")
    if entity.scope != "server":
        return None, None
    exact = world.fact(entity, "server.build", forever)
    if exact is not None and isinstance(exact.value, int) and exact.value >= _LEAST_BUILD:
        return exact.value, exact.value
    low, high = (world.fact(entity, f"server.build_{end}", forever) for end in ("low", "high"))
    return (
        low.value if low is not None and isinstance(low.value, int) else None,
        high.value if high is not None and isinstance(high.value, int) else None,
    )


def _fix(fix: CompiledFix, prepared: Any, look_up: Any, low: int | None, high: int | None) -> Fix | None:
    if fix.when is not None and fix.when.evaluate(prepared) is not True:
        return None
    if not all(t.complete(look_up) for t in (fix.do, fix.command, fix.verify)):
        return None
    do = fix.do.render(look_up)
    wanted = fix.fix.builds
    if wanted is not None:
        if not overlaps(wanted, low, high):
            return None
        if not within(wanted, low, high):
            do += f" (for llama.cpp builds {wanted}; `llama-server --version` tells yours)"
    return Fix(do, fix.command.render(look_up, quote=True), fix.risk.render(look_up), fix.verify.render(look_up, quote=True))


def overlaps(wanted: BuildRange, low: int | None, high: int | None) -> bool:
    """Some build of [low, high] lies in the wanted range; None is open."""
    if wanted.high is not None and low is not None and low > wanted.high:
        return False
    return not (wanted.low is not None and high is not None and high < wanted.low)


def within(wanted: BuildRange, low: int | None, high: int | None) -> bool:
    """Every build of [low, high] lies in the wanted range."""
    low_fits = wanted.low is None or (low is not None and low >= wanted.low)
    high_fits = wanted.high is None or (high is not None and high <= wanted.high)
    return low_fits and high_fits
