"""umockdev's test bed through ctypes: GPUs that come, go and get wedged as libudev sees it. Run below ``umockdev-wrapper``."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from pathlib import Path

from sentinel.model.reading import Event, Reading, Samples
from sentinel.sources.gpu.hotplug import Udev

#: below /sys in the recording
CARD = "/devices/pci0000:00/0000:00:01.1/0000:03:00.0"


class TestBed:
    """A machine made of a recording (libumockdev.so.0, umockdev-testbed.vala)."""

    def __init__(self, recording: Path) -> None:
        self._library = ctypes.CDLL("libumockdev.so.0")
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._bed = ctypes.c_void_p(self._library.umockdev_testbed_new())
        if not self._library.umockdev_testbed_add_from_file(self._bed, str(recording).encode(), None):
            raise RuntimeError(f"umockdev does not take {recording}")

    def change(self, device: str, **properties: str) -> None:
        """A change event with these properties."""
        for name, value in properties.items():
            self._library.umockdev_testbed_set_property(self._bed, f"/sys{device}".encode(), name.encode(), value.encode())
        self._library.umockdev_testbed_uevent(self._bed, f"/sys{device}".encode(), b"change")

    def remove(self, device: str) -> None:
        """The device goes, with its event."""
        self._library.umockdev_testbed_uevent(self._bed, f"/sys{device}".encode(), b"remove")
        self._library.umockdev_testbed_remove_device(self._bed, f"/sys{device}".encode())


async def story(recording: Path) -> None:
    """Print what Udev tells of a GPU that gets wedged, recovers, is hot-plugged a monitor, and goes."""
    bed = TestBed(recording)
    got: asyncio.Queue[Reading] = asyncio.Queue()
    task = asyncio.create_task(Udev().run(got.put, lambda: 1.0))

    async def told() -> None:
        reading = await asyncio.wait_for(got.get(), 20)
        if isinstance(reading, Event):
            print(reading.name, reading.entity.name, dict(reading.fields))
        elif isinstance(reading, Samples):
            print("gpus", reading.values["host.gpu_count"])

    await told()
    bed.change(f"{CARD}/drm/card0", HOTPLUG="1")
    bed.change(f"{CARD}/drm/card0", WEDGED="rebind,bus-reset")
    await told()
    bed.change(f"{CARD}/drm/card0", WEDGED="none")
    await told()
    bed.remove(f"{CARD}/drm/card0")
    bed.remove(CARD)
    # the test bed sends the event while the device is still listed; any event of the bus makes Udev look again
    bed.change("/devices/pci0000:00/0000:00:02.0")
    await told()
    await told()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(story(Path(sys.argv[1])))
