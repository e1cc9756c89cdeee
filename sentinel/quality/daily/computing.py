"""What computes at the moment of a check: on a GPU or not, and with which files of the GPU's driver.

Read when a server is asked, not when its process is found: by then, after minutes of rest, it has loaded what it will load.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots, read_bytes
from sentinel.sources.gpu.usage import open_nodes

#: The parts of a driver that turn kernels into a GPU's code: Mesa's and other Vulkan drivers, those of CUDA, ROCm, SYCL, OpenCL.
_DRIVER = re.compile(
    rb" (/[^\n]*/(lib(?:vulkan_\w+|vk_swiftshader|GLX_nvidia|cuda|amdhip64|hsa-runtime64|ze_intel_gpu|amdocl64|igdrcl|musa)"
    rb"\.so[.\w]{0,20}))$",
    re.MULTILINE,
)
_MOST_MAPS, _MOST_FILES = 8 << 20, 16
ON_GPU, NOT_ON_GPU = "a GPU", "no GPU"


def device(roots: Roots, pid: int) -> str:
    """Whether the process holds a GPU open; empty where that cannot be read."""
    nodes = open_nodes(roots, pid)
    return "" if isinstance(nodes, Unknown) else ON_GPU if nodes.nodes else NOT_ON_GPU


def libraries(roots: Roots, pid: int) -> str:
    """As ``libvulkan_radeon.so=1f2e3d4c``, by name: a digest of size and time; empty where it has none, or cannot be read."""
    try:
        maps = read_bytes(f"{roots.proc}/{pid}/maps", _MOST_MAPS)
    except OSError:
        return ""
    found = {}
    for path, name in sorted(set(_DRIVER.findall(maps)))[:_MOST_FILES]:
        try:
            known = Path(f"{roots.proc}/{pid}/root{os.fsdecode(path)}").stat()
        except (OSError, ValueError):
            # Replaced under the running process, which still has the one from before.
            continue
        stamp = blake2b(f"{known.st_size} {known.st_mtime_ns}".encode(), digest_size=4).hexdigest()
        found[os.fsdecode(name)] = stamp
    return ", ".join(f"{name}={stamp}" for name, stamp in sorted(found.items()))


def replaced(before: str, now: str) -> str:
    """In words, what differs between two texts of `libraries`; empty where one is empty or nothing does."""
    if not before or not now or before == now:
        return ""
    old, new = _by_name(before), _by_name(now)
    if set(old) != set(new):
        return f"driver {', '.join(sorted(old))} -> {', '.join(sorted(new))}"
    return f"driver files {', '.join(name for name in sorted(new) if old[name] != new[name])}"


def _by_name(text: str) -> Mapping[str, str]:
    found = (one.partition("=") for one in text.split(", "))
    return {name: stamp for name, _, stamp in found}
