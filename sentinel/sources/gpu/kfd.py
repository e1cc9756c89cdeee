"""AMD's compute driver (KFD) in sysfs: the GPUs it can use, and the memory it counts per process. World-readable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.sources.fs import Roots, read_number, read_text


@dataclass(frozen=True, slots=True)
class Node:
    """A GPU in KFD's topology: its number, its PCI address, and its gfx target as the kernel reports it."""

    gpu_id: int
    address: str
    gfx: str


def nodes(roots: Roots) -> list[Node]:
    """The GPUs that KFD lists; one masked by a device control group (EPERM) is left out, as for the process in it."""
    found = []
    for folder in sorted((roots.sys / "class/kfd/kfd/topology/nodes").glob("*")):
        try:
            lines = read_text(folder / "properties").splitlines()
        except OSError:
            # masked, or gone
            continue
        pairs = dict(line.split(" ", 1) for line in lines if " " in line)
        numbers = {key: int(value) for key, value in pairs.items() if value.isdigit()}
        version, location = numbers.get("gfx_target_version", 0), numbers.get("location_id", 0)
        if not version:
            # a processor
            continue
        gpu_id = read_number(folder / "gpu_id")
        bus, device, function = location >> 8, location >> 3 & 0x1F, location & 7
        address = f"{numbers.get('domain', 0):04x}:{bus:02x}:{device:02x}.{function}"
        # 110000 is gfx1100, 90010 is gfx90a: the stepping is written in hex
        gfx = f"gfx{version // 10000}{version // 100 % 100}{version % 100:x}"
        found.append(Node(gpu_id if isinstance(gpu_id, int) else 0, address, gfx))
    return found


def gfx_versions(roots: Roots) -> Mapping[str, str]:
    """gfx target by PCI address: the kernel's, regardless of HSA_OVERRIDE_GFX_VERSION."""
    return {node.address: node.gfx for node in nodes(roots)}


def memory(roots: Roots, pid: int) -> Mapping[int, int] | None:
    """Bytes by KFD's number of the GPU (``vram_<gpu_id>``); None if KFD has no such process: Vulkan never appears."""
    folder = roots.sys / "class/kfd/kfd/proc" / str(pid)
    try:
        names = [name for name in os.listdir(folder) if name.startswith("vram_")]  # noqa: PTH208 - the sweep's cost
    except OSError:
        return None
    found = {}
    for name in names:
        number, gpu_id = read_number(folder / name), name.removeprefix("vram_")
        if isinstance(number, int) and gpu_id.isdigit():
            found[int(gpu_id)] = number
    return found or None
