"""A rule's verdict for one entity at one time, and for a notification the text with cause, fixes and evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sentinel.engine.facts.store import Fact
from sentinel.engine.rules.expression import Condition, ExpressionError, context
from sentinel.engine.rules.fix_terms import in_terms
from sentinel.engine.rules.on_system import of_its_own, on_system
from sentinel.engine.rules.ruleset import SCOPES, CompiledFix, CompiledRule
from sentinel.engine.rules.runtime import control, runtime_of, with_flags, with_settings
from sentinel.engine.rules.template import Lookup, Template
from sentinel.llama.builds import is_build
from sentinel.model.alert import Cause, CheckResult, Fix, LineEvidence, Verdict
from sentinel.model.builds import ANY, BuildRange
from sentinel.model.entity import HOST, Entity, Unknown
from sentinel.model.reading import Event
from sentinel.model.rule import EventBinding, WindowDef


class World(Protocol):
    """What evaluation reads. Every query names its time."""

    def fact(self, entity: Entity, signal: str, at: float) -> Fact | None:
        """A fresh fact, or None."""

    def facts_of(self, entity: Entity) -> Mapping[str, Fact]:
        """All facts, including expired ones."""

    def why_missing(self, entity: Entity, signal: str, at: float) -> Unknown:
        """Why there is no value, and what would provide it."""

    def window(self, entity: Entity, window: WindowDef, at: float) -> float | None:
        """A window reduced to a number."""

    def happened(self, entity: Entity, event: str, since: float) -> tuple[int, Event | None]:
        """How often since then, and the last."""

    def run_start(self, entity: Entity) -> float:
        """When the server's present run began."""

    def observed(self, entity: Entity, event: str) -> Unknown | None:
        """None if the absence of this event is meaningful, else why it is not."""


class Known(dict[str, Any]):
    """The values that a rule reads, by name; None is unknown. Each is read when it is first asked for.

    Most rules are left at their first premise, which reads one or two of twenty names (measured: 12,500 of 17,700).
    """

    __slots__ = ("_at", "_compiled", "_entity", "_world")

    def __init__(self, compiled: CompiledRule, entity: Entity, at: float, world: World) -> None:
        super().__init__({f"{entity.scope}.name": entity.name})
        self._compiled, self._entity, self._at, self._world = compiled, entity, at, world

    def __missing__(self, path: str) -> Any:
        compiled = self._compiled
        value: Any = None
        if (read := compiled.signal_reads.get(path)) is not None:
            max_age, on_host = read
            fact = self._world.facts_of(HOST if on_host else self._entity).get(path)
            if fact is not None and (max_age is None or self._at - fact.at <= max_age):
                value = fact.value
        elif (binding := compiled.bindings.get(path.partition(".")[0])) is not None:
            self._read_event(binding)
            return self.get(path)
        elif (window := compiled.windows.get(path)) is not None:
            value = self._world.window(self._entity, window, self._at)
        else:
            # a value or check that is unknown, or not worked out yet
            return None
        self[path] = value
        return value

    def everything(self) -> list[str]:
        """All names, after all that the rule reads was read."""
        for path in (*self._compiled.signal_reads, *self._compiled.windows, *(f"{b}.count" for b in self._compiled.bindings)):
            self[path]
        return list(self)

    def _read_event(self, binding: EventBinding) -> None:
        name = binding.name
        count, last = _happened(binding, self._entity, self._at, self._world)
        if last is not None:
            self[f"{name}.count"] = count
            self[f"{name}.age"] = max(0.0, self._at - last.at)
            for key, held in last.fields.items():
                self[f"{name}.fields.{key}"] = held
        else:
            self[f"{name}.count"] = 0 if self._world.observed(self._entity, binding.event) is None else None
            self[f"{name}.age"] = None


def _happened(binding: EventBinding, entity: Entity, at: float, world: World) -> tuple[int, Event | None]:
    since = world.run_start(entity) if binding.over is None else at - binding.over
    return world.happened(entity, binding.event, since)


@dataclass(slots=True)
class Scene:
    """The values that a rule reads for one entity at one time."""

    compiled: CompiledRule
    entity: Entity
    at: float
    world: World
    known: Known
    #: results of the rule's values and checks, as far as they were evaluated; None is unknown
    outcomes: dict[str, Any] = field(default_factory=dict)

    def ask(self, condition: Condition) -> Any:
        """The result of an expression; None if unknown. Raises ExpressionError for a type mistake."""
        return condition.ask(self.known, self._prepare)

    def work_out(self, steps: Iterable[tuple[str, Condition]]) -> None:
        """Evaluate values and checks in order; each result is a name that later expressions can read."""
        for name, condition in steps:
            if name in self.outcomes:
                continue
            value = self.outcomes[name] = self.ask(condition)
            if value is not None:
                self.known[name] = value

    def complete(self) -> None:
        """Evaluate whatever is left; what has a type mistake is unknown here."""
        for step in self.compiled.steps:
            try:
                self.work_out((step,))
            except ExpressionError:
                self.outcomes[step[0]] = None

    def newest(self) -> float | None:
        """The time of the newest event that the rule reads."""
        times = (_happened(b, self.entity, self.at, self.world)[1] for b in self.compiled.bindings.values())
        return max((last.at for last in times if last is not None), default=None)

    def _prepare(self) -> Any:
        """All known values as CEL takes them: nested tables."""
        tables: dict[str, Any] = {scope: {} for scope in SCOPES}
        for name in self.known.everything():
            if (value := self.known[name]) is not None:
                *outer, last = name.split(".", 2)
                here = tables
                for part in outer:
                    here = here.setdefault(part, {})
                here[last] = value
                if last == "count" and outer:
                    here.setdefault("fields", {})
        return context(tables)


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with everything it is based on."""

    verdict: Verdict
    clear: bool | None
    event_at: float | None
    scene: Scene

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """Each check with the values it read. Values and reasons are as of now: read this before the next reading."""
        scene = self.scene
        scene.complete()
        gaps = _gaps(scene)
        return tuple(
            _result(name, condition, scene.outcomes[name], scene.known, gaps) for name, condition in scene.compiled.checks
        )

    @property
    def missing(self) -> dict[str, Unknown]:
        """The unknown values, and why they are unknown."""
        scene = self.scene
        scene.complete()
        unknown = [condition for name, condition in scene.compiled.checks if scene.outcomes[name] is None]
        gaps = _gaps(scene) if unknown else {}
        return {name: why for condition in unknown for name, why in _missing(condition, scene.known, gaps).items()}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The text of a notification."""

    summary: str
    cause: Cause | None
    fixes: tuple[Fix, ...]
    evidence: tuple[CheckResult | LineEvidence, ...]


def matching(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding | None:
    """As `judge` if the rule matches, else None as early as that is certain: the most frequent answer."""
    scene = _scene(compiled, entity, at, world)
    for premise in compiled.premises:
        scene.work_out(premise.steps)
        try:
            if scene.ask(premise.condition) is False:
                return None
        except ExpressionError:
            # Another operand may still make the whole false; `when` itself decides.
            continue
    return _finding(scene) if _verdict(scene.ask(compiled.when)) is Verdict.MATCH else None


def judge(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding:
    """Evaluate what `when` and `clear` read. Raises ExpressionError if that has a type mistake."""
    return _finding(_scene(compiled, entity, at, world))


def evaluate(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding:
    """Evaluate every check, then `when` and `clear`. Raises ExpressionError if the rule has a type mistake."""
    scene = _scene(compiled, entity, at, world)
    scene.work_out(compiled.steps)
    return _finding(scene)


def _finding(scene: Scene) -> Finding:
    compiled = scene.compiled
    scene.work_out(compiled.deciding)
    verdict = _verdict(scene.ask(compiled.when))
    clear: bool | None = False
    if compiled.clear is not None:
        clear = scene.ask(compiled.clear)
    return Finding(verdict, clear, scene.newest(), scene)


def _verdict(value: object) -> Verdict:
    if value is None:
        return Verdict.UNKNOWN
    return Verdict.MATCH if value is True else Verdict.NO_MATCH


def _scene(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Scene:
    return Scene(compiled, entity, at, world, Known(compiled, entity, at, world))


def _gaps(scene: Scene) -> dict[str, dict[str, Unknown]]:
    """By name, the missing inputs and why they are missing. The text is made on demand: hardly ever (measured)."""
    compiled, entity, world, known = scene.compiled, scene.entity, scene.world, scene.known
    gaps: dict[str, dict[str, Unknown]] = {}
    for signal, _, on_host in compiled.reads:
        if known[signal] is None:
            gaps[signal] = {signal: world.why_missing(HOST if on_host else entity, signal, scene.at)}
    for name, window in compiled.windows.items():
        if known[name] is None:
            gaps[name] = {window.signal: Unknown(f"none in the last {window.over:g} s")}
    for name, binding in compiled.bindings.items():
        if known[f"{name}.count"] is None:
            gaps[name] = {f"event {binding.event}": world.observed(entity, binding.event) or Unknown("not read yet")}
    values = {name for name, _ in compiled.values}
    for name, condition in compiled.steps:
        if name in values and known[name] is None:
            gaps[name] = {root: why for path in condition.paths for root, why in _roots(path, gaps).items()}
    return gaps


def _result(name: str, condition: Condition, value: Any, known: Known, gaps: Mapping[str, dict[str, Unknown]]) -> CheckResult:
    reads = {path: find(known, path) for path in condition.paths}
    return CheckResult(name, None if value is None else value is True, reads, _missing(condition, known, gaps))


def _missing(condition: Condition, known: Known, gaps: Mapping[str, dict[str, Unknown]]) -> dict[str, Unknown]:
    return {root: why for path in condition.paths if find(known, path) is None for root, why in _roots(path, gaps).items()}


def _roots(path: str, gaps: Mapping[str, dict[str, Unknown]]) -> Mapping[str, Unknown]:
    """The missing inputs of a name: the signal itself, the event, or the inputs of a computed value."""
    return gaps.get(path) or gaps.get(path.partition(".")[0]) or {}


def find(known: Known, path: str) -> Any:
    """The value of a dotted name; None if unknown. Tables are not values."""
    value = known[path]
    return None if isinstance(value, Mapping) else value


def conclude(compiled: CompiledRule, entity: Entity, finding: Finding, world: World) -> Conclusion:
    """Summary, first true cause, its fixes that fit this build and machine, and the evidence."""
    scene = finding.scene
    scene.complete()

    def look_up(name: str) -> Any:
        return find(scene.known, name)

    cause: Cause | None = None
    fixes: tuple[Fix, ...] = ()
    for candidate in compiled.causes:
        if candidate.when is None or scene.ask(candidate.when) is True:
            cause = Cause(candidate.cause.id, candidate.text.render(look_up), candidate.cause.confidence)
            build = _builds(entity, world)
            system, front_end = look_up("server.system") or "", look_up("server.front_end") or ""
            for otherwise in (False, True):
                offered = (_fix(f, scene, look_up, build) for f in candidate.fixes if f.fix.otherwise is otherwise)
                fixes = fixes or on_system(of_its_own((fix for fix in offered if fix is not None), front_end), system)
            break
    lines: dict[tuple[str, int, str], LineEvidence] = {}
    for binding in compiled.bindings.values():
        since = world.run_start(entity) if binding.over is None else float("-inf")
        _, last = world.happened(entity, binding.event, since)
        if last is not None and last.line:
            lines[(last.source, last.n, last.line)] = LineEvidence(last.line, last.source, last.n)
    # An unknown value is no evidence; `why` shows it.
    known = tuple(in_words(c, compiled.evidence.get(c.check), look_up) for c in finding.checks if c.value is not None)
    return Conclusion(compiled.summary.render(look_up), cause, fixes, known + tuple(lines.values()))


def in_words(check: CheckResult, said: Template | None, look_up: Lookup) -> CheckResult:
    """A true check with its sentence, if the rule has one and its values are known."""
    return replace(check, text=said.render(look_up)) if check.value and said is not None and said.complete(look_up) else check


def _builds(entity: Entity, world: World) -> BuildRange:
    """The range of builds that the server's build lies in."""
    forever = float("-inf")
    if entity.scope != "server":
        return ANY
    exact = world.fact(entity, "server.build", forever)
    if exact is not None and isinstance(exact.value, int) and is_build(exact.value):
        return BuildRange(exact.value, exact.value)
    low, high = (world.fact(entity, f"server.build_{end}", forever) for end in ("low", "high"))
    return BuildRange(
        low.value if low is not None and isinstance(low.value, int) else None,
        high.value if high is not None and isinstance(high.value, int) else None,
    )


def _fix(fix: CompiledFix, scene: Scene, look_up: Any, build: BuildRange) -> Fix | None:
    if fix.when is not None and scene.ask(fix.when) is not True:
        return None
    fix = fix.of_user if look_up("server.user_unit") is True and fix.of_user is not None else fix
    said = worded(fix, look_up)
    if said is None:
        return None
    wanted = fix.fix.builds
    if wanted is not None:
        if not wanted.overlaps(build):
            return None
        if not wanted.covers(build):
            asks = "" if runtime_of(look_up).front_end else "; `llama-server --version` prints yours"
            said = replace(said, do=f"{said.do} (for llama.cpp {wanted.words}{asks})")
    knows = fix.verify_builds is None or fix.verify_builds.overlaps(build)
    return said if knows else replace(said, verify="")


def worded(fix: CompiledFix, look_up: Any) -> Fix | None:
    """A fix in the terms of what runs the server; None if a value is missing, or there is no way to do it there."""
    if not all(t.complete(look_up) for t in (fix.do, fix.command, fix.verify, fix.flags, *fix.settings.values())):
        return None
    where = runtime_of(look_up)
    flags = fix.flags.render(look_up, quote=True)
    said = in_terms(fix.do.render(look_up), fix.command.render(look_up, quote=True), flags, where)
    if said is None:
        return None
    do, command = said
    risk = fix.risk.render(look_up)
    how = ""
    if fix.fix.flags:
        placed = with_flags(flags, where)
        if placed is None:
            return None
        how, command = placed
    elif fix.settings:
        settings = {place: text.render(look_up, quote=True) for place, text in fix.settings.items()}
        found = with_settings(settings, where)
        if found is None:
            return None
        how, command = found
    elif fix.fix.restart or fix.fix.stop:
        how, command = control("restart" if fix.fix.restart else "stop", command, where)
        risk = risk or ("restarts the server" if fix.fix.restart else "it stays down until it is started again")
    return Fix(do + how, command, risk, fix.verify.render(look_up, quote=True))
