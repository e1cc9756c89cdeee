"""Converts a command line to the settings of the memory calculation. A value that llama-server would refuse is Unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from sentinel.llama.builds import FIT_SINCE, FLASH_AUTO_SINCE
from sentinel.llama.command_line import Requested
from sentinel.llama.settings import AUTO_SLOTS, Settings
from sentinel.model.entity import Unknown
from sentinel.model.text import clean

_OFF = frozenset({"off", "disabled", "false", "0"})
#: Defaults in common.h of b11434.
_DEFAULTS: Mapping[str, int] = {
    "slots": -1, "ctx_per_slot": 0, "n_cpu_moe": 0, "n_cpu_ffn": 0, "batch": 2048, "ubatch": 512, "main_gpu": 0,
    "fit_target": 1024, "fit_ctx": 4096,
}  # fmt: skip


class Takes(Protocol):
    """What is known of the build. `number` is None if unknown."""

    @property
    def number(self) -> int | None:
        """llama.cpp's build number."""

    def accepts(self, flag: str) -> bool | None:
        """Whether it takes the flag; None: unknown."""


class AnyBuild:
    """An unknown build."""

    number = None

    def accepts(self, _flag: str) -> bool | None:
        """Unknown."""
        return None


def settings_of(asked: Requested, build: Takes, projector_bytes: int = 0) -> Settings | Unknown:
    """The settings, or the first value that is not understood. `projector_bytes`: size of the --mmproj file, 0 without one."""
    numbers: dict[str, int] = {}
    for name, default in {**_DEFAULTS, **_defaults(build)}.items():
        value = asked.number(name, default)
        if isinstance(value, Unknown):
            return value
        numbers[name] = value
    if numbers["ctx_per_slot"] > 0 and "ctx" not in asked.settings:
        # tools/server/server.cpp of b11434: the pool has this much for each slot
        numbers["ctx"] = numbers["ctx_per_slot"] * (numbers["slots"] if numbers["slots"] > 0 else AUTO_SLOTS)
    layers = asked.gpu_layers()
    if isinstance(layers, Unknown):
        return layers
    if "gpu_layers" not in asked.settings and not _has(build, "--fit"):
        # before --fit, nothing was offloaded by default (common.h, n_gpu_layers)
        layers = 0
    split = _floats(asked.text("tensor_split"))
    if isinstance(split, Unknown):
        return split
    devices = tuple(clean(name.strip()) for name in asked.text("device").split(",") if name.strip())
    none = [name.lower() for name in devices] == ["none"]
    return Settings(
        gpu_layers=layers,
        cpu_moe=asked.flag("cpu_moe"),
        n_cpu_moe=numbers["n_cpu_moe"],
        n_cpu_ffn=numbers["n_cpu_ffn"],
        overrides=overrides(asked.text("override_tensor")),
        split_mode=asked.text("split_mode", "layer").lower(),
        tensor_split=split,
        main_gpu=numbers["main_gpu"],
        device_none=none,
        devices=() if none else devices,
        ctx=numbers["ctx"],
        ctx_given="ctx" in asked.settings or numbers["ctx_per_slot"] > 0,
        parallel=numbers["slots"],
        kv_unified=asked.flag("kv_unified") if "kv_unified" in asked.settings else None,
        cache_type_k=asked.text("cache_type_k", "f16").lower(),
        cache_type_v=asked.text("cache_type_v", "f16").lower(),
        flash_attn=flash_attention(asked, build),
        batch=numbers["batch"],
        ubatch=numbers["ubatch"],
        kv_offload=asked.on("kv_offload", default=True),
        op_offload=asked.on("op_offload", default=True),
        load_mode=load_mode(asked, build),
        cache_ram_mib=numbers["cache_ram"],
        ctx_checkpoints=numbers["ctx_checkpoints"],
        swa_full=asked.flag("swa_full"),
        fit=_has(build, "--fit") and asked.text("fit", "on").lower() not in _OFF,
        fit_target_mib=numbers["fit_target"],
        fit_ctx=numbers["fit_ctx"],
        mmproj_bytes=projector_bytes,
        mmproj_offload=asked.on("mmproj_offload", default=True),
        repack=asked.on("repack", default=True),
        no_host=not asked.on("host_buffer", default=True),
        draft_model="draft_model" in asked.settings,
    )


def overrides(text: str) -> tuple[tuple[str, str], ...]:
    """Parse ``-ot REGEX=BUFFER,...``: the regular expression may contain ``=``, the buffer's name does not."""
    pairs = (part.rpartition("=") for part in text.split(",") if "=" in part)
    return tuple((pattern, buffer.strip()) for pattern, _, buffer in pairs)


def flash_attention(asked: Requested, build: Takes) -> str:
    """on, off or auto. A bare ``-fa`` of an older build means on."""
    word = asked.text("flash_attn", "auto" if build.number is None or build.number >= FLASH_AUTO_SINCE else "off").lower()
    return "off" if word in _OFF else "auto" if word == "auto" else "on"


def load_mode(asked: Requested, build: Takes) -> str:
    """The mode by its present name; older flags are translated as the builds of their time took them."""
    given = asked.settings.get("load_mode")
    newest = {name: asked.settings.get(name) for name in ("mmap", "mlock")}
    if given is not None and all(one is None or one.source == given.source for one in newest.values()):
        return given.text.lower()
    mapped, locked = asked.on("mmap", default=True), asked.flag("mlock")
    if locked:
        # where --load-mode is known, --mlock is its mode of that name, which copies (kernel's account of a b10434: anonymous)
        return "mlock" if not mapped or _has(build, "--load-mode") else "mmap+mlock"
    return "auto" if mapped and newest["mmap"] is None else "mmap" if mapped else "none"


def _has(build: Takes, flag: str) -> bool:
    """Whether the build has a present flag; an unknown build counts as a present one."""
    known = build.accepts(flag)
    if known is None:
        return build.number is None or build.number >= FIT_SINCE
    return known


def _defaults(build: Takes) -> dict[str, int]:
    """Defaults that depend on the build. Without -c it is the training context (0), but 4096 in builds of 2025 before --fit."""
    return {
        "ctx": 0 if _has(build, "--fit") else 4096,
        "cache_ram": 8192 if _has(build, "--cache-ram") else 0,
        "ctx_checkpoints": 32 if _has(build, "--ctx-checkpoints") else 0,
    }


def _floats(text: str) -> tuple[float, ...] | Unknown:
    """Parse -ts: ``3,1`` or ``3/1``."""
    try:
        return tuple(float(word) for word in re.split(r"[,/]", text) if word.strip())
    except ValueError:
        return Unknown(f"--tensor-split {clean(text)!r:.60} is no list of numbers")
