"""Which GPUs there are: judged by PCI ids, as shown by libudev, by sysfs, and by a mocked machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from places import TESTS

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.reading import Event, Reading, Samples
from sentinel.sources.base import NotHere, SourceFault, Streaming
from sentinel.sources.fs import Roots
from sentinel.sources.gpu.hotplug import PciGpu, Udev, from_sysfs, gpu_of, signals

MOCK = TESTS / "fixtures/umockdev/7900xtx.umockdev"


@pytest.mark.parametrize(
    ("what", "pci_class", "vendor", "expected"),
    [
        ("Radeon", 0x030000, 0x1002, "amd"),
        ("Instinct MI210", 0x038000, 0x1002, "amd"),
        ("Instinct MI300X", 0x120000, 0x1002, "amd"),
        ("GeForce", 0x030000, 0x10DE, "nvidia"),
        ("a data centre card", 0x030200, 0x10DE, "nvidia"),
        ("Arc", 0x030000, 0x8086, "intel"),
        ("QEMU's standard VGA", 0x030000, 0x1234, None),
        ("virtio-gpu", 0x038000, 0x1AF4, None),
        ("ASPEED", 0x030000, 0x1A03, None),
        ("Matrox", 0x030000, 0x102B, None),
        ("a Radeon's sound", 0x040300, 0x1002, None),
        ("an Intel bridge", 0x060000, 0x8086, None),
        ("an Intel accelerator that is no GPU", 0x120000, 0x8086, None),
    ],
)
def test_a_gpu_is_known_by_class_and_vendor(what: str, pci_class: int, vendor: int, expected: str | None) -> None:
    gpu = gpu_of("0000:03:00.0", (pci_class, vendor, 0x744C))
    assert (None if gpu is None else gpu.vendor) == expected, what


def tree(root: Path, *devices: tuple[str, str, str]) -> Roots:
    for address, pci_class, vendor in devices:
        folder = root / "bus/pci/devices" / address
        folder.mkdir(parents=True)
        for name, content in (("class", pci_class), ("vendor", vendor), ("device", "0x1")):
            (folder / name).write_text(content + "\n")
    return Roots(sys=root)


def test_sysfs_alone_gives_the_same_counts(tmp_path: Path) -> None:
    roots = tree(
        tmp_path, ("0000:03:00.0", "0x030000", "0x1002"), ("0000:04:00.0", "0x030000", "0x10de"),
        ("0000:00:02.0", "0x030000", "0x1234"), ("0000:00:03.0", "junk", "0x1002"),
    )  # fmt: skip
    driver = tmp_path / "bus/pci/devices/0000:03:00.0/driver"
    driver.symlink_to("../../../../bus/pci/drivers/vfio-pci")
    values = signals(from_sysfs(roots))
    assert values == {
        "host.gpu_count": 2,
        "host.amd_gpu_count": 1,
        "host.nvidia_gpu_count": 1,
        "host.gpu_names": "1002:0001,10de:0001",
        "host.amd_gpu_drivers": "vfio-pci",
    }
    assert values.keys() <= CATALOGUE.keys()


def test_a_machine_without_pci_has_no_gpu_and_that_is_known(tmp_path: Path) -> None:
    assert signals(from_sysfs(Roots(sys=tmp_path)))["host.gpu_count"] == 0


async def first_reading(source: Udev) -> Reading:
    got: asyncio.Queue[Reading] = asyncio.Queue()
    task = asyncio.create_task(source.run(got.put, lambda: 5.0))
    try:
        return await asyncio.wait_for(got.get(), 10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_this_machine_is_described_as_sysfs_has_it() -> None:
    source = Udev()
    assert isinstance(source, Streaming)
    reading = asyncio.run(first_reading(source))
    assert isinstance(reading, Samples)
    assert reading.at == 5.0
    assert reading.values["host.gpu_count"] == len(from_sysfs(Roots()))


@pytest.mark.parametrize(
    ("why", "kind", "said"),
    [
        (ImportError("no udev"), NotHere, "libudev is not installed"),
        (FileNotFoundError(2, "No usable temporary directory found"), SourceFault, "libudev cannot be looked for (No usable"),
    ],
)
def test_without_libudev_it_reports_what_sysfs_shows(
    why: Exception, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is missing for it, the daemon goes on."""

    def context() -> None:
        raise why

    monkeypatch.setattr("pyudev.Context", context)
    readings: list[Reading] = []

    async def put(reading: Reading) -> None:
        readings.append(reading)

    with pytest.raises(kind, match=re.escape(said)):
        asyncio.run(Udev().run(put, lambda: 5.0))
    (samples,) = readings
    assert isinstance(samples, Samples)
    assert samples.values["host.gpu_count"] == len(from_sysfs(Roots()))


class Bus:
    """A pyudev context whose devices a test can take away."""

    def __init__(self, *devices: Any) -> None:
        self.devices = list(devices)

    def list_devices(self, subsystem: str) -> list[Any]:
        return [device for device in self.devices if device.subsystem == subsystem]


def pci(address: str, vendor: str = "0x1002", driver: str | None = "amdgpu") -> Any:
    ids = {"class": "0x030000", "vendor": vendor, "device": "0x744c"}
    attributes = SimpleNamespace(asstring=ids.__getitem__)
    return SimpleNamespace(
        subsystem="pci",
        sys_name=address,
        attributes=attributes,
        driver=driver,
        properties={"ID_MODEL_FROM_DATABASE": "Navi 31, really"},
    )


def test_a_gpu_that_goes_is_an_event_and_new_counts_once() -> None:
    card, source = pci("0000:03:00.0"), Udev()
    bus = Bus(card)
    gpus = source._enumerate(bus)
    bus.devices.clear()
    event, counts = source._changes(bus, gpus, card, 9.0)
    assert isinstance(event, Event)
    assert (event.name, event.entity.name, event.fields) == ("gpu_removed", "0000:03:00.0", {"name": "Navi 31  really"})
    assert isinstance(counts, Samples)
    assert counts.values["host.gpu_count"] == 0
    assert source._changes(bus, gpus, card, 9.1) == []
    bus.devices.append(card)
    event, counts = source._changes(bus, gpus, card, 10.0)
    assert isinstance(event, Event)
    assert event.name == "gpu_added"


def test_a_driver_that_leaves_a_gpu_is_reported_without_an_event() -> None:
    source = Udev()
    gpus = source._enumerate(Bus(pci("0000:03:00.0")))
    unbound = Bus(pci("0000:03:00.0", driver=None))
    (counts,) = source._changes(unbound, gpus, unbound.devices[0], 9.0)
    assert isinstance(counts, Samples)
    assert counts.values["host.amd_gpu_drivers"] == "none"
    assert source._changes(unbound, gpus, unbound.devices[0], 9.1) == []


def test_a_wedged_gpu_is_named_by_its_address() -> None:
    minor = SimpleNamespace(subsystem="drm", properties={"WEDGED": "bus-reset"}, parent=SimpleNamespace(sys_name="0000:03:00.0"))
    (event,) = Udev()._changes(Bus(), {}, minor, 1.0)
    assert isinstance(event, Event)
    assert (event.name, event.entity.name, event.fields) == ("gpu_wedged", "0000:03:00.0", {"recovery": "bus-reset"})


class Forgetful(Udev):
    """Sees at first a GPU that is not there."""

    def _enumerate(self, context: Any) -> dict[str, PciGpu]:
        found = super()._enumerate(context)
        if self._first:
            self._first = False
            return {**found, "0000:99:00.0": PciGpu("0000:99:00.0", "amd", "a card")}
        return found

    _first = True


@pytest.mark.root
def test_a_real_device_event_of_the_kernel_makes_it_look_again() -> None:
    devices = sorted(Path("/sys/bus/pci/devices").glob("*/uevent"))
    if not devices or os.geteuid() != 0 or Path("/run/udev/control").exists():
        pytest.skip("needs root, a PCI device and no udevd")

    async def scenario() -> list[Reading]:
        got: asyncio.Queue[Reading] = asyncio.Queue()
        task = asyncio.create_task(Forgetful().run(got.put, lambda: 7.0))
        try:
            readings = [await asyncio.wait_for(got.get(), 10)]
            devices[0].write_text("change")
            return [*readings, *[await asyncio.wait_for(got.get(), 10) for _ in range(2)]]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    before, event, after = asyncio.run(scenario())
    assert isinstance(before, Samples)
    assert isinstance(event, Event)
    assert isinstance(after, Samples)
    assert (event.name, event.entity.name) == ("gpu_removed", "0000:99:00.0")
    assert before.values["host.gpu_count"] == int(after.values["host.gpu_count"]) + 1  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed")
def test_a_mocked_machine_with_a_7900_xtx_is_seen_through_libudev() -> None:
    program = "import pyudev; from sentinel.sources.gpu.hotplug import Udev; print(*Udev()._enumerate(pyudev.Context()).values())"
    shown = subprocess.run(
        ["umockdev-run", "--device", str(MOCK), "--", sys.executable, "-c", program],
        check=True, capture_output=True, text=True, timeout=60, cwd=MOCK.parents[3],
    )  # fmt: skip
    assert "address='0000:03:00.0'" in shown.stdout
    assert "0000:00:02.0" not in shown.stdout


@pytest.mark.skipif(shutil.which("umockdev-wrapper") is None, reason="umockdev is not installed")
def test_events_of_a_mocked_gpu_come_through_libudev_in_order_and_a_monitor_that_is_plugged_in_is_none() -> None:
    support = MOCK.parents[2] / "support"
    shown = subprocess.run(
        ["umockdev-wrapper", sys.executable, str(support / "umock.py"), str(MOCK)],
        check=True, capture_output=True, text=True, timeout=60, cwd=MOCK.parents[3],
        env={**os.environ, "PYTHONPATH": str(MOCK.parents[3])},
    )  # fmt: skip
    assert shown.stdout.splitlines() == [
        "gpus 1",
        "gpu_wedged 0000:03:00.0 {'recovery': 'rebind,bus-reset'}",
        "gpu_wedged 0000:03:00.0 {'recovery': 'none'}",
        "gpu_removed 0000:03:00.0 {'name': '1002:744c'}",
        "gpus 0",
    ]
