"""One preflight from end to end: reads the command, its build, its model and the machine, then judges."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from sentinel.gguf.header import GgufError, GgufHeader, model_of
from sentinel.llama.model import Model
from sentinel.llama.settings import Device, Settings
from sentinel.memory.fit import Budget, FitNote, FitVerdict, is_expected_to_start, judge, verdict_of, with_slack
from sentinel.memory.footprint import Footprint, footprint
from sentinel.model.entity import Unknown
from sentinel.model.text import clean, size
from sentinel.preflight import build as builds
from sentinel.preflight import fit_params, flag_check, gpu_check, model_check
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command
from sentinel.preflight.machine import Machine, look
from sentinel.preflight.report import Report, limits_of
from sentinel.preflight.settings import settings_of
from sentinel.preflight.suggest import Judged, Search, Suggestion, put
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.meminfo import meminfo

#: What one flag fixes: the reason, the setting, and the flag with its value.
_MENDED = (("split-mode-unsupported", "split_mode", "-sm", "layer"), ("main-gpu-missing", "main_gpu", "-mg", "0"))
#: Flags that fit are searched for any verdict.
ALWAYS: tuple[FitVerdict, ...] = ("fits", "tight", "fails", "unknown")


def examine(
    command: Command,
    roots: Roots | None = None,
    build: Build | None = None,
    extra: tuple[FitNote, ...] = (),
    *,
    header: GgufHeader | GgufError | None = None,
    suggest: Collection[FitVerdict] = ALWAYS,
) -> Report:
    """Judge the command. `extra` are reasons found elsewhere (a checksum that differs), `header` one already read,
    or why it cannot be, `suggest` the verdicts for which to search flags that fit.
    """
    roots = Roots() if roots is None else roots
    build = builds.ask(command) if build is None else build
    machine = look(command, build, roots)
    found = model_check.read(command, roots, header)
    whys = [*extra, *flag_check.problems(command, build), *found.whys]
    whys += _known(command, build)
    settings = settings_of(command, build, roots)
    if isinstance(settings, Unknown):
        if not any(why.id == "flag-rejected" for why in whys):
            whys.append(FitNote("flag-rejected", settings.why, "fails"))
        return _report(command, machine, whys)
    whys += gpu_check.problems(command, settings, build, machine, roots)
    whys += _about(command, settings, found.header)
    whys += [FitNote("vram-accounts-differ", text, "note") for text in machine.disagreements]
    model = found.header if isinstance(found.header, Unknown) else model_of(found.header)
    if isinstance(model, Unknown) or isinstance(found.header, Unknown):
        why = model if isinstance(model, Unknown) else found.header
        assert isinstance(why, Unknown)
        if not any(one.effect == "fails" for one in found.whys):
            whys.append(FitNote("model-unknown", why.why, "unknown"))
        return _report(command, machine, whys)
    return _judged(command, settings, build, machine, found.header, model, whys, roots, suggest=suggest)


def _judged(
    command: Command,
    settings: Settings,
    build: Build,
    machine: Machine,
    header: GgufHeader,
    model: Model,
    whys: list[FitNote],
    roots: Roots,
    *,
    suggest: Collection[FitVerdict],
) -> Report:
    devices = _devices(machine)
    budget = _budget(machine, devices, roots)
    footprint_ = footprint(model, settings, devices, build.number)
    _, reasons = judge(footprint_, budget)
    whys = [*whys, *reasons, *_held_by_others(machine, reasons)]
    if not any(why.effect == "fails" and why not in reasons for why in whys):
        words = [(word.flag, word.values) for word in flag_check.words_of(command.argv, build)]
        estimates = fit_params.ask(command, fit_params.words_for(words))
        if isinstance(estimates, tuple):
            whys += fit_params.differences(estimates, footprint_.items, with_cache=fit_params.is_comparable(settings))
        whys += [FitNote("llama-fit-params-silent", estimates.why, "note")] if isinstance(estimates, Unknown) else []

    def trial(argv: tuple[str, ...]) -> Judged | None:
        asked = settings_of(replace(command, argv=argv), build, roots)
        if isinstance(asked, Unknown):
            return None
        print_ = footprint(model, asked, devices, build.number)
        return _trial(argv, asked, print_, with_slack(budget))

    argv = flag_check.accepted_form(command, build)
    search = Search(
        trial,
        build,
        layers=header.of_arch("block_count") or 0,
        ctx_train=header.of_arch("context_length") or 0,
        has_experts=bool(header.of_arch("expert_count")),
        devices=bool(devices) and not settings.device_none,
    )
    hopeless = any(why.effect == "fails" and why.about == "model" for why in whys)
    asked_for = _trial(command.argv, settings, footprint_, budget)
    if argv != command.argv and any(why.id in ("flag-rejected", "no-build-accepts", "flag-ends-it") for why in whys):
        # the command itself does not start, so its corrected form is already a suggestion
        asked_for = replace(asked_for, verdict="fails", starts=False)
    for id_, setting, flag, value in _MENDED:
        if any(why.id == id_ for why in whys):
            argv = put(argv, setting, flag, value, build)
            asked_for = replace(asked_for, verdict="fails", starts=False)
    if any(why.effect == "fails" and why.about == "gpu" for why in whys):
        # No number of layers fixes that; what can run here meanwhile is a server that is explicitly CPU-only.
        argv = put(argv, "gpu_layers", "-ngl", "0", build)
        asked_for = replace(asked_for, verdict="fails", starts=False)
        search.given_up = "on the CPU, as it would run anyway, until the GPU is there"
    suggestions = search.best(argv, asked_for) if verdict_of(whys) in suggest and not hopeless else []
    if command.wrapper:
        suggestions = [replace(one, argv=(*command.wrapper, *one.argv)) for one in suggestions]
    return _report(command, machine, whys, footprint_.items, tuple(suggestions), footprint_.missing, footprint_.notes)


def _trial(argv: tuple[str, ...], settings: Settings, footprint_: Footprint, budget: Budget) -> Judged:
    verdict, whys = judge(footprint_, budget)
    starts = all(why.id == "will-thrash" for why in whys if why.effect == "fails") and is_expected_to_start(footprint_, budget)
    return Judged(argv, settings, footprint_, verdict, starts)


def _report(
    command: Command,
    machine: Machine,
    whys: list[FitNote],
    memory: tuple[Any, ...] = (),
    suggestions: tuple[Suggestion, ...] = (),
    missing: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Report:
    order = ("fails", "unknown", "tight", "note")
    ordered = tuple(sorted(dict.fromkeys(whys), key=lambda why: order.index(why.effect)))
    unknown = [why.text for why in ordered if why.effect == "unknown"]
    return Report(
        verdict_of(ordered),
        ordered,
        tuple(memory),
        limits_of(machine),
        suggestions,
        tuple(dict.fromkeys([*missing, *unknown])),
        command.argv,
        tuple(notes),
    )


def _devices(machine: Machine) -> tuple[Device, ...]:
    return () if isinstance(machine.gpus, Unknown) else machine.gpus


def _budget(machine: Machine, devices: tuple[Device, ...], roots: Roots) -> Budget:
    known = not isinstance(machine.room_bytes, Unknown)
    return Budget(
        devices=devices,
        host=machine.room_bytes if isinstance(machine.room_bytes, int) and known else None,
        where=machine.where or "the machine",
        swap=machine.swap_bytes,
        lock_limit=machine.lock_limit if isinstance(machine.lock_limit, int) else None,
        most=_largest_allocation(machine, roots),
        memory_high=machine.memory_high_bytes if machine.memory_high_bytes >= 0 else None,
        memory_high_where=machine.memory_high_where,
    )


def _largest_allocation(machine: Machine, roots: Roots) -> int | None:
    """Memory and swap of the machine: by default the kernel refuses a larger single allocation (overcommit_memory 0)."""
    try:
        if read_text(roots.proc / "sys/vm/overcommit_memory", 16) != "0":
            return None
        swap = meminfo(roots, ("SwapTotal",)).get("SwapTotal", 0)
    except OSError:
        return None
    return machine.total_bytes + swap if machine.total_bytes else None


def _known(command: Command, build: Build) -> Iterator[FitNote]:
    """What a verdict must know about the build."""
    if isinstance(build.version, Unknown) and command.binary is None:
        yield FitNote("build-unknown", build.version.why, "unknown")
    elif isinstance(build.version, Unknown):
        yield FitNote("build-not-asked", build.version.why, "note")


def _about(command: Command, settings: Settings, header: GgufHeader | Unknown) -> Iterator[FitNote]:
    """Settings that contradict each other or the model."""
    asked = command.requested
    if "draft_model" in asked.settings:
        yield FitNote("draft-model-not-counted", "the memory of the draft model is not counted", "unknown")
    if "moe_cache" in asked.settings:
        yield FitNote("moe-cache-not-counted", "what --moe-cache-mib (b11549) takes on the GPU is not counted", "unknown")
    if "rpc" in asked.settings:
        yield FitNote("rpc-not-counted", "what the servers of --rpc can take is not known", "unknown")
    if settings.cache_type_v not in ("f16", "bf16", "f32") and settings.flash_attn == "off":
        said = "llama-server ends with 'V cache quantization requires flash_attn'"
        text = f"a V cache of type {clean(settings.cache_type_v)} needs flash attention: {said}"
        yield FitNote("v-cache-needs-flash-attention", text, "fails")
    mmproj = asked.text("mmproj")
    if mmproj and not settings.mmproj_bytes:
        yield FitNote("projector-missing", f"the projector {clean(mmproj)!r:.200} cannot be read", "fails")
    if isinstance(header, Unknown):
        return
    experts = header.of_arch("expert_count") or 0
    if not experts and (settings.cpu_moe or settings.n_cpu_moe):
        yield FitNote("flag-ignored", "--cpu-moe and --n-cpu-moe have no effect: the model has no experts", "note")


def _held_by_others(machine: Machine, reasons: tuple[FitNote, ...]) -> Iterator[FitNote]:
    """Who holds the missing video memory."""
    if isinstance(machine.gpus, Unknown) or not any("vram" in why.id or why.id == "kv-cannot-be-allocated" for why in reasons):
        return
    for one in machine.gpus:
        if one.holders:
            names = ", ".join(f"{holder.name} (pid {holder.pid}) {size(holder.bytes)}" for holder in one.holders[:5])
            yield FitNote("vram-held-by-others", f"{one.name} is held by {names}", "note")
