"""The machine's resources: video memory by device and its holders, memory and control groups above the command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command, held_firmly
from sentinel.preflight.device import BuildDevice, Holder
from sentinel.sources.fs import Roots, read_number, read_text
from sentinel.sources.gpu import kfd, usage
from sentinel.sources.gpu.amdgpu import AmdDevice, amd_gpus, hwmon, is_apu
from sentinel.sources.gpu_nodes import any_node
from sentinel.sources.meminfo import meminfo
from sentinel.sources.processes.headroom import Room, room

#: llama.cpp's device names by backend (ggml-cuda.cu, ggml-vulkan.cpp): a number follows
DEVICE_NAMES: Mapping[str, str] = {"hip": "ROCm", "cuda": "CUDA", "vulkan": "Vulkan", "sycl": "SYCL", "musa": "MUSA"}
#: Holders of less are not listed. Bytes.
_WORTH_NAMING = 64 << 20
#: Two figures for the same free memory agree if they differ by less: llama-server rounds, and programs come and go. Bytes.
_AGREES = 512 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """All of it, read at one moment. `room_bytes` is the least that a limit leaves, `where` that limit; empty: the machine."""

    gpus: tuple[BuildDevice, ...] | Unknown
    room_bytes: int | Unknown
    where: str = ""
    swap_bytes: int = 0
    #: what each limit leaves, by its name in the answer
    ceilings: tuple[tuple[str, int], ...] = ()
    lock_limit: int | Unknown = -1
    total_bytes: int = 0
    #: bytes below memory.high, above which the kernel throttles the group; -1 for none
    memory_high_bytes: int = -1
    memory_high_where: str = ""
    disagreements: tuple[str, ...] = field(default=())


def look(command: Command, build: Build, roots: Roots | None = None) -> Machine:
    """Read it now. For a running process, its own memory counts as free: it is judged as if it were restarted.

    So does this program's own memory: it has exited when the command starts from the same shell.
    """
    roots = Roots() if roots is None else roots
    gpus, disagreements = devices(command, build, roots)
    lock, total = command.place.lock_limit, meminfo(roots, ("MemTotal",)).get("MemTotal", 0)
    own = held_firmly(roots, command.pid) if command.pid else 0
    if not command.pid and not command.place.unit:
        mine = held_firmly(roots, os.getpid())
        own = mine if isinstance(mine, int) else 0
    found: Room | Unknown = (
        Unknown("the control group that it would run in cannot be read")
        if command.place.member is None
        else room(roots, command.place.member)
    )
    if isinstance(found, Unknown) or isinstance(own, Unknown):
        why = found if isinstance(found, Unknown) else own
        assert isinstance(why, Unknown)
        return Machine(gpus, why, lock_limit=lock, total_bytes=total, disagreements=disagreements)
    ceilings = [("MemAvailable", found.host_bytes + own)]
    ceilings += [(f"cgroup:{name}", left + own) for name, left in found.group_bytes]
    left, where = found.left_bytes + own, f"the control group {found.where}" if found.where else ""
    high, high_where = found.memory_high_bytes, found.memory_high_where
    for name, limit in command.place.unit_limits.items():
        # a unit that does not run has no group yet: the whole limit is available
        ceilings.append((f"{name} of {command.place.unit}", limit))
        if name == "MemoryHigh":
            high, high_where = (limit, command.place.unit) if high < 0 or limit < high else (high, high_where)
        elif limit < left:
            left, where = limit, f"{name} of {command.place.unit}"
    if high >= 0:
        high += own
    return Machine(gpus, left, where, found.swap_bytes, tuple(ceilings), lock, total, high, high_where, disagreements)


def devices(command: Command, build: Build, roots: Roots) -> tuple[tuple[BuildDevice, ...] | Unknown, tuple[str, ...]]:
    """The devices that this build would use, with the driver's figures beside the build's own."""
    amd = amd_gpus(roots)
    if isinstance(build.devices, Unknown):
        names = sorted(build.backends & DEVICE_NAMES.keys())
        if not amd or not names:
            return (() if _no_gpu(command, build, roots) else build.devices), ()
        prefix = DEVICE_NAMES[names[0]]
        return tuple(_device(BuildDevice(f"{prefix}{at}"), device, command, roots)[0] for at, device in enumerate(amd)), ()
    found, said = [], []
    for listed in build.devices:
        gpu, disagreement = _device(listed, _matching(listed, amd, roots), command, roots)
        found.append(gpu)
        said += [disagreement] if disagreement else []
    return tuple(found), tuple(said)


def _no_gpu(command: Command, build: Build, roots: Roots) -> bool:
    """No device file gives access to a GPU, or the build has no backend for one. A software renderer is not a GPU."""
    by_software = "vulkan" in build.backends and "GGML_VK_VISIBLE_DEVICES" in command.env
    return (not any_node(roots) or (build.is_split and not build.backends)) and not by_software


def _matching(listed: BuildDevice, amd: Sequence[AmdDevice], roots: Roots) -> AmdDevice | None:
    """Matches the GPU by its memory, because names and order are the runtime's; None unless exactly one has that size."""
    alike = []
    for device in amd:
        total = read_number(device.device / "mem_info_vram_total")
        if isinstance(total, int) and listed.total_bytes is not None and abs(total - listed.total_bytes) <= total // 20:
            alike.append(device)
    return alike[0] if len(alike) == 1 else None


def _device(listed: BuildDevice, device: AmdDevice | None, command: Command, roots: Roots) -> tuple[BuildDevice, str]:
    """One device; the smaller of two figures for its free memory counts, and their difference is the second value."""
    name, free, total = listed.name, listed.free_bytes, listed.total_bytes
    # hipMallocManaged uses host memory, and llama-server then reports the host's as the device's (ggml-cuda.cu)
    managed = name.startswith("ROCm") and command.requested.unified_memory
    if device is None:
        return replace(listed, software=_is_software(listed.about), managed=managed), ""
    vram, used = read_number(device.device / "mem_info_vram_total"), read_number(device.device / "mem_info_vram_used")
    apu = is_apu(hwmon(device.device)) is True
    held = holders(roots, device)
    own = sum(one.bytes for one in held if one.pid == command.pid)
    others = tuple(one for one in held if one.pid != command.pid and one.bytes >= _WORTH_NAMING)
    said = ""
    if isinstance(vram, int) and isinstance(used, int) and not apu and not managed:
        left = max(vram - used, 0)
        if free is not None and abs(free - left) > _AGREES:
            said = f"{name}: llama-server sees {free >> 20} MiB free, the driver {left >> 20} MiB; the lesser counts"
        free = left if free is None else min(free, left)
        total = vram if total is None else total
    found = replace(
        listed,
        free_bytes=None if free is None else free + own,
        total_bytes=total,
        integrated=apu,
        managed=managed,
        address=device.address,
        holders=others,
    )
    return found, said


def _is_software(about: str) -> bool:
    """A Vulkan device that is the CPU: its memory is the machine's."""
    return "llvmpipe" in about or "SwiftShader" in about


def holders(roots: Roots, device: AmdDevice) -> list[Holder]:
    """Processes with memory on the GPU, largest first, from KFD and the driver's clients; other users' may be hidden."""
    by_number = {node.gpu_id: node.address for node in kfd.nodes(roots)}
    found = []
    for pid in _pids(roots):
        size = sum(held for gpu, held in (kfd.memory(roots, pid) or {}).items() if by_number.get(gpu) == device.address)
        nodes = usage.open_nodes(roots, pid)
        if not isinstance(nodes, Unknown) and nodes.nodes:
            held = usage.memory(roots, pid, nodes)
            alone = held["server.gpus"] == device.address
            drm = held["server.gpu_memory_bytes"]
            size = max(size, drm if alone and isinstance(drm, int) else 0)
        if size:
            found.append(Holder(pid, _name(roots, pid), size))
    return sorted(found, key=lambda one: -one.bytes)


def _pids(roots: Roots) -> set[int]:
    names: set[str] = set()
    for folder in (roots.proc, roots.sys / "class/kfd/kfd/proc"):
        with contextlib.suppress(OSError):
            names.update(path.name for path in folder.iterdir())
    return {int(name) for name in names if name.isdigit()}


def _name(roots: Roots, pid: int) -> str:
    try:
        return clean(read_text(roots.proc / str(pid) / "comm", 64))
    except OSError:
        return "?"
