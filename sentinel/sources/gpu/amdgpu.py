"""AMD GPUs through sysfs: memory, load, power, temperatures, clock, by PCI address. No library, no subprocess.

Reads can fail exactly when they matter: EPERM in a reset or while suspended, EBUSY, EIO, ENODEV once the GPU is gone
(amdgpu_pm.c). Each of these is Unknown with a reason, never 0. A suspended GPU is not woken.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.model.text import clean
from sentinel.sources.base import NotHere
from sentinel.sources.fs import Roots, read_text, reason, unread
from sentinel.sources.gpu.gpu_metrics import thermal_limits
from sentinel.sources.gpu.kfd import gfx_versions

_CARD = re.compile(r"card\d+\Z")
#: file below the device -> signal
_FILES = {
    "mem_info_vram_total": "gpu.vram_total_bytes",
    "mem_info_vram_used": "gpu.vram_used_bytes",
    "mem_info_gtt_total": "gpu.gtt_total_bytes",
    "mem_info_gtt_used": "gpu.gtt_used_bytes",
}
_TEMPERATURES = {
    "edge": "gpu.temp_edge_celsius",
    "junction": "gpu.temp_junction_celsius",
    "mem": "gpu.temp_memory_celsius",
}
_LIMITS = {
    "edge": "gpu.limit_edge_celsius",
    "junction": "gpu.limit_junction_celsius",
    "mem": "gpu.limit_memory_celsius",
}
_CLOCKS = {"sclk": "gpu.sclk_hertz", "mclk": "gpu.mclk_hertz"}
#: of the GPU's PCI link: files of the PCI core, which wake nothing
_LINK = {
    "current_link_speed": "gpu.link_speed_gts",
    "current_link_width": "gpu.link_width",
    "max_link_speed": "gpu.link_max_speed_gts",
    "max_link_width": "gpu.link_max_width",
}
_SENSORS = ("gpu.power_watts", "gpu.power_limit_watts", *_CLOCKS.values(), *_TEMPERATURES.values(), *_LIMITS.values())
_MEASURED = (*_FILES.values(), "gpu.busy_percent", "gpu.thermal_limits", *_LINK.values(), *_SENSORS)
#: Within this many degrees of a limit it is worth querying the firmware for active limits.
_NEAR = 15.0
_ERRORS = {
    errno.EPERM: "the driver refuses: the GPU is in reset, suspended or not active",
    errno.EBUSY: "the driver is busy with a reset or a change of power state",
    errno.EIO: "the GPU's firmware did not answer",
    errno.ENODEV: "the GPU is gone",
    errno.ETIME: "the GPU's firmware did not answer in time",
    errno.EOPNOTSUPP: "this GPU does not offer it",
    errno.EINVAL: "this GPU does not offer it",
}


@dataclass(frozen=True, slots=True)
class AmdDevice:
    """A GPU of amdgpu: its PCI address and its folder below /sys/class/drm/cardN."""

    address: str
    device: Path
    pci_id: str


def amd_gpus(roots: Roots) -> list[AmdDevice]:
    """GPUs bound to the amdgpu driver, in the order of their PCI addresses."""
    found = {}
    for card in (roots.sys / "class/drm").glob("card*"):
        if _CARD.match(card.name) is None:
            # a connector: card0-HDMI-A-1
            continue
        try:
            pairs = dict(line.split("=", 1) for line in read_text(card / "device/uevent").splitlines() if "=" in line)
        except OSError:
            # unplugged while the folder was listed
            continue
        address = clean(pairs.get("PCI_SLOT_NAME", "")).lower()
        if pairs.get("DRIVER") == "amdgpu" and address:
            found[address] = AmdDevice(address, card / "device", clean(pairs.get("PCI_ID", "")).lower())
    return [found[address] for address in sorted(found)]


class AmdGpus:
    """Polled; one Samples reading per GPU, and one for the host."""

    name = "amdgpu"
    interval = 2.0
    blocking = True

    def __init__(self, roots: Roots | None = None) -> None:
        self._roots = Roots() if roots is None else roots

    def poll(self, at: float) -> Sequence[Reading]:
        """Raises NotHere when amdgpu runs no GPU."""
        gpus = amd_gpus(self._roots)
        if not gpus:
            raise NotHere("no GPU is run by the amdgpu driver")
        versions = gfx_versions(self._roots)
        readings: list[Reading] = [Samples(at, self.name, HOST, {"host.kfd_gpu_count": len(versions)})]
        for gpu in gpus:
            values = read_gpu(gpu)
            values["gpu.gfx_version"] = versions.get(gpu.address, Unknown("KFD does not list the GPU: ROCm cannot use it"))
            readings.append(Samples(at, self.name, Entity("gpu", gpu.address), values))
        return readings


def read_gpu(gpu: AmdDevice) -> dict[str, Value | Unknown]:
    """Signals of one GPU, except ``gpu.gfx_version``, which comes from KFD."""
    sensors = hwmon(gpu.device)
    values: dict[str, Value | Unknown] = {"gpu.vendor": "amd", "gpu.name": _name(gpu), "gpu.is_apu": is_apu(sensors)}
    try:
        state = read_text(gpu.device / "power/runtime_status", 64)
    except OSError:
        # a kernel without runtime power management
        state = "active"
    values["gpu.runtime_status"] = clean(state)
    if state in ("suspended", "suspending"):
        # only power/runtime_status can be read without waking the GPU
        return values | dict.fromkeys(_MEASURED, Unknown(f"the GPU is {state} and is not woken for a reading"))
    for name, signal in _FILES.items():
        values[signal] = _number(gpu.device / name)
    values["gpu.busy_percent"] = _float(gpu.device / "gpu_busy_percent", 1.0)
    if isinstance(values["gpu.vram_total_bytes"], Unknown):
        # a zero counts only if the GPU's memory can be read
        values["gpu.busy_percent"] = values["gpu.vram_total_bytes"]
    values |= {signal: _link(gpu.device / name) for name, signal in _LINK.items()}
    values |= _sensors(sensors)
    values["gpu.thermal_limits"] = (
        thermal_limits(gpu.device / "gpu_metrics")
        if _is_hot(values)
        else Unknown(f"no sensor is within {_NEAR:g} degrees of its limit; the firmware's table is read only then")
    )
    return values


def _is_hot(values: Mapping[str, Value | Unknown]) -> bool:
    """Some sensor is near its limit. Reading ``gpu_metrics`` of a cool GPU disturbs it: it may wake idle parts, and for seconds
    the GPU then shows a load that does not exist (github.com/ROCm/rocm-systems/pull/8024)."""
    pairs = [(values[_TEMPERATURES[spot]], values[_LIMITS[spot]]) for spot in _TEMPERATURES]
    return any(isinstance(now, float) and isinstance(limit, float) and now >= limit - _NEAR for now, limit in pairs)


def _link(path: Path) -> float | int | Unknown:
    """Lanes, or gigatransfers a second (``16.0 GT/s PCIe``; ``Unknown`` while the GPU sleeps; drivers/pci/pci-sysfs.c)."""
    try:
        text = read_text(path, 64)
    except OSError as error:
        return unread(path, error)
    number, _, unit = text.partition(" ")
    if unit.startswith("GT/s") and number.replace(".", "", 1).isdigit():
        return float(number)
    return int(number) if number.isdigit() and not unit else Unknown(f"{path} holds {clean(text[:40])!r}")


def _sensors(sensors: Path | Unknown) -> dict[str, Value | Unknown]:
    values: dict[str, Value | Unknown] = dict.fromkeys(
        _SENSORS, sensors if isinstance(sensors, Unknown) else Unknown("this GPU has no such sensor")
    )
    if isinstance(sensors, Unknown):
        return values
    # average on RDNA GPUs, input alone on MI300, both on APUs
    power = _float(sensors / "power1_average", 1e-6)
    values["gpu.power_watts"] = power if not isinstance(power, Unknown) else _float(sensors / "power1_input", 1e-6)
    values["gpu.power_limit_watts"] = _float(sensors / "power1_cap", 1e-6)
    for kind, signals, unit in (("freq", _CLOCKS, 1.0), ("temp", _TEMPERATURES, 1e-3)):
        for number in (1, 2, 3):
            try:
                label = read_text(sensors / f"{kind}{number}_label", 64)
            except OSError:
                continue
            if label in signals:
                values[signals[label]] = _float(sensors / f"{kind}{number}_input", unit)
            if label in _LIMITS:
                values[_LIMITS[label]] = _float(sensors / f"{kind}{number}_crit", unit)
    return values


def hwmon(device: Path) -> Path | Unknown:
    """The sensors' folder; its number changes at each boot."""
    for folder in sorted((device / "hwmon").glob("hwmon*")):
        try:
            if read_text(folder / "name", 64) == "amdgpu":
                return folder
        except OSError:
            continue
    return Unknown(f"{device}/hwmon has no sensors of amdgpu")


def is_apu(sensors: Path | Unknown) -> bool | Unknown:
    """Only APUs report a north bridge voltage (amdgpu_pm.c, hwmon_attributes_visible)."""
    return sensors if isinstance(sensors, Unknown) else (sensors / "in1_label").exists()


def _name(gpu: AmdDevice) -> str:
    try:
        name = read_text(gpu.device / "product_name", 256)
    except OSError:
        name = ""
    return clean(name) or gpu.pci_id or gpu.address


def _number(path: Path) -> int | Unknown:
    try:
        text = read_text(path, 64)
    except OSError as error:
        meaning = _ERRORS.get(error.errno or 0)
        return Unknown(f"{path} cannot be read: {meaning}" if meaning else reason(path, error))
    if not text.lstrip("-").isdigit():
        return Unknown(f"{path} holds {clean(text[:40])!r}, which is no number")
    return int(text)


def _float(path: Path, scale: float) -> float | Unknown:
    number = _number(path)
    return number if isinstance(number, Unknown) else round(number * scale, 3)
