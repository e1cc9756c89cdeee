"""The host's memory and GPU files, from a composed /proc and from this machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from places import TESTS

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.model.entity import Unknown, Value
from sentinel.model.reading import Samples
from sentinel.sources.base import Polled
from sentinel.sources.fs import Roots
from sentinel.sources.host import Host

FIXTURES = TESTS / "fixtures"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "dev").mkdir()
    return Roots(proc=Path(shutil.copytree(FIXTURES / "proc", tmp_path / "proc")), sys=tmp_path / "sys", dev=tmp_path / "dev")


def read(host: Host, at: float = 1.0) -> dict[str, Value | Unknown]:
    (reading,) = host.poll(at)
    assert isinstance(reading, Samples)
    return dict(reading.values)


def test_memory_is_in_bytes_and_pressure_in_percent(roots: Roots) -> None:
    values = read(Host(roots))
    assert values["host.mem_total_bytes"] == 263856148 * 1024
    assert values["host.mem_available_bytes"] == 192 << 30
    assert values["host.locked_bytes"] == 128 << 20
    assert values["host.hugepages_bytes"] == 8 << 20
    assert values["host.oom_kills"] == 2
    assert values["host.uptime_seconds"] == 5012.37
    assert values["host.psi_memory_full_avg10"] == 9.75
    assert values["host.psi_memory_some_avg10"] == 12.5
    assert values["host.psi_io_full_avg10"] == 0.5
    assert "host.major_faults_per_s" not in values


def test_the_fault_rate_is_a_difference_and_a_counter_that_falls_gives_none(roots: Roots) -> None:
    host = Host(roots)
    read(host, 10.0)
    (roots.proc / "vmstat").write_text("pgmajfault 1500\noom_kill 2\n")
    assert read(host, 12.0)["host.major_faults_per_s"] == 150.0
    (roots.proc / "vmstat").write_text("pgmajfault 3\noom_kill 0\n")
    assert "host.major_faults_per_s" not in read(host, 14.0)


def test_what_the_kernel_does_not_offer_is_unknown_with_the_cure(roots: Roots) -> None:
    shutil.rmtree(roots.proc / "pressure")
    (roots.proc / "vmstat").write_text("pgmajfault 1\n")
    (roots.proc / "meminfo").write_text("MemTotal: 4 kB\n")
    values = read(Host(roots))
    pressure = values["host.psi_memory_full_avg10"]
    assert isinstance(pressure, Unknown)
    assert "psi=1" in pressure.why
    assert isinstance(values["host.oom_kills"], Unknown)
    assert isinstance(values["host.locked_bytes"], Unknown)
    assert values["host.mem_total_bytes"] == 4096


def test_gpu_files_are_seen(roots: Roots) -> None:
    values = read(Host(roots))
    assert (values["host.kfd_present"], values["host.render_nodes"], values["host.amdgpu_loaded"]) == (False, 0, False)
    assert values["host.dxg_present"] is False
    assert isinstance(values["host.gpu_nodes_since"], Unknown)
    (roots.dev / "dri").mkdir()
    (roots.dev / "dri/renderD128").touch()
    (roots.dev / "dri/card0").touch()
    (roots.dev / "kfd").touch()
    os.utime(roots.dev / "dri/renderD128", (5000.0, 2000.0))
    os.utime(roots.dev / "kfd", (5000.0, 3000.0))
    module = roots.sys / "module/amdgpu"
    module.mkdir(parents=True)
    (module / "initstate").write_text("coming\n")
    assert read(Host(roots))["host.amdgpu_loaded"] is False
    (module / "initstate").write_text("live\n")
    values = read(Host(roots))
    assert (values["host.kfd_present"], values["host.render_nodes"], values["host.amdgpu_loaded"]) == (True, 1, True)
    assert values["host.gpu_nodes_since"] == 3000.0


def test_nvidias_nodes_are_seen_and_when_the_last_of_them_came(roots: Roots) -> None:
    values = read(Host(roots))
    assert values["host.nvidia_uvm_present"] is False
    assert isinstance(values["host.nvidia_nodes_since"], Unknown)
    for name, made in (("nvidia0", 2000.0), ("nvidiactl", 9000.0), ("nvidia-uvm", 3000.0)):
        (roots.dev / name).touch()
        os.utime(roots.dev / name, (made, made))
    values = read(Host(roots))
    # nvidiactl is made again by whoever asks whether there is a GPU
    assert (values["host.nvidia_uvm_present"], values["host.nvidia_nodes_since"]) == (True, 3000.0)


def test_this_machine_is_read_and_every_signal_is_of_the_catalogue() -> None:
    host = Host()
    assert isinstance(host, Polled)
    read(host, 1.0)
    values = read(host, 3.0)
    assert isinstance(values["host.mem_total_bytes"], int)
    assert values["host.mem_total_bytes"] > 1 << 28
    types = {"flag": bool, "int": int, "float": float}
    for name, value in values.items():
        assert isinstance(value, (Unknown, types[CATALOGUE[name].type])), name
