"""Estimates of llama.cpp's own ``llama-fit-params``, if installed beside the server: its figures by device, beside ours.

It reads the header and computes buffers without allocating them (tools/fit-params). Only memory flags are passed to it,
because it refuses those of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentinel.llama.setting_flags import BY_FLAG, BY_SWITCH
from sentinel.llama.settings import HOST, Item, Settings
from sentinel.memory.fit import FitNote
from sentinel.model.entity import Unknown
from sentinel.preflight.build import quiet
from sentinel.preflight.command import Command
from sentinel.preflight.run_program import run
from sentinel.preflight.safe_program import Unsafe, open_anyway, open_program

NAME = "llama-fit-params"
_ABOUT_MEMORY = frozenset(
    {
        "model", "ctx", "gpu_layers", "override_tensor", "n_cpu_moe", "n_cpu_ffn", "cpu_moe", "cache_type_k", "cache_type_v",
        "flash_attn", "batch", "ubatch", "split_mode", "tensor_split", "main_gpu", "device", "kv_offload", "swa_full", "slots",
        "load_mode", "op_offload", "repack", "host_buffer",
    }
)  # fmt: skip
_LINE = re.compile(r"^([A-Za-z]+\d*) (\d{1,9}) (\d{1,9}) (\d{1,9}) *$", re.MULTILINE)
#: The figures are whole MiB, rounded down; ours are compared with them with this share and this many bytes of tolerance.
_TOLERANCE, _ROUNDED = 0.05, 8 << 20
_KINDS: Mapping[str, tuple[str, ...]] = {"weights": ("weights",), "cache": ("kv", "recurrent"), "compute buffers": ("compute",)}


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on one device, in whole MiB."""

    place: str
    weights: int
    cache: int
    compute: int


def words_for(words: Sequence[tuple[str, tuple[str, ...]]]) -> list[str]:
    """The flags, with their values, that affect memory."""
    kept: list[str] = []
    for flag, values in words:
        if (BY_FLAG.get(flag) or BY_SWITCH.get(flag, ("",))[0]) in _ABOUT_MEMORY:
            kept += [flag, *values]
    return kept


def ask(command: Command, words: Sequence[str]) -> tuple[Estimate, ...] | Unknown | None:
    """Its figures; None if the build lacks it or it must not be run, Unknown if it returns none."""
    tool = None if command.binary is None or not command.may_ask else command.binary.resolve().parent / NAME
    if tool is None or not tool.is_file():
        return None
    try:
        with (open_anyway if command.ask_anyway else open_program)(tool, quiet(command.env)) as program:
            said = run(program, [*_in_full(command, words), "--fit-print", "on"])
    except Unsafe:
        # the same folder as the program's, of which it was said
        return None
    if isinstance(said, Unknown):
        return said
    return parse(said[1]) or Unknown(f"{NAME} gave no figures (exit code {said[0]})")


def _in_full(command: Command, words: Sequence[str]) -> list[str]:
    """The words, with the model's file named in full: it is not run in the command's folder."""
    model = command.requested.text("model")
    return [str(command.folder / word) if word == model else word for word in words]


def parse(text: str) -> tuple[Estimate, ...]:
    """Decode its output: MiB of model, context and compute buffers, a device per line (common/fit.cpp, common_fit_print)."""
    found = []
    for name, *sizes in _LINE.findall(text):
        weights, cache, compute = (int(size) << 20 for size in sizes)
        found.append(Estimate(HOST if name == "Host" else name, weights, cache, compute))
    return tuple(found)


def is_comparable(settings: Settings) -> bool:
    """Whether its cache matches the server's: it takes no --kv-unified, and has one slot where the server has four."""
    return settings.parallel == 1 or (settings.parallel > 1 and not settings.kv_unified)


def differences(estimates: Sequence[Estimate], items: Sequence[Item], *, with_cache: bool) -> list[FitNote]:
    """Figures outside our interval."""
    whys = []
    for one in estimates:
        for (what, kinds), theirs in zip(_KINDS.items(), (one.weights, one.cache, one.compute), strict=True):
            if what == "cache" and not with_cache:
                continue
            ours = [item for item in items if item.place == one.place and item.kind in kinds]
            low, high = sum(item.low for item in ours), sum(item.high for item in ours)
            spare = _ROUNDED + int(theirs * _TOLERANCE)
            if not low - spare <= theirs <= high + spare:
                text = f"{NAME} expects {theirs >> 20} MiB of {what} on {one.place}, sentinel {low >> 20} to {high >> 20} MiB"
                whys.append(FitNote("llama-fit-params-differs", text, "note"))
    return whys
