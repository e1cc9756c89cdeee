"""Who has GPUs of one maker gets no advice that is only for those of another."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.engine.rules.on_gpu import maker_of, on_gpu
from sentinel.model.alert import Fix

OVERRIDE = Fix("Remove HSA_OVERRIDE_GFX_VERSION from the environment", "rocminfo | grep gfx", "", "")
SEE = Fix("See what the kernel says", "journalctl -k -g 'amdgpu|NVRM'", "", "nvidia-smi")
SMALLER = Fix("Make the pieces smaller. On amdgpu the boot parameter amdgpu.lockup_timeout= gives it longer", "", "", "")
EITHER = Fix("Take Vulkan in place of CUDA or ROCm", "", "", "")
ASIDE = Fix("Report it with the kernel's lines (of amdgpu too) and the build", "", "", "")


def said(fixes: list[Fix], maker: str) -> list[tuple[str, str, str]]:
    return [(fix.do, fix.command, fix.verify) for fix in on_gpu(fixes, maker)]


def test_where_the_maker_is_not_known_everything_is_said() -> None:
    assert on_gpu([OVERRIDE, SEE, EITHER], "") == (OVERRIDE, SEE, EITHER)


@pytest.mark.parametrize(("maker", "shown"), [("amd", True), ("nvidia", False), ("intel", False), ("apple", False)])
def test_a_fix_for_radeons_is_for_radeons(maker: str, shown: bool) -> None:
    assert bool(on_gpu([OVERRIDE], maker)) is shown


def test_what_names_several_stays_where_one_of_them_is_there_and_nowhere_else() -> None:
    assert said([EITHER], "nvidia") == [(EITHER.do, "", "")]
    assert said([EITHER], "apple") == []


def test_only_the_sentence_and_the_brackets_about_others_are_left_out() -> None:
    assert said([SMALLER, ASIDE], "nvidia") == [
        ("Make the pieces smaller.", "", ""),
        ("Report it with the kernel's lines and the build", "", ""),
    ]


def test_a_command_for_another_gpu_is_left_out_alone() -> None:
    assert said([SEE], "amd") == [(SEE.do, SEE.command, "")]


@pytest.mark.parametrize(
    ("known", "maker"),
    [
        ({"server.gpu_maker": "intel", "host.nvidia_gpu_count": 1, "host.amd_gpu_count": 0}, "intel"),
        ({"host.nvidia_gpu_count": 2, "host.amd_gpu_count": 0}, "nvidia"),
        ({"host.nvidia_gpu_count": 0, "host.amd_gpu_count": 1}, "amd"),
        ({"host.nvidia_gpu_count": 1, "host.amd_gpu_count": 1}, ""),
        ({"host.nvidia_gpu_count": 0, "host.amd_gpu_count": 0}, ""),
        ({"host.nvidia_gpu_count": 1}, ""),
    ],
)
def test_the_log_says_more_than_the_bus_and_of_a_mixed_machine_nothing_is_said(known: dict[str, Any], maker: str) -> None:
    assert maker_of(known.get) == maker
