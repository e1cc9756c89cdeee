"""Device files of GPUs in /dev, by name alone: nothing here opens one."""

from __future__ import annotations

import re
from pathlib import Path

from sentinel.sources.fs import Roots

#: dxg: the GPU of Windows in WSL 2, for CUDA, ROCm and Vulkan (drivers/hv/dxgkrnl); accel: NPUs
_NOT_OF_DRM = ("dxg", "nvidia[0-9]*", "nvidiactl")
_ANY = ("kfd", *_NOT_OF_DRM, "dri/renderD*", "accel/accel*")


def node_kind(path: str) -> str:
    """kfd, render, card, nvidia or dxg for a GPU device file, else the empty string."""
    if path in ("/dev/kfd", "/dev/dxg"):
        return path.removeprefix("/dev/")
    if path.startswith("/dev/dri/"):
        return "render" if "renderD" in path else "card"
    # nvidiactl is opened to detect a GPU; nvidia0 and nvidia-uvm are held by a process that uses one
    return "nvidia" if re.match(r"/dev/nvidia(?:\d+|-uvm)\Z", path) else ""


def kfd_node(roots: Roots) -> Path:
    """The device file of KFD, which ROCm needs; it may not exist."""
    return roots.dev / "kfd"


def render_nodes(roots: Roots) -> list[Path]:
    """Render nodes that exist, in order: Vulkan needs one, ROCm needs them beside KFD's."""
    return sorted((roots.dev / "dri").glob("renderD*"))


def amd_nodes(roots: Roots) -> list[Path]:
    """What ROCm needs: KFD's device file, which may not exist, and the render nodes."""
    return [kfd_node(roots), *render_nodes(roots)]


def nvidia_nodes(roots: Roots) -> list[Path]:
    """What CUDA needs: the GPUs that exist, and nvidia-uvm, which may not exist."""
    return [*roots.dev.glob("nvidia[0-9]*"), uvm_node(roots)]


def uvm_node(roots: Roots) -> Path:
    """Made by its first user or by a service, often after other programs have started; it may not exist."""
    return roots.dev / "nvidia-uvm"


def any_node(roots: Roots) -> bool:
    """A device file exists through which a GPU could be used, whoever may open it."""
    return _exists(roots, _ANY)


def any_beside_drm(roots: Roots) -> bool:
    """A device file exists whose driver reports no memory in /sys/class/drm."""
    return _exists(roots, _NOT_OF_DRM)


def _exists(roots: Roots, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in roots.dev.glob(pattern))
