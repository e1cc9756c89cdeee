"""NVIDIA GPUs through NVML, with a stand-in for the binding: what is asked, what is refused, and that no GPU is woken."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from places import TESTS

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import HOST, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.base import NotHere, Polled, SourceFault
from sentinel.sources.fs import Roots
from sentinel.sources.gpu import usage
from sentinel.sources.gpu.nvml import Nvml
from sentinel.sources.gpu.nvml_gpu import Holding
from sentinel.sources.processes.server_process import ServerProcess

STAND_IN = TESTS / "fixtures/nvml/pynvml.py"
FIRST, SECOND = "0000:01:00.0", "0000:41:00.0"
SERVER = cast(ServerProcess, SimpleNamespace(pid=4242))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("pynvml", STAND_IN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    yield module


@pytest.fixture
def machine(tmp_path: Path) -> Roots:
    """A machine with two NVIDIA GPUs and a driver."""
    for address in (FIRST, SECOND):
        folder = tmp_path / "sys/bus/pci/devices" / address
        (folder / "power").mkdir(parents=True)
        for name, content in (("class", "0x030000"), ("vendor", "0x10de"), ("device", "0x2684")):
            (folder / name).write_text(content + "\n")
        (folder / "power/runtime_status").write_text("active\n")
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  595.71\n")
    (tmp_path / "dev").mkdir()
    return Roots(tmp_path / "proc", tmp_path / "sys", tmp_path / "dev", tmp_path)


def by_name(readings: list[Reading]) -> dict[str, dict[str, Value | Unknown]]:
    return {r.entity.name: dict(r.values) for r in readings if isinstance(r, Samples)}


def look(source: Nvml, at: float = 0.0) -> dict[str, dict[str, Value | Unknown]]:
    return by_name(list(source.poll(at)))


def test_a_gpu_is_read_in_the_units_of_the_catalogue(library: Any, machine: Roots) -> None:
    source = Nvml(lambda: [SERVER], machine)
    assert isinstance(source, Polled)
    library.processes[FIRST] = [SimpleNamespace(pid=4242, usedGpuMemory=20 << 30)]
    values = look(source)[FIRST]
    assert values["gpu.name"] == "NVIDIA GeForce RTX 4090"
    assert (values["gpu.vram_total_bytes"], values["gpu.vram_used_bytes"]) == (24 << 30, 20 << 30)
    assert (values["gpu.power_watts"], values["gpu.power_limit_watts"]) == (312.5, 450.0)
    assert (values["gpu.sclk_hertz"], values["gpu.mclk_hertz"]) == (2.52e9, 10.501e9)
    assert values["gpu.thermal_limits"] == ""
    types = {"flag": bool, "int": int, "float": float, "text": str}
    for name, value in values.items():
        assert type(value) is types[CATALOGUE[name].type], name
    assert source.held_by(4242) == Holding(20 << 30, (FIRST,))
    assert source.held_by(1) is None


def test_memory_on_two_gpus_adds_up_and_a_refused_figure_is_not_zero(library: Any, machine: Roots) -> None:
    library.processes[FIRST] = [SimpleNamespace(pid=1, usedGpuMemory=5), SimpleNamespace(pid=2, usedGpuMemory=None)]
    library.processes[SECOND] = [SimpleNamespace(pid=1, usedGpuMemory=7), SimpleNamespace(pid=2, usedGpuMemory=9)]
    source = Nvml(lambda: [SERVER], machine)
    look(source)
    assert source.held_by(1) == Holding(12, (FIRST, SECOND))
    assert source.held_by(2) == Holding(None, (FIRST, SECOND))


def test_what_one_call_refuses_is_unknown_and_the_rest_is_read(library: Any, machine: Roots) -> None:
    library.errors.update({"nvmlDeviceGetUtilizationRates": 3, "nvmlDeviceGetPowerUsage": 4})
    del library.nvmlDeviceGetCurrentClocksEventReasons
    library.reasons = 0x20 | 0x04
    values = look(Nvml(lambda: [SERVER], machine))[FIRST]
    assert isinstance(values["gpu.busy_percent"], Unknown)
    assert "does not offer" in values["gpu.busy_percent"].why
    assert isinstance(values["gpu.power_watts"], Unknown)
    assert values["gpu.vram_used_bytes"] == 20 << 30
    assert values["gpu.thermal_limits"] == "software", "a power cap is no limit of temperature"


def test_a_lost_gpu_is_unknown_and_the_library_is_begun_again(library: Any, machine: Roots) -> None:
    library.errors["nvmlDeviceGetHandleByPciBusId"] = 15
    source = Nvml(lambda: [SERVER], machine)
    values = look(source)[FIRST]
    assert isinstance(values["gpu.vram_used_bytes"], Unknown)
    assert "fallen off the bus" in values["gpu.vram_used_bytes"].why
    library.errors.clear()
    look(source, 5.0)
    assert library.calls.count("nvmlInit") == 2


def test_a_gpu_that_sleeps_is_not_asked_and_without_a_server_the_library_is_let_go(library: Any, machine: Roots) -> None:
    (machine.sys / "bus/pci/devices" / SECOND / "power/runtime_status").write_text("suspended\n")
    source = Nvml(lambda: [], machine)
    found = look(source)
    assert found[SECOND]["gpu.runtime_status"] == "suspended"
    assert library.calls.count("nvmlDeviceGetHandleByPciBusId") == 1
    assert library.calls[-1] == "nvmlShutdown"
    assert source.poll(59.0) == []
    (machine.sys / "bus/pci/devices" / FIRST / "power/runtime_status").write_text("suspended\n")
    library.calls.clear()
    assert look(source, 60.0)[FIRST] == {
        "gpu.vendor": "nvidia", "gpu.name": "10de:2684", "gpu.is_apu": False, "gpu.runtime_status": "suspended"
    }  # fmt: skip
    assert library.calls == []


def test_versions_that_differ_are_a_fact_about_the_host(library: Any, machine: Roots) -> None:
    library.init_error = 18
    assert "differ in version" in str(look(Nvml(lambda: [SERVER], machine))[HOST.name]["host.nvml_fault"])
    library.init_error = 12
    with pytest.raises(SourceFault, match="libnvidia-ml"):
        Nvml(lambda: [SERVER], machine).poll(0.0)


def test_without_a_driver_the_binding_is_not_even_imported(tmp_path: Path) -> None:
    roots = Roots(tmp_path, tmp_path, tmp_path, tmp_path)
    with pytest.raises(NotHere, match="no NVIDIA driver"):
        Nvml(lambda: [SERVER], roots).poll(0.0)
    program = "import sys, sentinel.daemon; print('pynvml' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=STAND_IN.parents[3])
    assert shown.stdout == "False\n"


def test_without_the_binding_it_says_what_to_install(machine: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NotHere, match="`sentinel doctor` says how to add it"):
        Nvml(lambda: [SERVER], machine).poll(0.0)


def test_what_nvml_counts_is_the_servers_memory_and_its_silence_is_not_zero() -> None:
    nothing = Unknown("the driver tells it through NVML alone")
    before: dict[str, Value | Unknown] = dict.fromkeys(
        ("server.gpu_memory_bytes", "server.gpu_gtt_bytes", "server.gpus", "server.gpu_evicted_bytes"), nothing
    )
    assert usage.with_nvidia(before, None) == {}
    assert usage.with_nvidia(before, Holding(20 << 30, (FIRST,))) == {
        "server.gpu_memory_bytes": 20 << 30, "server.gpu_gtt_bytes": 0, "server.gpus": FIRST
    }  # fmt: skip
    assert isinstance(usage.with_nvidia(before, Holding(None, (FIRST,)))["server.gpu_memory_bytes"], Unknown)


def test_the_stand_in_has_the_names_of_the_real_binding(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pynvml")
    real = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    names = [name for name in vars(library) if name.startswith(("nvml", "NVML_"))]
    assert len(names) > 15
    assert [name for name in names if not hasattr(real, name)] == []
    assert all(getattr(real, name) == getattr(library, name) for name in names if name.startswith("NVML_"))
