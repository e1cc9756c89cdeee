"""GPU backends of llama.cpp: mapped by a process, or installed beside it; and whether the device is a software renderer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_BACKEND_FOLDERS
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, read_bytes, unread
from sentinel.sources.gpu.usage import OpenNodes

_BACKEND_LIBRARY = re.compile(rb"/libggml-(hip|cuda|vulkan|sycl|opencl|musa|cann)\b[^/\n]*\.so")
_BACKEND_FILE = re.compile(r"libggml-(hip|cuda|vulkan|sycl|opencl|musa|cann)\b.*\.so")
_GGML_LIBRARY = re.compile(rb" (/[^\n]*)/libggml[^/\n]*\.so")
#: runtimes mapped by a build with its backends linked in; the Vulkan loader alone does not prove a device
_RUNTIMES: Mapping[bytes, str] = {
    b"/libamdhip64.so": "hip",
    b"/libcudart.so": "cuda",
    b"/libcuda.so": "cuda",
    b"/libvulkan.so": "vulkan",
    b"/libOpenCL.so": "opencl",
    b"/libze_loader.so": "sycl",
    b"/libmusart.so": "musa",
}
#: Mesa's CPU drivers: lavapipe under its names since 2021, and SwiftShader
_SOFTWARE_VULKAN = (b"/libvulkan_lvp", b"/libvk_swiftshader")


def mapped(roots: Roots, pid: int, nodes: OpenNodes | Unknown) -> dict[str, Value | Unknown]:
    """GPU backends in /proc/PID/maps, and whether the only Vulkan device can be a software renderer."""
    path = f"{roots.proc}/{pid}/maps"
    try:
        maps = read_bytes(path, 8 << 20)
    except OSError as error:
        why = unread(path, error)
        return {
            "server.gpu_backends": why,
            "server.gpu_backends_beside": why,
            "server.ggml_folder": why,
            "server.software_gpu": why,
        }
    backends = {match.decode("ascii") for match in _BACKEND_LIBRARY.findall(maps)}
    if not backends and b"/libggml-base" not in maps:
        # a statically linked build maps only its runtime
        backends = {name for library, name in _RUNTIMES.items() if library in maps}
    software: bool | Unknown = False
    if any(library in maps for library in _SOFTWARE_VULKAN):
        # Mesa maps its drivers to enumerate devices, so a mapped one is in use only where no GPU is
        software = nodes if isinstance(nodes, Unknown) else not nodes.nodes
    beside, folder = _beside(f"{roots.proc}/{pid}/root", maps)
    return {
        "server.gpu_backends": ",".join(sorted(backends)),
        "server.gpu_backends_beside": beside,
        "server.ggml_folder": folder,
        "server.software_gpu": software,
    }


def _beside(root: str, maps: bytes) -> tuple[str | Unknown, str]:
    """GPU backends installed in the folder of the process's other ggml libraries, loaded or not; and that folder."""
    folders = list(dict.fromkeys(match.decode("utf-8", "surrogateescape") for match in _GGML_LIBRARY.findall(maps)))
    found: set[str] = set()
    where = folders[0] if folders else ""
    for folder in folders[:MOST_BACKEND_FOLDERS]:
        try:
            # as the process sees it: it may be in a container
            names = os.listdir(root + folder)  # noqa: PTH208 - names alone
        except OSError as error:
            return unread(folder, error), clean(where)
        here = {match[1] for name in names if (match := _BACKEND_FILE.match(name))}
        where = folder if here and not found else where
        found |= here
    return ",".join(sorted(found)), clean(where)
