"""NVIDIA GPUs through NVML, the driver's library, using nvidia-ml-py (extra ``nvidia``), imported only if a driver is loaded.

NVML wakes a suspended GPU and keeps it awake while it is initialised. So a suspended GPU is never queried, and without a
llama-server NVML is shut down after each poll, of which there is then one a minute.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.model.text import clean
from sentinel.sources.base import NotHere, SourceFault
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.gpu.hotplug import PciGpu, from_sysfs
from sentinel.sources.gpu.nvml_gpu import LOST, Holding, read_gpu

_IDLE_PAUSE = 60.0
#: by nvmlReturn_t (nvml.h)
_FAULTS = {
    4: "NVML refuses: permission denied; the user needs access to /dev/nvidia*",
    9: "the NVIDIA driver is not loaded: sudo modprobe nvidia",
    12: "libnvidia-ml.so.1 is not installed: install the driver's libraries of the version of the kernel module",
    18: "the driver's kernel module and its libraries differ in version, as after an update: reboot, or reload the module",
}


class Nvml:
    """Polled; Samples of each NVIDIA GPU, and whether the driver works on this host."""

    name = "nvml"
    interval = 5.0
    blocking = True

    def __init__(self, servers: Callable[[], Sequence[object]], roots: Roots | None = None) -> None:
        self._servers = servers
        self._roots = Roots() if roots is None else roots
        self._library: Any = None
        self._last: float | None = None
        self._held: dict[int, Holding] = {}

    def held_by(self, pid: int) -> Holding | None:
        """What a process holds on NVIDIA GPUs as last read; None if NVML does not list it. Any thread."""
        return self._held.get(pid)

    def poll(self, at: float) -> Sequence[Reading]:
        """Raises NotHere without a driver or the library's binding, SourceFault when NVML does not work."""
        if not (self._roots.proc / "driver/nvidia/version").exists() and not (self._roots.dev / "nvidiactl").exists():
            raise NotHere("no NVIDIA driver is loaded")
        busy = bool(self._servers())
        if not busy and self._last is not None and at - self._last < _IDLE_PAUSE:
            return []
        self._last = at
        gpus = [gpu for gpu in from_sysfs(self._roots) if gpu.vendor == "nvidia"]
        awake = [gpu for gpu in gpus if not self._sleeps(gpu)]
        readings: list[Reading] = [Samples(at, self.name, Entity("gpu", c.address), _asleep(c)) for c in gpus if c not in awake]
        if not awake:
            self._let_go()
            return readings
        nvml = self._begin(at)
        if isinstance(nvml, str):
            self._held = {}
            return [*readings, Samples(at, self.name, HOST, {"host.nvml_fault": nvml})]
        held: dict[int, Holding] = {}
        again = False
        for gpu in awake:
            values, code = read_gpu(nvml, gpu, held)
            again = again or code in LOST
            readings.append(Samples(at, self.name, Entity("gpu", gpu.address), values))
        self._held = held
        if again or not busy:
            self._let_go()
        return [*readings, Samples(at, self.name, HOST, {"host.nvml_fault": ""})]

    def _sleeps(self, gpu: PciGpu) -> bool:
        try:
            state = read_text(self._roots.sys / "bus/pci/devices" / gpu.address / "power/runtime_status", 64)
        except OSError:
            # a kernel without runtime power management
            return False
        return state in ("suspended", "suspending")

    def _begin(self, at: float) -> Any:
        """NVML, initialised; a sentence if the driver does not work. Raises NotHere, SourceFault."""
        if self._library is not None:
            return self._library
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            raise NotHere(
                "nvidia-ml-py, by which sentinel reads NVIDIA GPUs, is not installed: `sentinel doctor` says how to add it"
            ) from None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            code = getattr(error, "value", 0)
            why = _FAULTS.get(code, f"NVML does not start: {clean(str(error))[:200]}")
            if code in (9, 18):
                # programs on the GPU will fail the same way
                return why
            raise SourceFault(why) from None
        self._library = nvml
        return nvml

    def _let_go(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            try:
                library.nvmlShutdown()
            except library.NVMLError:
                # the GPU is gone: there is nothing left to shut down
                return


def _asleep(gpu: PciGpu) -> dict[str, Value | Unknown]:
    return {"gpu.vendor": "nvidia", "gpu.name": gpu.name, "gpu.is_apu": False, "gpu.runtime_status": "suspended"}
