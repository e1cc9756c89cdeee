"""AMD GPUs through sysfs: recorded trees, a composed one, and a driver that refuses."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from pathlib import Path

import pytest
from places import TESTS

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Samples
from sentinel.sources import fs
from sentinel.sources.base import NotHere, Polled
from sentinel.sources.fs import Roots
from sentinel.sources.gpu import amdgpu, gpu_metrics
from sentinel.sources.gpu.amdgpu import AmdGpus, amd_gpus
from sentinel.sources.gpu.kfd import gfx_versions

SYS = TESTS / "fixtures/sys"


def read(roots: Roots) -> dict[str, Value | Unknown]:
    _, reading = AmdGpus(roots).poll(1.0)
    assert isinstance(reading, Samples)
    return dict(reading.values)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The composed tree, to be changed by a test."""
    return Path(shutil.copytree(SYS, tmp_path / "sys"))


def device(tree: Path) -> Path:
    return tree / "class/drm/card1/device"


def test_a_discrete_gpu_is_read_in_the_units_of_the_catalogue() -> None:
    source = AmdGpus(Roots(sys=SYS))
    assert isinstance(source, Polled)
    of_host, reading = source.poll(1.0)
    assert isinstance(of_host, Samples)
    assert of_host.values == {"host.kfd_gpu_count": 1}
    assert isinstance(reading, Samples)
    assert str(reading.entity) == "gpu:0000:03:00.0"
    values = dict(reading.values)
    not_asked = values.pop("gpu.thermal_limits")
    assert isinstance(not_asked, Unknown)
    assert "within 15 degrees" in not_asked.why
    assert values == {
        "gpu.vendor": "amd",
        "gpu.name": "1002:744c",
        "gpu.is_apu": False,
        "gpu.runtime_status": "active",
        "gpu.vram_total_bytes": 25753026560,
        "gpu.vram_used_bytes": 28282880,
        "gpu.gtt_total_bytes": 67000000512,
        "gpu.gtt_used_bytes": 14680064,
        "gpu.busy_percent": 3.0,
        "gpu.power_watts": 17.0,
        "gpu.sclk_hertz": 132000000.0,
        "gpu.temp_edge_celsius": 38.0,
        "gpu.temp_junction_celsius": 42.0,
        "gpu.temp_memory_celsius": 46.0,
        "gpu.gfx_version": "gfx1100",
        "gpu.mclk_hertz": 96000000.0,
        "gpu.power_limit_watts": 355.0,
        "gpu.limit_edge_celsius": 100.0,
        "gpu.limit_junction_celsius": 110.0,
        "gpu.limit_memory_celsius": 108.0,
        "gpu.link_speed_gts": 16.0,
        "gpu.link_width": 16,
        "gpu.link_max_speed_gts": 16.0,
        "gpu.link_max_width": 16,
    }
    types = {"flag": bool, "int": int, "float": float, "text": str}
    for name, value in values.items():
        assert type(value) is types[CATALOGUE[name].type], name


def test_a_suspended_gpu_is_not_woken(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (device(tree) / "power/runtime_status").write_text("suspended\n")
    opened: list[str] = []
    real = fs.read_text

    def watch(path: Path, limit: int = 64) -> str:
        opened.append(Path(path).name)
        return real(path, limit)

    monkeypatch.setattr(amdgpu, "read_text", watch)
    values = read(Roots(sys=tree))
    assert values["gpu.runtime_status"] == "suspended"
    assert isinstance(values["gpu.vram_used_bytes"], Unknown)
    assert isinstance(values["gpu.power_watts"], Unknown)
    assert not {"gpu_busy_percent", "power1_average", "temp1_input", "mem_info_vram_used"} & set(opened)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY, errno.EIO, errno.ENODEV, errno.ENOENT])
def test_a_read_that_fails_is_unknown_with_a_sentence_and_never_zero(
    tree: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = fs.read_text

    def fail(path: Path, limit: int = 64) -> str:
        if Path(path).name in ("gpu_busy_percent", "mem_info_vram_used", "power1_average", "power1_input"):
            raise OSError(number, os.strerror(number))
        return real(path, limit)

    monkeypatch.setattr(amdgpu, "read_text", fail)
    values = read(Roots(sys=tree))
    for name in ("gpu.busy_percent", "gpu.vram_used_bytes", "gpu.power_watts"):
        value = values[name]
        assert isinstance(value, Unknown)
        assert "cannot be read" in value.why
    assert values["gpu.vram_total_bytes"] == 25753026560


@pytest.mark.parametrize("content", ["", "N/A", "0x10"])
def test_a_file_without_a_number_is_unknown(tree: Path, content: str) -> None:
    (device(tree) / "mem_info_vram_used").write_text(content)
    assert isinstance(read(Roots(sys=tree))["gpu.vram_used_bytes"], Unknown)


def test_a_zero_load_is_not_believed_of_a_gpu_whose_memory_cannot_be_read(tree: Path) -> None:
    (device(tree) / "gpu_busy_percent").write_text("0\n")
    (device(tree) / "mem_info_vram_total").unlink()
    assert isinstance(read(Roots(sys=tree))["gpu.busy_percent"], Unknown)


def metrics(status: int, form: int = 1, content: int = 3, size: int = 120) -> bytes:
    """struct gpu_metrics_v1_3 with nothing in it but header and indep_throttle_status."""
    return struct.pack("<HBB", size, form, content).ljust(112, b"\0") + struct.pack("<Q", status)


@pytest.mark.parametrize(
    ("what", "table", "expected"),
    [
        ("nothing in force", metrics(0), ""),
        ("power and current limits are normal operation", metrics(1 << 0 | 1 << 16 | 1 << 23 | 1 << 57), ""),
        ("the hottest spot and the memory", metrics(1 << 36 | 1 << 34), "memory,hotspot"),
        ("both regulators of the memory are one spot", metrics(1 << 40 | 1 << 41), "vr-memory"),
        ("never filled in", metrics((1 << 64) - 1), None),
        ("an APU's layout", metrics(1 << 36, form=2, content=4), None),
        ("an Instinct's layout", metrics(1 << 36, content=5), None),
        ("cut off", metrics(1 << 36)[:100], None),
        ("too small by its own word", metrics(1 << 36, size=104), None),
        ("empty", b"", None),
    ],
)
def test_limits_in_force_are_read_from_the_one_layout_that_has_them(what: str, table: bytes, expected: str | None) -> None:
    found = gpu_metrics.parse(table)
    assert (None if isinstance(found, Unknown) else found) == expected, what


def test_the_firmwares_table_is_read_only_when_a_sensor_is_near_its_limit(tree: Path) -> None:
    (device(tree) / "gpu_metrics").write_bytes(metrics(1 << 36))
    assert isinstance(read(Roots(sys=tree))["gpu.thermal_limits"], Unknown)
    (device(tree) / "hwmon/hwmon4/temp2_input").write_text("97000\n")
    assert read(Roots(sys=tree))["gpu.thermal_limits"] == "hotspot"


def test_a_link_of_a_gpu_that_sleeps_has_no_speed(tree: Path) -> None:
    (device(tree) / "current_link_speed").write_text("Unknown\n")
    assert isinstance(read(Roots(sys=tree))["gpu.link_speed_gts"], Unknown)


def test_without_an_average_the_momentary_power_is_taken(tree: Path) -> None:
    (device(tree) / "hwmon/hwmon4/power1_average").rename(device(tree) / "hwmon/hwmon4/power1_input")
    assert read(Roots(sys=tree))["gpu.power_watts"] == 17.0


def test_no_gpu_is_not_a_fault(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="amdgpu"):
        AmdGpus(Roots(sys=tmp_path)).poll(0.0)


def test_connectors_and_other_drivers_are_no_gpus(tree: Path) -> None:
    (tree / "class/drm/card1-HDMI-A-1").mkdir()
    other = tree / "class/drm/card0/device"
    other.mkdir(parents=True)
    (other / "uevent").write_text("DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n")
    assert [card.address for card in amd_gpus(Roots(sys=tree))] == ["0000:03:00.0"]


@pytest.mark.parametrize(
    ("version", "name"),
    [(110000, "gfx1100"), (90010, "gfx90a"), (90402, "gfx942"), (110501, "gfx1151"), (100303, "gfx1033"), (120001, "gfx1201")],
)
def test_the_gfx_version_is_decoded_with_its_stepping_in_hex(tree: Path, version: int, name: str) -> None:
    node = tree / "class/kfd/kfd/topology/nodes/1/properties"
    node.write_text(f"gfx_target_version {version}\nlocation_id 768\ndomain 0\n")
    assert gfx_versions(Roots(sys=tree)) == {"0000:03:00.0": name}


@pytest.mark.corpus
def test_the_recorded_whole_host_is_read(corpus: Path) -> None:
    values = read(Roots(sys=corpus / "gpu/sysfs-7900xtx/composed-host/sys"))
    assert values["gpu.vram_total_bytes"] == 25753026560
    assert values["gpu.gfx_version"] == "gfx1100"
    # the recording has neither the limits of the link nor gpu_metrics
    unknown = {name for name, value in values.items() if isinstance(value, Unknown)}
    assert unknown <= {"gpu.thermal_limits", "gpu.link_max_speed_gts", "gpu.link_max_width"}


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("folder", "card", "apu"),
    [("sysfs-7900xtx/lact-6900xt/card0", "0000:", False), ("sysfs-apu-phoenix/card1", "0000:64:00.0", True)],
)
def test_recorded_gpus_are_read(corpus: Path, tmp_path: Path, folder: str, card: str, apu: bool) -> None:
    (tmp_path / "class/drm").mkdir(parents=True)
    (tmp_path / "class/drm/card0").symlink_to(corpus / "gpu" / folder)
    _, reading = AmdGpus(Roots(sys=tmp_path)).poll(0.0)
    assert isinstance(reading, Samples)
    assert reading.entity.name.startswith(card)
    assert reading.values["gpu.is_apu"] is apu
    for name in ("gpu.vram_used_bytes", "gpu.gtt_used_bytes", "gpu.busy_percent", "gpu.power_watts", "gpu.temp_edge_celsius"):
        assert isinstance(reading.values[name], (int, float)), name
    assert isinstance(reading.values["gpu.temp_junction_celsius"], Unknown) is apu
