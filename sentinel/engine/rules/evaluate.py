"""A rule's verdict for one entity at one time, with everything it is based on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentinel.engine.rules.expression import Condition
from sentinel.engine.rules.ruleset import CompiledRule
from sentinel.engine.rules.scene import Known, Scene, World, find
from sentinel.model.alert import CheckResult, Verdict
from sentinel.model.entity import HOST, Entity, Unknown


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
        return tuple(_result(name, condition, scene.known[name], scene.known, gaps) for name, condition in scene.compiled.checks)

    @property
    def missing(self) -> dict[str, Unknown]:
        """The unknown values, and why they are unknown."""
        scene = self.scene
        scene.complete()
        unknown = [condition for name, condition in scene.compiled.checks if scene.known[name] is None]
        gaps = _gaps(scene) if unknown else {}
        return {name: why for condition in unknown for name, why in _missing(condition, scene.known, gaps).items()}


def matching(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding | float:
    """As `judge` if the rule matches, else, as early as that is certain, the time until which it cannot match by time alone."""
    known = Known(compiled, entity, at, world)
    if compiled.quick.may_match(known) and known.ask(compiled.when) is True:
        return _finding(Scene(compiled, entity, at, world, known))
    return known.until


def judge(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding:
    """Evaluate what `when` and `clear` read. Raises ExpressionError if that has a type mistake."""
    return _finding(_scene(compiled, entity, at, world))


def evaluate(compiled: CompiledRule, entity: Entity, at: float, world: World) -> Finding:
    """Evaluate every check, then `when` and `clear`. Raises ExpressionError if the rule has a type mistake."""
    scene = _scene(compiled, entity, at, world)
    scene.known.work_out()
    return _finding(scene)


def _finding(scene: Scene) -> Finding:
    compiled = scene.compiled
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
    for signal, (_, on_host) in compiled.signal_reads.items():
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
