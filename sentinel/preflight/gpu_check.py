"""Whether the requested GPU is reachable: each step from the build to the permissions of the device files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from sentinel.llama.settings import Settings
from sentinel.memory.fit import FitNote
from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.build import Build
from sentinel.preflight.command import Command
from sentinel.preflight.device import BuildDevice
from sentinel.preflight.machine import Machine
from sentinel.sources import gpu_nodes
from sentinel.sources.base import SourceFault
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.gpu import kfd, usage
from sentinel.sources.gpu.hotplug import PciGpu, from_sysfs
from sentinel.sources.processes.procfs import user_name

_AFTER = ": it will run on the CPU, without a warning"


def problems(command: Command, settings: Settings, build: Build, machine: Machine, roots: Roots) -> Iterator[FitNote]:
    """The first broken step if layers are requested for a GPU, and the device files that the command's user may not open."""
    if settings.device_none:
        return
    if isinstance(machine.gpus, tuple):
        yield from _split(settings, machine.gpus)
    if settings.gpu_layers == 0:
        return
    asked = command.requested
    explicit = "gpu_layers" in asked.settings and settings.gpu_layers != -1
    usable = isinstance(machine.gpus, tuple) and bool(machine.gpus)
    if command.place.private_devices and (usable or explicit):
        text = f"{command.place.unit} has PrivateDevices=yes, which hides the GPU's device files from it: set it to no{_AFTER}"
        yield FitNote("gpu-hidden-by-unit", text, "fails" if explicit else "tight", about="gpu")
        return
    refused = _refused(command, roots)
    if isinstance(refused, Unknown) and explicit:
        yield FitNote("gpu-access-not-judged", refused.why, "note")
    if isinstance(refused, str) and refused and (usable or explicit) and _needs(refused, build):
        text = (
            f"user {user_name(command.place.user)} may not open {refused}: sudo usermod -aG render,video"
            f" {user_name(command.place.user)}, then log in again or restart the unit{_AFTER}"
        )
        yield FitNote("gpu-nodes-refused", text, "fails" if explicit else "tight", about="gpu")
        return
    if usable or not explicit:
        return
    where = asked.settings["gpu_layers"]
    said = f"{where.source} {where.text}, but"
    step, text = _step(command, build, machine, roots)
    if step == "gpu-unknown":
        yield FitNote(step, f"{said} {text}", "unknown")
    else:
        yield FitNote(step, f"{said} {text}{_AFTER}", "fails", about="gpu")


def _split(settings: Settings, found: Sequence[BuildDevice]) -> Iterator[FitNote]:
    """Errors that end the start whenever a device is visible, even with -ngl 0 (src/llama-model.cpp, src/llama.cpp of b10434)."""
    names = settings.devices or tuple(one.name for one in found)
    vulkan = next((name for name in names if name.startswith("Vulkan")), "")
    if settings.split_mode == "row" and vulkan:
        text = f"--split-mode row: llama-server ends with 'device {clean(vulkan)} does not support split buffers'; layer works"
        yield FitNote("split-mode-unsupported", text, "fails")
    if settings.split_mode == "none" and names and not 0 <= settings.main_gpu < len(names):
        said = f"llama-server ends with 'invalid value for main_gpu: {settings.main_gpu} (available devices: {len(names)})'"
        yield FitNote("main-gpu-missing", f"--main-gpu {settings.main_gpu}: {said}; the first is 0", "fails")


def _refused(command: Command, roots: Roots) -> str | Unknown:
    """Device files that its user may not open. For the current user the kernel itself answers, including ACLs."""
    found = usage.refused(roots, command.place.user, command.place.groups)
    if isinstance(found, str) or command.place.user != os.geteuid():
        return found
    return ",".join(
        clean(str(node)) for node in gpu_nodes.amd_nodes(roots) if node.exists() and not os.access(node, os.R_OK | os.W_OK)
    )


def _needs(refused: str, build: Build) -> bool:
    """A Vulkan build does not need /dev/kfd."""
    return "/dev/dri/render" in refused or "hip" in build.backends


def _step(command: Command, build: Build, machine: Machine, roots: Roots) -> tuple[str, str]:
    """The first step from the build to the GPU that is certainly broken."""
    if isinstance(machine.gpus, Unknown):
        return "gpu-unknown", f"which devices the build can use is not known: {machine.gpus.why}"
    hidden = command.requested.hidden_devices
    if hidden:
        return "gpu-hidden", f"{hidden[0]} hides every device from it"
    # For a monolithic build, or one that is not installed here, the files beside it prove nothing.
    if build.is_split and not build.backends:
        return "gpu-not-in-build", "no GPU backend (libggml-hip, -cuda, -vulkan) lies beside this build: it was built for the CPU"
    try:
        found = from_sysfs(roots)
    except SourceFault as error:
        return "gpu-not-found", f"the build finds no device; {error}"
    if not found:
        return "gpu-not-in-machine", "no GPU in this machine (or container)"
    if broken := _amd([gpu for gpu in found if gpu.vendor == "amd"], build, roots):
        return broken
    if not build.backends:
        return "gpu-unknown", "unknown whether this build has a GPU backend: run `llama-server --list-devices`"
    return (
        "gpu-not-found",
        f"the build ({', '.join(sorted(build.backends))}) finds no device, though {found[0].name} is on the bus:"
        " `llama-server --list-devices` and `ldd` on its libggml-*.so show what is missing",
    )


def _amd(gpus: list[PciGpu], build: Build, roots: Roots) -> tuple[str, str] | None:
    """Steps 1 to 4 of ROCm: the module, the GPU's driver, the device files, KFD."""
    if not gpus:
        return None
    try:
        state = read_text(roots.sys / "module/amdgpu/initstate", 64)
    except OSError:
        state = ""
    if state != "live" and not any(gpu.driver for gpu in gpus):
        return "gpu-driver-not-loaded", "the module amdgpu is not loaded: sudo modprobe amdgpu"
    if all(gpu.driver != "amdgpu" for gpu in gpus):
        drivers = ", ".join(gpu.driver or "none" for gpu in gpus)
        return "gpu-not-driven", f"amdgpu runs none of the AMD GPUs (driver: {drivers}): `journalctl -k -b -g amdgpu` says why"
    if not gpu_nodes.render_nodes(roots):
        return "gpu-no-render-node", "/dev/dri has no render node: pass --device /dev/dri into the container"
    if "hip" in build.backends and not (gpu_nodes.kfd_node(roots).exists() and kfd.nodes(roots)):
        return (
            "gpu-no-kfd",
            "/dev/kfd is not there or lists no GPU: ROCm cannot use the GPU; pass --device /dev/kfd into the container",
        )
    return None
