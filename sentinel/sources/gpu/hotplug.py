"""The machine's GPUs, and GPUs that appear and vanish: libudev, or sysfs alone if libudev cannot be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyudev

from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.reading import Event, Reading, Samples
from sentinel.model.text import clean
from sentinel.sources.base import NotHere, Put, SourceFault
from sentinel.sources.fs import Roots, link, read_text

#: Vendors whose display devices can compute. Virtual and server-management adapters (QEMU 0x1234, virtio 0x1af4,
#: ASPEED 0x1a03, Matrox 0x102b) only display.
_VENDORS = {0x1002: "amd", 0x10DE: "nvidia", 0x8086: "intel"}
#: PCI base class 3 is a display controller; Instinct GPUs from MI300 on are processing accelerators (0x1200)
_DISPLAY, _ACCELERATOR = 0x03, 0x1200
#: files of a PCI device in sysfs
_IDS = ("class", "vendor", "device")


@dataclass(frozen=True, slots=True)
class PciGpu:
    """A GPU on the PCI bus: address (``0000:03:00.0``), vendor (amd, nvidia, intel), name or PCI id, driver."""

    address: str
    vendor: str
    name: str
    #: kernel driver bound to it, empty when none is
    driver: str = ""


def gpu_of(address: str, ids: tuple[int, int, int], name: str = "", driver: str = "") -> PciGpu | None:
    """Classify a PCI device by class (24 bits), vendor and device, as in sysfs; None unless it is a GPU that can compute."""
    pci_class, vendor, device = ids
    maker = _VENDORS.get(vendor)
    if maker is None:
        return None
    accelerator = pci_class >> 8 == _ACCELERATOR and maker == "amd"
    if pci_class >> 16 != _DISPLAY and not accelerator:
        return None
    # names in the hardware database contain commas; the list of names is comma separated
    return PciGpu(address.lower(), maker, clean(name).replace(",", " ") or f"{vendor:04x}:{device:04x}", clean(driver))


def signals(gpus: Iterable[PciGpu]) -> dict[str, Value]:
    """Signals of the host about its GPUs."""
    found = sorted(gpus, key=lambda gpu: gpu.address)
    return {
        "host.gpu_count": len(found),
        "host.amd_gpu_count": sum(gpu.vendor == "amd" for gpu in found),
        "host.nvidia_gpu_count": sum(gpu.vendor == "nvidia" for gpu in found),
        "host.gpu_names": ",".join(gpu.name for gpu in found),
        "host.amd_gpu_drivers": ",".join(gpu.driver or "none" for gpu in found if gpu.vendor == "amd"),
    }


def from_sysfs(roots: Roots) -> list[PciGpu]:
    """Enumerate without libudev. Raises SourceFault if the PCI bus cannot be listed."""
    bus = roots.sys / "bus/pci/devices"
    try:
        addresses = sorted(path.name for path in bus.iterdir())
    except FileNotFoundError:
        # a machine without PCI (many ARM boards) has no such GPU
        return []
    except OSError as error:
        raise SourceFault(f"{bus} cannot be listed ({error.strerror}): the GPUs of this machine are not known") from None
    found = []
    for address in addresses:
        try:
            pci_class, vendor, device = (int(read_text(bus / address / name, 64), 16) for name in _IDS)
        except (OSError, ValueError):
            # removed while the bus was listed
            continue
        gpu = gpu_of(address, (pci_class, vendor, device), driver=_driver(bus / address))
        if gpu is not None:
            found.append(gpu)
    return found


def _driver(device: Path) -> str:
    try:
        return Path(link(device / "driver")).name
    except OSError:
        # no driver is bound
        return ""


class Udev:
    """Streams the host's GPUs at startup and whenever a GPU appears or vanishes, with ``gpu_added``/``gpu_removed``."""

    name = "udev"

    def __init__(self, roots: Roots | None = None) -> None:
        self._roots = Roots() if roots is None else roots

    async def run(self, put: Put, now: Callable[[], float]) -> None:
        """Put readings until cancelled. Without libudev it reports what sysfs shows, and raises NotHere."""
        try:
            context = pyudev.Context()
        except (ImportError, OSError) as error:
            await put(Samples(now(), self.name, HOST, signals(from_sysfs(self._roots))))
            if isinstance(error, ImportError):
                raise NotHere("libudev is not installed: GPUs that come and go are not seen") from None
            # Python asks ldconfig for it, else a compiler, with a temporary file: where the service's user might write neither to
            # /dev/null nor to a temporary folder, the daemon ended with a traceback.
            raise SourceFault(f"libudev cannot be looked for ({error.strerror}): GPUs that come and go are not seen") from None
        gpus = self._enumerate(context)
        try:
            monitor = _monitor(context, self._roots)
        except OSError as error:
            await put(Samples(now(), self.name, HOST, signals(gpus.values())))
            raise SourceFault(f"no netlink socket for device events ({error.strerror}): GPUs that go are not seen") from None
        await put(Samples(now(), self.name, HOST, signals(gpus.values())))
        ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(monitor.fileno(), ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                while (device := monitor.poll(timeout=0)) is not None:
                    for reading in self._changes(context, gpus, device, now()):
                        await put(reading)
        finally:
            loop.remove_reader(monitor.fileno())

    def _enumerate(self, context: Any) -> dict[str, PciGpu]:
        found = (_gpu(device) for device in context.list_devices(subsystem="pci"))
        return {gpu.address: gpu for gpu in found if gpu is not None}

    def _changes(self, context: Any, gpus: dict[str, PciGpu], device: Any, at: float) -> list[Reading]:
        """Readings for one device event; updates `gpus`. The bus is authoritative, the event only a hint."""
        if device.subsystem == "drm" and "WEDGED" in device.properties and device.parent is not None:
            # kernel 6.15: amdgpu sends it after a reset; none means recovered (drm-uapi.rst, device wedging)
            wedged = clean(str(device.properties["WEDGED"]))
            entity = Entity("gpu", clean(device.parent.sys_name).lower())
            return [Event(at, "gpu_wedged", entity, {"recovery": wedged}, self.name, f"WEDGED={wedged}")]
        if device.subsystem != "pci":
            return []
        fresh = self._enumerate(context)
        changes: list[Reading] = [
            Event(at, "gpu_removed", Entity("gpu", gpu.address), {"name": gpu.name}, self.name, f"remove {gpu.address}")
            for gpu in gpus.values()
            if gpu.address not in fresh
        ]
        changes += [
            Event(at, "gpu_added", Entity("gpu", gpu.address), {"name": gpu.name}, self.name, f"add {gpu.address}")
            for gpu in fresh.values()
            if gpu.address not in gpus
        ]
        if changes or fresh != gpus:
            # binding or unbinding a driver changes the GPU too
            gpus.clear()
            gpus.update(fresh)
            changes.append(Samples(at, self.name, HOST, signals(fresh.values())))
        return changes


def _monitor(context: Any, roots: Roots) -> Any:
    """Events forwarded by udevd; the kernel's own if udevd does not run."""
    source = "udev" if (roots.proc.parent / "run/udev/control").exists() else "kernel"
    monitor = pyudev.Monitor.from_netlink(context, source=source)
    monitor.filter_by("pci")
    monitor.filter_by("drm")
    monitor.start()
    return monitor


def _gpu(device: Any) -> PciGpu | None:
    try:
        pci_class, vendor, number = (int(device.attributes.asstring(name), 16) for name in _IDS)
    except (KeyError, ValueError, UnicodeDecodeError):
        return None
    return gpu_of(
        device.sys_name, (pci_class, vendor, number), device.properties.get("ID_MODEL_FROM_DATABASE", ""), device.driver or ""
    )
