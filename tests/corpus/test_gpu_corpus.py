"""Every file of the corpus of GPUs, and what comes out of it. A file that nobody has looked at fails the last test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Unknown
from sentinel.model.reading import Event, Samples
from sentinel.sources.base import NotHere, SourceFault
from sentinel.sources.fs import Roots
from sentinel.sources.gpu import amd_smi, kfd, usage
from sentinel.sources.gpu.hotplug import Udev
from sentinel.sources.gpu.rocm_smi import parse

pytestmark = pytest.mark.corpus

NOTHING, FAULT = "nothing to show", "no JSON"
FULL = ["busy_percent", "power_watts", "vram_total_bytes", "vram_used_bytes"]
VRAM = ["vram_total_bytes", "vram_used_bytes"]

#: what rocm-smi printed -> signals that are known, by GPU
ROCM_SMI: dict[str, object] = {
    "7900xtx-plus-raphael-igpu-metrics.json": {"0000:03:00.0": FULL, "0000:47:00.0": FULL},
    "7900xtx-plus-raphael-igpu-names.json": {"card0": [], "card1": []},
    "7900xtx-rocm61-cpu-fallback.composed.json": {"card0": FULL},
    "7900xtx-rocm61-llama-loaded.composed.json": {"card0": FULL},
    # low-power warnings before the JSON: the 0 % beside nothing else is no figure
    "7900xtx-stderr-merged-before-json.composed.txt": {"card0": []},
    "apu680m-plus-7900xt-use-mem-temp-power.json": {"card0": FULL, "card1": FULL},
    # on standard output nothing, exit code 0, and the reason on standard error
    "debian-rocm-smi-5.2.3-no-amdgpu.stdout.txt": NOTHING,
    "debian-rocm-smi-5.2.3-no-amdgpu.stderr.txt": FAULT,
    "debian-rocm-smi-5.2.3-no-amdgpu.rc": FAULT,
    "debian-rocm-smi-5.2.3-no-amdgpu-showpids.stdout.txt": NOTHING,
    "debian-rocm-smi-5.2.3-no-amdgpu-showpids.stderr.txt": FAULT,
    "debian-rocm-smi-5.2.3-no-amdgpu-showpids.rc": FAULT,
    "mi100_rocm602.json": {f"0000:{bus}:00.0": FULL for bus in ("83", "a3", "c3", "e3")},
    "mi300x-llama-server-meminfo.json": {"card0": VRAM},
    "mi300x-llama-server-showpids.json": {},
    "no-json-data.stderr.composed.txt": FAULT,
    "phoenix-780m-rocm624-a.composed.json": {"0000:c4:00.0": ["busy_percent", "power_watts"]},
    "rx6600-suspended-a.json": {"0000:0b:00.0": []},
    "rx6700xt_rocm430.json": {"0000:07:00.0": FULL},
    "rx6700xt_rocm571.json": {"0000:07:00.0": FULL},
    "rx6700xt_rocm602.json": {"0000:07:00.0": ["busy_percent", *VRAM]},
    "rx6700xt_rocm612.json": {"0000:07:00.0": FULL},
    # a table for people, which nobody asks for: memory by process is read from KFD
    "showpids-daemon-with-librocmsmi-only.txt": FAULT,
    "showpids-lowpower-warning.txt": FAULT,
    "showpids-none.composed.txt": FAULT,
    "showpids-strixhalo-lib7.8.0.txt": FAULT,
    "vega-10-XT.json": {"0000:04:00.0": FULL},
    "vega-20-WKS-GL-XE.json": {"0000:63:00.0": FULL},
}
#: the same of amd-smi; only `metric` and `list` are asked for
AMD_SMI: dict[str, object] = {
    "gpu_data-shape-30576MB-card-under-load.json": {"card0": FULL},
    "list.composed.json": {"card0": []},
    "metric-usage-NA-block.json": {"card2": []},
    "mi300x-llama-server-metric-mem.json": {"card0": VRAM},
    "mi300x-llama-server-process.json": {"card0": []},
    "monitor-q-rocm6.2.txt": FAULT,
    "process-full.composed.json": {"card0": []},
    "process-name-NA-unprivileged.txt": FAULT,
    "process-none.composed.json": {"card0": []},
    "process-two-rocm6.2.json": {"card0": []},
    "rx6600-metric-list-shape.json": {"card0": FULL},
    "rx6600-static-list-shape.json": {"card0": []},
}
#: fdinfo -> video memory, host memory mapped, moved out (bytes); None: no client of a GPU
FDINFO: dict[str, tuple[int, int, int | None] | None] = {
    "amdgpu-5.14-old-format.composed.txt": (45633536, 2449408, None),
    "amdgpu-6.13-compute-client.txt": (45633536, 2449408, 0),
    "amdgpu-6.13-gfx-client.txt": (557494272, 23068672, 0),
    "amdgpu-evicted-vram.composed.txt": (18253611008, 4726980608, 4294967296),
    "amdgpu-hip-llama.composed.txt": (22546481152, 18874368, 0),
    "amdgpu-vulkan-llama-t0.composed.txt": (22548578304, 432013312, 0),
    "amdgpu-vulkan-llama-t1-plus-1s-93pct.composed.txt": (22548578304, 432013312, 0),
    "kfd-fd.composed.txt": None,
    "not-drm.txt": None,
}
#: kernel log -> events
KERNEL: dict[str, dict[str, int]] = {
    "dev-kmsg-amdgpu-reset.composed.txt": {
        "gpu_ring_timeout": 1, "gpu_hang_process": 1, "gpu_reset_begin": 1, "gpu_vram_lost": 1, "gpu_reset_done": 1,
        "gpu_wedged": 1, "oom_context": 1, "oom_killed": 1,
    },
    # the boot of a machine without a GPU
    "dev-kmsg-records.capture.txt": {},
    "device-lost-repeating.log": {"gpu_reset_failed": 1, "gpu_trouble": 1},
    "gfx1200-ring-resets-then-mode1.journal.log": {
        "gpu_ring_timeout": 2, "gpu_hang_process": 2, "gpu_queue_reset_done": 1, "gpu_wedged": 2, "gpu_page_fault": 1,
        "gpu_reset_begin": 1, "gpu_trouble": 1, "gpu_reset_resuming": 1, "gpu_vram_lost": 1, "gpu_reset_done": 1,
    },
    "hws-hang-5.3-no-device-prefix.log": {"gpu_trouble": 2, "gpu_reset_begin": 1, "gpu_reset_resuming": 1, "gpu_vram_lost": 1},
    # 740 lines a second at each large load, and harmless
    "init-user-pages-benign-storm.composed.dmesg.log": {},
    "kfd-evict-2022.log": {"gpu_trouble": 3},
    # corrected memory errors and a retrained link: no failure of llama-server follows from them, so no rule asks
    "mce-memory.log": {},
    "pcie-aer.log": {},
    "nvidia-xid.log": {"nvidia_xid": 6},
    "old-format-ring-timeout-5.x.dmesg.log": {"gpu_ring_timeout": 3, "gpu_hang_process": 2, "gpu_reset_begin": 1},
    "oom-global-host.journal.log": {"oom_invoked": 1, "oom_context": 1, "oom_killed": 1},
    "oom-global-llama-server.dmesg.log": {"oom_context": 1, "oom_killed": 1, "gpu_memory_refused": 2},
    "oom-memcg-llama-server.composed.dmesg.log": {
        "oom_invoked": 1, "oom_limit": 1, "oom_task": 1, "oom_context": 1, "oom_killed": 1,
    },
    "oom-old-format-pre-5.3.log": {"oom_chosen": 1, "oom_killed": 1},
    "r9700-llama-server-hang.journal.log": {
        "gpu_trouble": 5, "gpu_ring_timeout": 1, "gpu_hang_process": 1, "gpu_reset_begin": 1, "gpu_reset_resuming": 1,
        "gpu_vram_lost": 1,
    },
    "sdma-reset-fails-ret-110.dmesg.log": {"gpu_trouble": 3, "gpu_reset_begin": 1, "gpu_vram_lost": 1, "gpu_reset_failed": 2},
    "strix-kfd-pagefault-mode2.dmesg-T.log": {
        "gpu_page_fault": 1, "gpu_hang_process": 1, "gpu_trouble": 4, "gpu_reset_begin": 2, "gpu_reset_resuming": 1,
        "gpu_vram_lost": 1, "gpu_reset_done": 1, "gpu_wedged": 1,
    },
    "thermal.composed.log": {"gpu_overheated": 2, "gpu_throttled": 1},
}  # fmt: skip
#: udev's record -> events; of a GPU that goes only the bus tells the truth
UEVENT: dict[str, list[tuple[str, str]]] = {
    "amdgpu-wedged-none.composed.udevadm.txt": [("gpu_wedged", "none")],
    "connector-hotplug.composed.udevadm.txt": [],
    "gpu-removed.composed.udevadm.txt": [("gpu_removed", "")],
    "netlink-raw-wedged-none.composed.bin": [("gpu_wedged", "none")],
    "xe-wedged-bus-reset.udevadm.txt": [("gpu_wedged", "bus-reset")],
}
#: Printed for people by tools that sentinel does not run: NVML and KFD tell the same. No line of them may look like a failure.
FOR_PEOPLE = ("nvidia", "rocminfo")
#: Read as trees, each by a test of its own (tests/sources/gpu/test_amdgpu.py, and below).
TREES = ("sysfs-7900xtx", "sysfs-apu-phoenix", "sysfs-mi210-kfd")


def smi(text: str, tool: str) -> object:
    try:
        by_card = parse(text) if tool == "rocm-smi" else amd_smi.metrics(text, {})
    except NotHere:
        return NOTHING
    except SourceFault as fault:
        assert "no JSON" in str(fault)
        return FAULT
    return {
        card: sorted(name.removeprefix("gpu.smi_") for name, value in values.items() if not isinstance(value, Unknown))
        for card, values in by_card.items()
    }


@pytest.mark.parametrize("name", ROCM_SMI)
def test_rocm_smi(corpus: Path, name: str) -> None:
    assert smi((corpus / "gpu/rocm-smi" / name).read_text(), "rocm-smi") == ROCM_SMI[name]


@pytest.mark.parametrize("name", AMD_SMI)
def test_amd_smi(corpus: Path, name: str) -> None:
    assert smi((corpus / "gpu/amd-smi" / name).read_text(), "amd-smi") == AMD_SMI[name]


@pytest.mark.parametrize("name", FDINFO)
def test_fdinfo(corpus: Path, name: str) -> None:
    client = usage.parse_fdinfo((corpus / "gpu/fdinfo" / name).read_text())
    assert (None if client is None else (client.vram, client.gtt, client.evicted)) == FDINFO[name]


@pytest.mark.parametrize("name", KERNEL)
def test_kernel_log(corpus: Path, name: str, ruleset: RuleSet) -> None:
    # one recording was stripped of its stamps and hosts
    data = (corpus / "gpu/kmsg" / name).read_bytes().replace(b"\nkernel: ", b"\n").removeprefix(b"kernel: ")
    assert Counter(match.event.name for match in ruleset.extractors["kernel"].events(data)) == KERNEL[name]


@pytest.mark.parametrize("folder", FOR_PEOPLE)
def test_what_tools_print_for_people_is_taken_for_no_failure(corpus: Path, folder: str, ruleset: RuleSet) -> None:
    for path in sorted((corpus / "gpu" / folder).iterdir()):
        data = path.read_text(encoding="utf-8", errors="replace").encode()
        for kind, extractor in ruleset.extractors.items():
            assert [match.event.name for match in extractor.events(data)] == [], (path.name, kind)


def records(path: Path) -> Iterator[dict[str, str]]:
    """The events of a record: udevadm prints properties a line each, the kernel's netlink message has them NUL apart."""
    if path.suffix == ".bin":
        pieces = [path.read_bytes().decode("utf-8", "replace").split("\0")]
    else:
        pieces = [block.splitlines() for block in re.split(r"\n\s*\n", path.read_text())]
    for lines in pieces:
        found = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z][A-Z_]*=", line))
        if "ACTION" in found:
            yield found


@pytest.mark.parametrize("name", UEVENT)
def test_uevents(corpus: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device as pyudev gives it, made of the record; the bus has the GPU before, and after an event that removes it none."""
    source = Udev()
    card: Any = SimpleNamespace(address="0000:03:00.0", name="a card", vendor="amd", driver="amdgpu")
    told: list[tuple[str, str]] = []
    before = {card.address: card}
    for properties in records(corpus / "gpu/uevent" / name):
        left = {} if properties["ACTION"] == "remove" and properties["SUBSYSTEM"] == "pci" else before
        monkeypatch.setattr(source, "_enumerate", lambda _context, left=left: dict(left))
        monkeypatch.setattr("sentinel.sources.gpu.hotplug.signals", lambda _gpus: {})
        device = SimpleNamespace(
            subsystem=properties["SUBSYSTEM"], properties=properties, parent=SimpleNamespace(sys_name="0000:03:00.0")
        )
        for reading in source._changes(None, before, device, 1.0):
            if isinstance(reading, Event):
                told.append((reading.name, str(reading.fields.get("recovery", ""))))
            else:
                assert isinstance(reading, Samples)
    assert told == UEVENT[name]


def test_kfd_nodes_of_an_instinct_and_of_a_processor(corpus: Path, tmp_path: Path) -> None:
    topology = tmp_path / "class/kfd/kfd/topology"
    topology.mkdir(parents=True)
    (topology / "nodes").symlink_to(corpus / "gpu/sysfs-mi210-kfd/nodes")
    assert [(node.gfx, node.address) for node in kfd.nodes(Roots(sys=tmp_path))] == [("gfx90a", "0000:63:00.0")]


@pytest.mark.parametrize(("name", "gfx"), [("kfd-node-7900xtx", ["gfx1100"]), ("kfd-node-cpu", [])])
def test_a_single_kfd_node(corpus: Path, tmp_path: Path, name: str, gfx: list[str]) -> None:
    node = tmp_path / "class/kfd/kfd/topology/nodes/1"
    node.mkdir(parents=True)
    (node / "properties").write_text((corpus / f"gpu/sysfs-7900xtx/{name}.properties").read_text())
    assert [found.gfx for found in kfd.nodes(Roots(sys=tmp_path))] == gfx


def test_no_file_is_left_out(corpus: Path) -> None:
    tables: dict[str, Iterable[str]] = {
        "rocm-smi": ROCM_SMI,
        "amd-smi": AMD_SMI,
        "fdinfo": FDINFO,
        "kmsg": KERNEL,
        "uevent": UEVENT,
    }
    there = {folder.name: sorted(f.name for f in folder.iterdir()) for folder in (corpus / "gpu").iterdir() if folder.is_dir()}
    assert {name: files for name, files in there.items() if name not in (*FOR_PEOPLE, *TREES)} == {
        name: sorted(table) for name, table in tables.items()
    }
    assert set(there) >= {*FOR_PEOPLE, *TREES}
