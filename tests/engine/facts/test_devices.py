"""The GPUs that a log names: whose graphics they are, where the weights lie, and which of them should hold none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sentinel.engine.engine import Engine
from sentinel.engine.facts import devices
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import LogLines

SERVER = Entity("server", "llama.service")
MIB = 1 << 20


def learned(*lines: tuple[str, Mapping[str, Value]]) -> dict[str, Value | Unknown]:
    values: dict[str, Value | Unknown] = {}
    for event, fields in lines:
        values |= devices.learn(event, fields, {k: v for k, v in values.items() if not isinstance(v, Unknown)})
    return values


def listed(name: str, description: str, total: int = 16000) -> tuple[str, dict[str, Value]]:
    return "device_listed", {"device": name, "description": description, "total": total * MIB, "free": 0}


def used(name: str, free: int) -> tuple[str, dict[str, Value]]:
    return "device_used", {"device": name, "description": "NVIDIA", "free": free}


def weights(name: str, size: int) -> tuple[str, dict[str, Value]]:
    return "gpu_weights", {"device": name, "size": size * MIB}


@pytest.mark.parametrize(
    ("description", "integrated"),
    [
        ("AMD Radeon 780M Graphics", True),
        ("AMD Radeon 740M Graphics, gfx1103", True),
        ("AMD Radeon Graphics (RADV RAPHAEL_MENDOCINO)", True),
        ("Radeon 8060S Graphics (RADV GFX1151)", True),
        ("Intel(R) UHD Graphics 770", True),
        ("Intel(R) Iris(R) Xe Graphics", True),
        ("Intel(R) Arc(tm) Graphics (MTL)", True),
        ("AMD Radeon RX 9070, gfx1201", False),
        # Mesa's name for a GPU that it does not know yet
        ("AMD Radeon Graphics (RADV GFX1201)", False),
        ("Intel(R) Arc(TM) B580 Graphics", False),
        ("Radeon RX Vega 64", False),
        ("NVIDIA GeForce RTX 3090", False),
    ],
)
def test_a_name_says_whether_it_is_the_processors_own_graphics(description: str, integrated: bool) -> None:
    values = learned(
        listed("Vulkan0", "NVIDIA GeForce RTX 4090", 24000),
        listed("Vulkan1", description),
        weights("Vulkan0", 9000),
        weights("Vulkan1", 3000),
    )
    assert (values["server.gpu_unwanted"] == f"Vulkan1 ({description})") is integrated


def test_the_drivers_word_on_shared_memory_outranks_the_name() -> None:
    values = learned(
        ("gpu_device", {"number": 0, "description": "AMD Radeon 780M Graphics", "uma": 0}),
        ("gpu_device", {"number": 1, "description": "Some new card", "uma": 1}),
        listed("Vulkan0", "AMD Radeon 780M Graphics"),
        listed("Vulkan1", "Some new card"),
        weights("Vulkan0", 900),
        weights("Vulkan1", 900),
    )
    assert values["server.gpu_unwanted"] == "Vulkan1 (Some new card)"
    assert (values["server.gpu_wanted"], values["server.gpu_wanted_numbers"]) == ("Vulkan0", "0")


@pytest.mark.parametrize("software", ["llvmpipe (LLVM 15.0.6, 256 bits)", "SwiftShader Device (LLVM 10.0.0)"])
@pytest.mark.parametrize("gpu", [("AMD Radeon 780M Graphics", 16000), ("NVIDIA GeForce GTX 1650", 4096)])
def test_no_gpu_is_worse_than_a_software_renderer(software: str, gpu: tuple[str, int]) -> None:
    values = learned(
        listed("Vulkan0", *gpu), listed("Vulkan1", software, 31809), weights("Vulkan0", 900), weights("Vulkan1", 900)
    )
    assert values["server.gpu_unwanted"] == ""
    assert "Vulkan1" not in str(values["server.gpu_wanted"])


def test_a_list_of_the_cpu_alone_says_that_there_is_no_gpu() -> None:
    begins: tuple[str, dict[str, Value]] = ("device_list", {})
    assert learned(begins, listed("CPU", "AMD Ryzen"))["server.gpus_listed"] == 0
    assert learned(begins, listed("CUDA0", "NVIDIA"), listed("CPU", "AMD Ryzen"))["server.gpus_listed"] == 1
    # another machine's GPU and a library for the CPU are none of this machine
    assert learned(begins, listed("BLAS", "OpenBLAS"), listed("RPC0", "1.2.3.4"), listed("CPU", "x"))["server.gpus_listed"] == 0


def test_the_end_of_a_list_alone_says_nothing() -> None:
    """In an excerpt the rows before it may have been GPUs."""
    assert "server.gpus_listed" not in learned(listed("CPU", "AMD Ryzen"))


def test_an_error_names_its_device_by_number_alone() -> None:
    rocm: tuple[tuple[str, dict[str, Value]], ...] = (
        ("gpu_device", {"number": 0, "description": "AMD Radeon 780M Graphics", "code": "gfx1103"}),
        ("gpu_device", {"number": 1, "description": "AMD Radeon AI PRO R9700", "code": "gfx1201"}),
    )
    values = learned(*rocm, ("gpu_error_place", {"device": 0, "function": "f"}))
    assert values["server.gpu_error_device"] == "ROCm0 (AMD Radeon 780M Graphics, gfx1103)"
    assert (values["server.gpu_error_integrated"], values["server.gpu_wanted"]) == (True, "ROCm1")
    values = learned(*rocm, ("gpu_error_place", {"device": 1, "function": "f"}))
    assert values["server.gpu_error_integrated"] is False
    assert "server.gpu_error_device" not in learned(*rocm, ("gpu_error_place", {"device": 7, "function": "f"}))


def test_the_largest_share_counts_when_a_sleeper_loads_again() -> None:
    once = (listed("CUDA0", "NVIDIA"), weights("CUDA0", 900))
    assert devices.read(str(learned(*once, weights("CUDA0", 900))[devices.TABLE]))["CUDA0"].weights == 900 * MIB


def test_a_text_that_is_no_table_is_an_empty_one() -> None:
    for text in ("", "{", "[]", '{"a":1}', '{"a":[1]}', '{"a":["x",0,"y",0]}'):
        assert devices.read(text) == {}


def test_what_backends_print_before_a_runs_first_line_belongs_to_that_run(ruleset: RuleSet) -> None:
    one = (
        b"  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: 24124 MiB\n"
        b"  Device 1: NVIDIA GeForce GT 1030, compute capability 6.1, VMM: yes, VRAM: 1998 MiB\n"
        b"load_backend: loaded CUDA backend from /app/libggml-cuda.so\n"
        b"load_backend: loaded CPU backend from /app/libggml-cpu-x64.so\n"
        b"build: 6790 (7cce4f8) with cc for x86_64-pc-linux-gnu\n"
        b"load_tensors:        CUDA0 model buffer size = 18304.10 MiB\n"
        b"load_tensors:        CUDA1 model buffer size =   395.20 MiB\n"
    )
    # started again: another build, without the small GPU
    two = (
        b"  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: 24124 MiB\n"
        b"load_backend: loaded CUDA backend from /app/libggml-cuda.so\n"
        b"build: 6791 (7cce4f9) with cc for x86_64-pc-linux-gnu\nload_tensors:        CUDA0 model buffer size = 18699.30 MiB\n"
    )
    engine = Engine(ruleset)
    engine.step(LogLines(1000.0, "server.log", SERVER, one))
    facts = engine.state.facts
    assert facts.last(SERVER, "server.gpu_unwanted").value == "CUDA1 (NVIDIA GeForce GT 1030)"  # type: ignore[union-attr]
    assert facts.last(SERVER, "server.backends_loaded").value == "CUDA,CPU"  # type: ignore[union-attr]
    engine.step(LogLines(1000.0, "server.log", SERVER, two))
    assert facts.last(SERVER, "server.gpu_unwanted").value == ""  # type: ignore[union-attr]
    assert facts.last(SERVER, "server.gpus_listed").value == 1  # type: ignore[union-attr]
    assert facts.last(SERVER, "server.backends_loaded").value == "CUDA"  # type: ignore[union-attr]


def test_of_several_gpus_the_one_that_refused_is_the_one_whose_free_memory_counts() -> None:
    """Not the one that the list ends with."""
    rows = [used("CUDA0", 8), used("CUDA1", 900), listed("CUDA1", "NVIDIA")]
    values = learned(*rows, ("buffer_alloc_failed", {"device": "CUDA0", "size": 5}))

    assert (values["server.refused_device"], values["server.refused_device_free_bytes"]) == ("CUDA0", 8)
    assert isinstance(values["server.refused_device_total_bytes"], Unknown), "no line gave it"
    assert isinstance(learned(*rows, ("buffer_alloc_failed", {"device": "CPU"}))["server.refused_device_free_bytes"], Unknown)


def test_a_table_of_an_older_checkpoint_is_read() -> None:
    assert devices.read('{"CUDA0":["NVIDIA",0,5,6]}') == {"CUDA0": devices.LoggedDevice("NVIDIA", False, 5, 6)}
