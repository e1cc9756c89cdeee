"""The host's memory, memory pressure and GPU device files: /proc/meminfo, vmstat, pressure; /dev and /sys/module."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from pathlib import Path

from sentinel.model.entity import HOST, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.fs import Roots, read_text, unread
from sentinel.sources.gpu_nodes import amd_nodes, kfd_node, nvidia_nodes, render_nodes, uvm_node
from sentinel.sources.meminfo import meminfo

#: line of /proc/meminfo -> signal; psutil lacks Mlocked, PageTables and Hugetlb
_MEMINFO = {
    "MemTotal": "host.mem_total_bytes",
    "MemAvailable": "host.mem_available_bytes",
    "MemFree": "host.mem_free_bytes",
    "SwapTotal": "host.swap_total_bytes",
    "SwapFree": "host.swap_free_bytes",
    "Mlocked": "host.locked_bytes",
    "PageTables": "host.page_tables_bytes",
    "Hugetlb": "host.hugepages_bytes",
}
_PRESSURE = {
    ("memory", "full"): "host.psi_memory_full_avg10",
    ("memory", "some"): "host.psi_memory_some_avg10",
    ("io", "full"): "host.psi_io_full_avg10",
}


class Host:
    """Polled; one Samples reading about the host."""

    name = "host"
    interval = 2.0
    blocking = True

    def __init__(self, roots: Roots | None = None) -> None:
        self._roots = Roots() if roots is None else roots
        self._faults: tuple[float, int] | None = None

    def poll(self, at: float) -> Sequence[Reading]:
        """Read everything once: 0.2 ms."""
        values = self._meminfo() | self._vmstat(at) | self._pressure() | self._gpu_files() | self._uptime()
        return [Samples(at, self.name, HOST, values)]

    def _meminfo(self) -> dict[str, Value | Unknown]:
        path = self._roots.proc / "meminfo"
        try:
            found = meminfo(self._roots, _MEMINFO)
        except OSError as error:
            return dict.fromkeys(_MEMINFO.values(), unread(path, error))
        return {signal: found.get(key, Unknown(f"/proc/meminfo has no {key} line")) for key, signal in _MEMINFO.items()}

    def _vmstat(self, at: float) -> dict[str, Value | Unknown]:
        path = self._roots.proc / "vmstat"
        try:
            counters = dict(line.split(" ", 1) for line in read_text(path).splitlines() if " " in line)
        except OSError as error:
            why = unread(path, error)
            return {"host.oom_kills": why, "host.major_faults_per_s": why}
        kills, faults = counters.get("oom_kill", ""), counters.get("pgmajfault", "")
        values: dict[str, Value | Unknown] = {
            "host.oom_kills": int(kills) if kills.isdigit() else Unknown(f"{path} has no oom_kill: the kernel is older than 4.13")
        }
        if not faults.isdigit():
            values["host.major_faults_per_s"] = Unknown(f"{path} has no pgmajfault")
            return values
        if self._faults is not None and at > self._faults[0] and int(faults) >= self._faults[1]:
            values["host.major_faults_per_s"] = round((int(faults) - self._faults[1]) / (at - self._faults[0]), 2)
        self._faults = (at, int(faults))
        return values

    def _pressure(self) -> dict[str, Value | Unknown]:
        values: dict[str, Value | Unknown] = {}
        for resource in ("memory", "io"):
            path = self._roots.proc / "pressure" / resource
            found: dict[str, float] | Unknown
            try:
                found = parse_pressure(read_text(path))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                    found = Unknown(f"the kernel offers no {path}: boot it with psi=1")
                else:
                    found = unread(path, error)
            for (name, kind), signal in _PRESSURE.items():
                if name == resource:
                    missing = Unknown(f"{path} has no line '{kind}'")
                    values[signal] = found if isinstance(found, Unknown) else found.get(kind, missing)
        return values

    def _uptime(self) -> dict[str, Value | Unknown]:
        path = self._roots.proc / "uptime"
        try:
            first = read_text(path, 128).partition(" ")[0]
            return {"host.uptime_seconds": float(first)}
        except OSError as error:
            return {"host.uptime_seconds": unread(path, error)}
        except ValueError:
            return {"host.uptime_seconds": Unknown(f"{path} holds no number")}

    def _gpu_files(self) -> dict[str, Value | Unknown]:
        values: dict[str, Value | Unknown] = {
            "host.kfd_present": kfd_node(self._roots).exists(),
            "host.dxg_present": (self._roots.dev / "dxg").exists(),
        }
        try:
            values["host.render_nodes"] = len(render_nodes(self._roots))
        except OSError as error:
            values["host.render_nodes"] = unread(self._roots.dev / "dri", error)
        values["host.gpu_nodes_since"] = _since(amd_nodes(self._roots))
        values["host.nvidia_nodes_since"] = _since(nvidia_nodes(self._roots))
        values["host.nvidia_uvm_present"] = uvm_node(self._roots).exists()
        module = self._roots.sys / "module/amdgpu"
        try:
            values["host.amdgpu_loaded"] = read_text(module / "initstate", 64) == "live"
        except FileNotFoundError:
            # built into the kernel the module has a folder but no state
            values["host.amdgpu_loaded"] = module.is_dir()
        except OSError as error:
            values["host.amdgpu_loaded"] = unread(module / "initstate", error)
        return values


def _since(nodes: Iterable[Path]) -> float | Unknown:
    """When the newest of some device files was created: its mtime. devtmpfs keeps the mtime, while a login changes only the
    ctime."""
    newest = 0.0
    for path in nodes:
        try:
            newest = max(newest, path.stat().st_mtime)
        except OSError:
            continue
    return newest or Unknown("there is no such device file")


def parse_pressure(text: str) -> dict[str, float]:
    """avg10 in percent by kind (some, full), of a file of /proc/pressure (kernel: Documentation/accounting/psi.rst)."""
    found = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        for pair in rest.split():
            key, _, number = pair.partition("=")
            if key == "avg10" and number.replace(".", "", 1).isdigit():
                found[kind] = float(number)
    return found
