"""The text of a notification: summary, the first true cause and what may be it instead, the fixes, and the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from sentinel.engine.rules.already_set import already_set
from sentinel.engine.rules.evaluate import Finding
from sentinel.engine.rules.fix_terms import in_terms
from sentinel.engine.rules.on_gpu import maker_of, on_gpu
from sentinel.engine.rules.on_system import first_alone, of_fork, of_its_own, on_system
from sentinel.engine.rules.ruleset import CompiledCause, CompiledFix, read_by
from sentinel.engine.rules.runtime import control, runtime_of, with_flags, with_settings
from sentinel.engine.rules.scene import Scene, World, find
from sentinel.engine.rules.template import Lookup, Template
from sentinel.llama.builds import is_build
from sentinel.model.alert import Cause, CheckResult, Conclusion, Fix, LineEvidence
from sentinel.model.builds import ANY, BuildRange
from sentinel.model.entity import Entity


def cause_of(scene: Scene) -> CompiledCause | None:
    """The first cause that is true."""
    scene.known.forgives = True
    return next((cause for cause in scene.compiled.causes if cause.when is None or scene.ask(cause.when) is True), None)


def _less_likely(found: CompiledCause, scene: Scene) -> CompiledCause | None:
    """The first of the causes that it names beside itself that is true as well."""
    others = (cause for cause in scene.compiled.causes if cause.cause.id in found.cause.also)
    return next((cause for cause in others if cause.when is None or scene.ask(cause.when) is True), None)


def conclude(finding: Finding) -> Conclusion:
    """Summary, first true cause, its fixes that fit this build and machine, and the evidence.

    Where another cause fits as well, its text follows in the cause's, and its first fix is the last.
    """
    scene = finding.scene
    scene.complete()
    compiled, entity, world = scene.compiled, scene.entity, scene.world

    def look_up(name: str) -> Any:
        return find(scene.known, name)

    cause: Cause | None = None
    fixes: tuple[Fix, ...] = ()
    causes: list[CompiledCause] = []
    if (found := cause_of(scene)) is not None:
        causes.append(found)
        said, fixes = found.text.render(look_up), _fixes(found, scene, look_up)
        if (other := _less_likely(found, scene)) is not None:
            causes.append(other)
            said = f"{said.rstrip('.')}. Less likely, but it fits as well: {other.text.render(look_up)}"
            first = _fixes(other, scene, look_up)[:1]
            fixes += tuple(replace(fix, do=f"If it is the less likely one: {fix.do}") for fix in first)
        cause = Cause(found.cause.id, said, found.cause.confidence)
    lines: dict[tuple[str, int, str], LineEvidence] = {}
    for binding in compiled.bindings.values():
        since = world.run_start(entity) if binding.over is None else float("-inf")
        _, last = world.happened(entity, binding.event, since)
        if last is not None and last.line:
            lines[(last.source, last.n, last.line)] = LineEvidence(last.line, last.source, last.n)
    # An unknown value is no evidence, nor is what speaks of other causes; `why` shows them.
    aside = compiled.about_causes - read_by(compiled.named, (cause.when for cause in causes if cause.when is not None))
    checks = (check for check in finding.checks if check.value is not None and check.check not in aside)
    known = tuple(in_words(check, compiled.evidence.get(check.check), look_up) for check in checks)
    return Conclusion(compiled.summary.render(look_up), cause, fixes, known + tuple(lines.values()))


def _fixes(cause: CompiledCause, scene: Scene, look_up: Lookup) -> tuple[Fix, ...]:
    """What to do about it on this build and machine, the way that this server is run."""
    fixes: tuple[Fix, ...] = ()
    entity = scene.entity
    build = _builds(entity, scene.world)
    system, front_end = look_up("server.system") or "", look_up("server.front_end") or ""
    maker = maker_of(look_up) if entity.scope == "server" else ""
    # What is done already, and what is for other GPUs, is shown only where nothing else is left to say.
    for its, done, otherwise in product(dict.fromkeys((maker, "")), (False, True), (False, True)):
        offered = (_fix(f, scene, look_up, build, done=done) for f in cause.fixes if f.fix.otherwise is otherwise)
        fixes = fixes or on_gpu(on_system(of_its_own((fix for fix in offered if fix is not None), front_end), system), its)
    return first_alone(of_fork(fixes, look_up("server.fork") or ""))


def later(finding: Finding) -> Callable[[], Conclusion]:
    """`conclude` as it is now, for whenever somebody reads it: a firing alert is judged again and again, and writing takes ten
    times as long as keeping what it is written from."""
    return partial(conclude, replace(finding, scene=finding.scene.kept()))


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


def _fix(fix: CompiledFix, scene: Scene, look_up: Any, build: BuildRange, *, done: bool) -> Fix | None:
    if fix.when is not None and scene.ask(fix.when) is not True:
        return None
    if not done and fix.flags.complete(look_up) and already_set(fix.flags.render(look_up, quote=True), look_up):
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
