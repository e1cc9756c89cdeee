"""Derives the memory a server will need from its flags and its model's header, for the arithmetic in `memory/`."""

from __future__ import annotations

import re

from sentinel.gguf.header import GgufHeader, model_of
from sentinel.llama.command_line import Requested
from sentinel.llama.memory_settings import AnyBuild, settings_of
from sentinel.llama.settings import Settings
from sentinel.memory.requirement import Around, Need, need
from sentinel.model.entity import Unknown
from sentinel.sources import gpu_nodes
from sentinel.sources.fs import Roots, read_number, read_text
from sentinel.sources.gpu.amdgpu import hwmon, is_apu

#: CAP_IPC_LOCK lifts RLIMIT_MEMLOCK (mm/mlock.c, do_mlock); include/uapi/linux/capability.h
_CAP_IPC_LOCK = 14


def needed(
    roots: Roots, requested: Requested, model: GgufHeader | None, lock_limit: int | Unknown, unreadable: str
) -> Need | Unknown:
    """The lower bound of unreclaimable memory once the model is loaded.

    `lock_limit` is in bytes, -1 for none; `unreadable` says why the environment is unknown, and is empty when it is known.
    """
    if unreadable:
        return Unknown(unreadable)
    if requested.is_router:
        return Unknown("a router loads no model itself")
    if model is None:
        return Unknown("the header of the model file cannot be read, or the model was fetched by name")
    whole = model_of(model)
    if isinstance(whole, Unknown):
        return whole
    settings = settings_of(requested, AnyBuild())
    if isinstance(settings, Unknown):
        return settings
    far = "rpc" in requested.settings
    elsewhere = far or not (settings.device_none or not gpu_nodes.any_node(roots))
    around = Around(elsewhere, lock_limit, None if far or requested.unified_memory else vram_total(roots))
    return need(whole, settings, around, _load_modes(requested, settings))


def _load_modes(requested: Requested, settings: Settings) -> tuple[str, ...]:
    """The load modes the flags may mean: --mlock alone maps in some builds and copies in others."""
    asked = requested.settings.get("mlock")
    if asked is None or not requested.flag("mlock") or asked == requested.settings.get("load_mode"):
        return (settings.load_mode,)
    return ("mmap+mlock", "mlock") if requested.on("mmap", default=True) else ("mlock",)


def vram_total(roots: Roots) -> int | None:
    """Video memory of all GPUs in bytes; None unless every usable GPU reports it.

    Integrated GPUs use host memory beyond their carve-out: their limit is unknown.
    """
    total = reporting = 0
    for path in (roots.sys / "class/drm").glob("card*/device/mem_info_vram_total"):
        # card0, not its connectors (card0-DP-1)
        if not re.fullmatch(r"card\d+", path.parent.parent.name):
            continue
        size = read_number(path)
        if isinstance(size, Unknown) or is_apu(hwmon(path.parent)) is True:
            return None
        total, reporting = total + size, reporting + 1
    usable = len(gpu_nodes.render_nodes(roots))
    return total if reporting and reporting == usable and not gpu_nodes.any_beside_drm(roots) else None


def lock_limit(roots: Roots, pid: int, memlock_limit: int | Unknown) -> int | Unknown:
    """Bytes that the process may lock, -1 for any number. CAP_IPC_LOCK lifts the limit, unless a user namespace granted it."""
    return -1 if _may_lock_all(roots, pid) else memlock_limit


def _may_lock_all(roots: Roots, pid: int) -> bool:
    """Capabilities inside a user namespace do not count here (mm/mlock.c calls capable(), kernel/capability.c)."""
    try:
        status = read_text(roots.proc / str(pid) / "status", 1 << 16)
        own_users = read_text(roots.proc / str(pid) / "uid_map", 4096).split()
    except OSError:
        return False
    match = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> _CAP_IPC_LOCK & 1) and own_users == ["0", "0", "4294967295"]
