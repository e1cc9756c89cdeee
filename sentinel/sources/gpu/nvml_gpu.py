"""One NVIDIA GPU through NVML: values are read one by one, because each can fail alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentinel.model.entity import Unknown, Value
from sentinel.model.text import clean
from sentinel.sources.gpu.hotplug import PciGpu

#: nvmlClocksEventReasons (nvml.h): only the temperatures; power caps and idle clocks are normal operation
_THERMAL = {0x20: "software", 0x40: "hardware"}
#: errors after which NVML must be initialised again: uninitialized, driver not loaded, lost, reset required, versions differ
LOST = (1, 9, 15, 16, 18)
_MEASURED = (
    "gpu.vram_total_bytes", "gpu.vram_used_bytes", "gpu.busy_percent", "gpu.power_watts", "gpu.power_limit_watts",
    "gpu.temp_edge_celsius", "gpu.sclk_hertz", "gpu.mclk_hertz", "gpu.link_width", "gpu.thermal_limits",
)  # fmt: skip
_MEANINGS = {
    3: "this GPU or driver does not offer it",
    4: "permission denied",
    15: "the GPU is lost: it has fallen off the bus",
    16: "the GPU needs a reset",
    17: "the operating system blocked the request",
    18: "the driver's kernel module and its libraries are of different versions",
}


@dataclass(slots=True)
class Holding:
    """What one process holds on NVIDIA GPUs: bytes (None: not reported by the driver), and the GPUs' addresses."""

    bytes: int | None
    gpus: tuple[str, ...]


def read_gpu(nvml: Any, gpu: PciGpu, held: dict[int, Holding]) -> tuple[dict[str, Value | Unknown], int]:
    """Signals of the GPU and the most severe NVML error (0: none); adds what processes hold on it to `held`."""
    codes: list[int] = []

    def ask(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except nvml.NVMLError as error:
            code = int(getattr(error, "value", 0))
            codes.append(code)
            return Unknown(f"NVML: {_MEANINGS.get(code) or clean(str(error))[:120]}")
        except (AttributeError, TypeError) as error:
            # an older nvidia-ml-py lacks the call
            return Unknown(f"this version of nvidia-ml-py does not offer it ({clean(str(error))[:80]})")

    values: dict[str, Value | Unknown] = {"gpu.vendor": "nvidia", "gpu.is_apu": False, "gpu.runtime_status": "active"}
    handle = ask(lambda: nvml.nvmlDeviceGetHandleByPciBusId(gpu.address.encode()))
    values["gpu.name"] = gpu.name
    if isinstance(handle, Unknown):
        return values | dict.fromkeys(_MEASURED, handle), max(codes, default=0)
    name = ask(lambda: nvml.nvmlDeviceGetName(handle))
    if not isinstance(name, Unknown):
        values["gpu.name"] = clean(name if isinstance(name, str) else name.decode("utf-8", "replace"))
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    values["gpu.vram_total_bytes"] = memory if isinstance(memory, Unknown) else int(memory.total)
    values["gpu.vram_used_bytes"] = memory if isinstance(memory, Unknown) else int(memory.used)
    load = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    values["gpu.busy_percent"] = load if isinstance(load, Unknown) else float(load.gpu)
    for signal, scale, call in (
        ("gpu.power_watts", 1e-3, lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
        ("gpu.power_limit_watts", 1e-3, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
        ("gpu.temp_edge_celsius", 1.0, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        ("gpu.sclk_hertz", 1e6, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        ("gpu.mclk_hertz", 1e6, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
    ):
        number = ask(call)
        values[signal] = number if isinstance(number, Unknown) else round(number * scale, 3)
    width = ask(lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle))
    values["gpu.link_width"] = width if isinstance(width, Unknown) else int(width)
    reasons = ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    if isinstance(reasons, Unknown):
        # its name until nvidia-ml-py 12.535
        reasons = ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    if not isinstance(reasons, Unknown):
        reasons = ",".join(word for bit, word in _THERMAL.items() if reasons & bit)
    values["gpu.thermal_limits"] = reasons
    # one process may be on both lists, with the same figure
    processes: dict[int, int | None] = {}
    for call in (
        lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle),
        lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
    ):
        found = ask(call)
        if not isinstance(found, Unknown):
            processes |= {int(process.pid): process.usedGpuMemory for process in found}
    for pid, used in processes.items():
        before = held.get(pid, Holding(0, ()))
        total = None if used is None or before.bytes is None else before.bytes + int(used)
        held[pid] = Holding(total, (*before.gpus, gpu.address))
    return values, max((code for code in codes if code in LOST), default=0)
