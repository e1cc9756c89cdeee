"""A process's use of the GPUs: device nodes it holds open, memory the driver counts for it, nodes it may not open.

Memory comes from two accounts of the driver: KFD's (/sys/class/kfd/kfd/proc/PID, HIP only, world-readable) and the DRM
client statistics in fdinfo (docs.kernel.org/gpu/drm-usage-stats.html). Both may count the same bytes, so the larger one is used.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.fs import Roots, link, read_text, unread
from sentinel.sources.gpu import kfd
from sentinel.sources.gpu.nvml_gpu import Holding
from sentinel.sources.gpu_nodes import amd_nodes, node_kind

_UNITS = {"": 1, "B": 1, "kB": 1024, "KiB": 1024, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class OpenNodes:
    """GPU device files a process holds: descriptor number -> kind (kfd, render, card, nvidia, dxg)."""

    nodes: Mapping[int, str]

    @property
    def kinds(self) -> str:
        return ",".join(sorted(set(self.nodes.values())))


def open_nodes(roots: Roots, pid: int) -> OpenNodes | Unknown:
    """Scan /proc/PID/fd. Unknown if it may not be read, which differs from none."""
    folder = f"{roots.proc}/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone; Path objects would double the cost of the sweep
    except OSError as error:
        return unread(folder, error)
    nodes: dict[int, str] = {}
    for name in names:
        try:
            target = link(f"{folder}/{name}")
        except OSError:
            # closed in between
            continue
        kind = node_kind(target)
        if kind:
            nodes[int(name)] = kind
    return OpenNodes(nodes)


@dataclass(frozen=True, slots=True)
class Client:
    """One DRM client: its GPU, number, and memory in bytes (None: not reported by its driver)."""

    driver: str
    gpu: str
    number: str
    vram: int | None
    gtt: int
    #: bytes that belong in video memory and were evicted from it; None: not reported by the kernel (before 6.4)
    evicted: int | None = None


def parse_fdinfo(text: str) -> Client | None:
    """Decode /proc/PID/fdinfo/N; None for a file that is not DRM's. Absent keys count as 0, units vary by kernel."""
    keys: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            keys[key.strip()] = value.strip()
    if "drm-driver" in keys:
        driver, gpu, number = keys["drm-driver"], keys.get("drm-pdev", ""), keys.get("drm-client-id", "")
        regions = _regions(keys)
        if driver == "amdgpu":
            evicted = _size(keys["amd-evicted-vram"]) if "amd-evicted-vram" in keys else None
            return Client(driver, gpu.lower(), number, regions.get("vram", 0), regions.get("gtt", 0), evicted)
        # i915 and xe number their regions, and an integrated GPU has only system memory: all of it counts as the GPU's
        return Client(driver, gpu, number, sum(regions.values()) if regions else None, 0)
    if "vram mem" in keys:
        # amdgpu from 5.14 to 5.18
        vram, gtt = keys["vram mem"], keys.get("gtt mem", "0")
        return Client("amdgpu", keys.get("pdev", ""), keys.get("pasid", ""), _size(vram), _size(gtt))
    return None


def _regions(keys: Mapping[str, str]) -> dict[str, int]:
    """Bytes by memory region: resident if the kernel reports it, else the older drm-memory, else the total."""
    found: dict[str, int] = {}
    for prefix in ("drm-total-", "drm-memory-", "drm-resident-"):
        found |= {key.removeprefix(prefix): _size(value) for key, value in keys.items() if key.startswith(prefix)}
    return found


def _size(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(number) * _UNITS.get(unit.strip(), 0) if number.isdigit() else 0


#: A process that holds less on a GPU has only opened it, as ROCm does with every GPU. Bytes.
_HELD = 64 << 20
_MEMORY = ("server.gpu_memory_bytes", "server.gpu_gtt_bytes", "server.gpus", "server.gpu_evicted_bytes")
_OLD_KERNEL = Unknown("fdinfo does not count what was moved out of video memory: the kernel is older than 6.4, or not amdgpu's")


def memory(roots: Roots, pid: int, nodes: OpenNodes | Unknown) -> dict[str, Value | Unknown]:
    """GPU memory the process owns and on which GPUs. 0 only if it is known to hold no GPU node."""
    by_kfd = kfd.memory(roots, pid)
    total = sum(by_kfd.values()) if by_kfd else None
    if isinstance(nodes, Unknown):
        if not total or by_kfd is None:
            return dict.fromkeys(_MEMORY, nodes)
        seen: dict[str, Value | Unknown] = {"server.gpu_memory_bytes": total, "server.gpus": _gpus(roots, by_kfd, [])}
        return dict.fromkeys(_MEMORY, nodes) | seen
    if not nodes.nodes:
        gpus = _gpus(roots, by_kfd or {}, [])
        return {
            "server.gpu_memory_bytes": total or 0,
            "server.gpu_gtt_bytes": 0,
            "server.gpus": gpus,
            "server.gpu_evicted_bytes": 0,
        }
    clients = _clients(roots, pid, (number for number, kind in nodes.nodes.items() if kind in ("render", "card")))
    if isinstance(clients, Unknown):
        found: dict[str, Value | Unknown] = dict.fromkeys(_MEMORY, clients)
        if total and by_kfd is not None:
            found |= {"server.gpu_memory_bytes": total, "server.gpus": _gpus(roots, by_kfd, [])}
        return found
    counted = [client.vram for client in clients if client.vram is not None]
    if not counted and total is None:
        only = Unknown(
            f"the process holds {nodes.kinds} nodes, and neither KFD nor fdinfo counts memory for them"
            " (NVIDIA's driver reports it through NVML only, that of WSL to Windows only)"
        )
        return dict.fromkeys(_MEMORY, only)
    held = max(total or 0, sum(counted))
    elsewhere = sorted({"nvidia", "dxg"} & set(nodes.nodes.values()))
    if elsewhere and held + sum(client.gtt for client in clients) < _HELD:
        # Vulkan has only opened the integrated GPU: the memory that counts is on the other GPU, where it is not reported.
        return dict.fromkeys(
            _MEMORY, Unknown(f"the process holds {elsewhere[0]} nodes too, whose memory neither KFD nor fdinfo counts")
        )
    evicted = [client.evicted for client in clients if client.evicted is not None]
    return {
        "server.gpu_memory_bytes": held,
        "server.gpu_gtt_bytes": sum(client.gtt for client in clients),
        "server.gpus": _gpus(roots, by_kfd or {}, clients),
        "server.gpu_evicted_bytes": sum(evicted) if evicted else _OLD_KERNEL,
    }


def with_nvidia(values: Mapping[str, Value | Unknown], holding: Holding | None) -> dict[str, Value | Unknown]:
    """The same with NVML's figures for the process; nothing if NVML does not list it.

    An unlisted process may still hold memory: sentinel in a container sees other process ids than the driver does.
    """
    if holding is None:
        return {}
    if holding.bytes is None:
        return {"server.gpu_memory_bytes": Unknown("NVIDIA's driver does not say how much the process holds")}
    others = values["server.gpu_memory_bytes"]
    gpus = values["server.gpus"]
    known = str(gpus).split(",") if gpus and not isinstance(gpus, Unknown) else []
    found: dict[str, Value | Unknown] = {
        "server.gpu_memory_bytes": holding.bytes + (0 if isinstance(others, Unknown) else int(others)),
        "server.gpus": ",".join(sorted({*known, *holding.gpus})),
    }
    if isinstance(values["server.gpu_gtt_bytes"], Unknown):
        # this driver does not report host memory that the GPU maps
        found["server.gpu_gtt_bytes"] = 0
    return found


def _gpus(roots: Roots, by_kfd: Mapping[int, int], clients: Iterable[Client]) -> str:
    """PCI addresses of the GPUs on which it holds a significant amount of memory."""
    held: dict[str, int] = {}
    for client in clients:
        held[client.gpu] = held.get(client.gpu, 0) + (client.vram or 0) + client.gtt
    if by_kfd:
        for node in kfd.nodes(roots):
            held[node.address] = max(held.get(node.address, 0), by_kfd.get(node.gpu_id, 0))
    return ",".join(sorted(clean(gpu) for gpu, size in held.items() if gpu and size >= _HELD))


def _clients(roots: Roots, pid: int, descriptors: Iterable[int]) -> list[Client] | Unknown:
    found: dict[tuple[str, str], Client] = {}
    for descriptor in descriptors:
        path = f"{roots.proc}/{pid}/fdinfo/{descriptor}"
        try:
            client = parse_fdinfo(read_text(path, 1 << 16))
        except FileNotFoundError:
            continue
        except OSError as error:
            return unread(path, error)
        if client is not None:
            # duplicated descriptors show the same client
            found[client.gpu, client.number] = client
    return list(found.values())


def in_reach(roots: Roots, pid: int) -> str | Unknown:
    """Kinds of GPU nodes in the /dev that the process sees: in a container those that were passed in."""
    folder = f"{roots.proc}/{pid}/root/dev"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone
    except OSError as error:
        return unread(folder, error)
    kinds = {"nvidia-uvm" if name == "nvidia-uvm" else node_kind(f"/dev/{name}") for name in names}
    if "dri" in names:
        try:
            # by-path is a folder
            kinds |= {node_kind(f"/dev/dri/{name}") for name in os.listdir(f"{folder}/dri") if name[-1:].isdigit()}  # noqa: PTH208
        except OSError as error:
            return unread(f"{folder}/dri", error)
    return ",".join(sorted(kinds - {""}))


def refused(roots: Roots, user: int, groups: frozenset[int]) -> str | Unknown:
    """GPU nodes that exist but whose mode denies a user with these groups read and write access."""
    if user < 0:
        return Unknown("the user of the process is not known")
    closed = []
    for path in amd_nodes(roots):
        try:
            status = path.stat()
            listed = "system.posix_acl_access" in os.listxattr(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            return unread(path, error)
        if listed:
            # logind grants the user at the console access by an ACL: the mode does not show it
            return Unknown(f"{path} has an access control list, which sentinel does not judge")
        if not _may_open(status, user, groups):
            closed.append(clean(f"/dev/{path.relative_to(roots.dev)}"))
    return ",".join(closed)


def _may_open(status: os.stat_result, user: int, groups: frozenset[int]) -> bool:
    if user == 0:
        return True
    mode = status.st_mode
    if status.st_uid == user:
        wanted = stat.S_IRUSR | stat.S_IWUSR
    elif status.st_gid in groups:
        wanted = stat.S_IRGRP | stat.S_IWGRP
    else:
        wanted = stat.S_IROTH | stat.S_IWOTH
    return mode & wanted == wanted
