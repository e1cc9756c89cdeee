"""Probes of the GPUs: which ones the machine has, what their drivers expose, who may open them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence

from sentinel.cli.doctor.capability import Capability, ProbeInput
from sentinel.files.libraries import how_to_add
from sentinel.model.entity import HOST, Unknown
from sentinel.model.reading import Samples
from sentinel.model.text import counted, escape
from sentinel.sources.base import NotHere, SourceFault
from sentinel.sources.fs import read_text
from sentinel.sources.gpu.amdgpu import AmdGpus
from sentinel.sources.gpu.hotplug import PciGpu, from_sysfs
from sentinel.sources.gpu.kfd import gfx_versions
from sentinel.sources.gpu.nvml import Nvml
from sentinel.sources.gpu.rocm_smi import RocmSmi
from sentinel.sources.gpu.usage import refused
from sentinel.sources.gpu_nodes import amd_nodes
from sentinel.sources.processes.procfs import credentials

_DRIVER = "sudo modprobe amdgpu; journalctl -k -g amdgpu -b says why if that fails"


def gpus(machine: ProbeInput) -> Sequence[Capability]:
    """The GPUs on the PCI bus."""
    try:
        found = from_sysfs(machine.roots)
    except SourceFault as fault:
        return [Capability("gpu", "fails", str(fault), "mount /sys")]
    if not found:
        return [Capability("gpu", "absent", "no GPU of AMD, NVIDIA or Intel on the PCI bus")]
    return [Capability("gpu", "works", ", ".join(f"{gpu.address} {gpu.vendor} {escape(gpu.name)}" for gpu in found))]


def amdgpu(machine: ProbeInput) -> Sequence[Capability]:
    """Memory, load and temperatures of AMD GPUs, from sysfs."""
    amd = [gpu for gpu in _gpus(machine) if gpu.vendor == "amd"]
    try:
        readings = AmdGpus(machine.roots).poll(machine.now)
    except NotHere as absent:
        if amd:
            return [Capability("amdgpu", "fails", f"{amd[0].address} is there, but {absent}", _DRIVER)]
        return [Capability("amdgpu", "absent", "no AMD GPU in this machine")]
    hidden, seen = [], []
    for reading in readings:
        if isinstance(reading, Samples) and reading.entity.scope == "gpu":
            used = reading.values["gpu.vram_used_bytes"]
            asleep = reading.values["gpu.runtime_status"] in ("suspended", "suspending")
            if isinstance(used, Unknown) and not asleep:
                hidden.append(f"{reading.entity.name}: {used.why}")
            else:
                seen.append(f"{reading.entity.name}{' (asleep, not woken)' if asleep else ''}")
    if hidden:
        return [Capability("amdgpu", "fails", "; ".join(hidden), "journalctl -k -g amdgpu -b shows what the driver says")]
    return [Capability("amdgpu", "works", f"memory, load, power and temperature of {', '.join(seen)}")]


def kfd(machine: ProbeInput) -> Sequence[Capability]:
    """ROCm's driver interface: which GPUs it can use, and how much memory each process holds."""
    if not any(gpu.vendor == "amd" for gpu in _gpus(machine)):
        return [Capability("kfd", "absent", "no AMD GPU in this machine")]
    versions = gfx_versions(machine.roots)
    if not versions:
        why = "KFD lists no GPU: ROCm cannot be used (Vulkan can)"
        return [Capability("kfd", "absent", why, "ls -l /dev/kfd; in a container pass it in: --device /dev/kfd")]
    return [Capability("kfd", "works", ", ".join(f"{address} {version}" for address, version in sorted(versions.items())))]


def nodes(machine: ProbeInput) -> Sequence[Capability]:
    """The GPU's device files, and whether the users of the llama-servers may open them."""
    there = [path.name for path in amd_nodes(machine.roots) if path.exists()]
    if not there:
        if _gpus(machine):
            why = f"there is a GPU, but no render node in {machine.roots.dev}/dri"
            return [Capability("gpu-nodes", "fails", why, "load its driver; in a container pass it in: --device /dev/dri")]
        return [Capability("gpu-nodes", "absent", "no GPU, so no device files")]
    closed = []
    for user, groups in dict(_users(machine)).items():
        answer = refused(machine.roots, user, groups)
        if isinstance(answer, Unknown):
            return [Capability("gpu-nodes", "works", f"{', '.join(sorted(there))}; {answer.why}")]
        if answer:
            closed.append((_name(user), answer))
    if closed:
        why = "; ".join(f"user {user} may not open {files}" for user, files in closed)
        fix = "; ".join(f"sudo usermod -aG render,video {user}, then restart its llama-server" for user, _ in closed)
        return [Capability("gpu-nodes", "fails", why, fix)]
    whose = "the users of the llama-servers" if machine.servers else "your user"
    return [Capability("gpu-nodes", "works", f"{whose} may open {', '.join(sorted(there))}")]


def _users(machine: ProbeInput) -> Iterator[tuple[int, frozenset[int]]]:
    for server in machine.servers:
        try:
            yield credentials(read_text(machine.roots.proc / str(server.pid) / "status"))
        except OSError:
            # it has exited since
            continue
    if not machine.servers:
        yield os.geteuid(), frozenset((os.getegid(), *os.getgroups()))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def rocm_smi(machine: ProbeInput) -> Sequence[Capability]:
    """The slow cross-check of sysfs; run once."""
    try:
        readings = RocmSmi(machine.roots).poll(machine.now)
    except NotHere as absent:
        return [Capability("rocm-smi", "absent", str(absent))]
    except SourceFault as fault:
        fix = "sysfs is read without it; rocm-smi in a terminal shows what it says"
        return [Capability("rocm-smi", "fails", escape(str(fault)), fix)]
    return [Capability("rocm-smi", "works", f"answers for {counted(len(readings), 'GPU')}")]


def nvidia(machine: ProbeInput) -> Sequence[Capability]:
    """NVIDIA GPUs through NVML."""
    if not any(gpu.vendor == "nvidia" for gpu in _gpus(machine)):
        return [Capability("nvidia", "absent", "no NVIDIA GPU in this machine")]
    if not (machine.roots.proc / "driver/nvidia/version").exists():
        return [
            Capability("nvidia", "fails", "the GPU is there and its driver is not loaded", "sudo modprobe nvidia; nvidia-smi")
        ]
    try:
        readings = Nvml(lambda: machine.servers, machine.roots).poll(machine.now)
    except NotHere as absent:
        return [Capability("nvidia", "absent", str(absent), f"{how_to_add('nvidia-ml-py', 'nvidia')}; then restart sentinel")]
    except SourceFault as fault:
        return [Capability("nvidia", "fails", escape(str(fault)), "nvidia-smi in a terminal shows what it says")]
    values = {r.entity: r.values for r in readings if isinstance(r, Samples)}
    if broken := values.get(HOST, {}).get("host.nvml_fault"):
        return [Capability("nvidia", "fails", escape(str(broken)), "nvidia-smi in a terminal shows what it says")]
    seen = []
    for entity, of_gpu in values.items():
        used = of_gpu.get("gpu.vram_used_bytes")
        if entity.scope != "gpu":
            continue
        if of_gpu["gpu.runtime_status"] == "suspended":
            seen.append(f"{entity.name} (asleep, not woken)")
        elif isinstance(used, Unknown):
            return [Capability("nvidia", "fails", f"{entity.name}: {escape(used.why)}", "journalctl -k -g 'NVRM|Xid' -b")]
        else:
            seen.append(entity.name)
    return [Capability("nvidia", "works", f"memory, load, power and temperature of {', '.join(seen)}")]


def _gpus(machine: ProbeInput) -> list[PciGpu]:
    try:
        return from_sysfs(machine.roots)
    except SourceFault:
        # reported by the row about the bus
        return []
