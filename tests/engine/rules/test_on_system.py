"""A log from Windows or macOS gets no command of Linux."""

from __future__ import annotations

import pytest

from sentinel.engine.rules.on_system import first_alone, of_fork, of_its_own, on_system
from sentinel.model.alert import Fix

UPDATE = Fix("Update llama.cpp", "llama-server --version", "", "sentinel why server-crashed llama-server")
RIGHTS = Fix("Give the right to read: chmod a+r on the file", "namei -l /m.gguf", "", "")
SMALLER = Fix("Ask for a smaller context (add `-c 4096`)", "journalctl -k -b | tail -50", "", "")


@pytest.mark.parametrize("system", ["", "linux"])
def test_linux_and_what_is_not_known_get_every_fix(system: str) -> None:
    assert on_system([UPDATE, RIGHTS, SMALLER], system) == (UPDATE, RIGHTS, SMALLER)


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_elsewhere_linux_fixes_are_left_out_and_linux_commands_taken_off(system: str) -> None:
    fixes = on_system([UPDATE, RIGHTS, SMALLER], system)
    assert [(fix.do, fix.command) for fix in fixes] == [(UPDATE.do, UPDATE.command), (SMALLER.do, "")]
    assert not any(fix.verify for fix in fixes)


@pytest.mark.parametrize(("front_end", "kept"), [("", 2), ("llama-swap", 2), ("ollama", 1), ("lm-studio", 1)])
def test_nobody_builds_llama_cpp_for_a_program_that_brings_its_own(front_end: str, kept: int) -> None:
    build = Fix("Build for the GPU that is there", "cmake -B build", "", "build/bin/llama-server --list-devices")
    vulkan = Fix("Or take a build with the Vulkan backend", "cmake -B build -DGGML_VULKAN=ON", "", "")
    fixes = of_its_own([build, vulkan], front_end)
    assert len(fixes) == kept
    assert any("cmake" in fix.command for fix in fixes) is (kept == 2)


@pytest.mark.parametrize(("system", "kept"), [("windows", 1), ("macos", 2), ("linux", 2)])
def test_windows_has_no_core_dump(system: str, kept: int) -> None:
    dump = Fix("See the core dump, which names the function", "", "", "")
    assert len(on_system([dump, UPDATE], system)) == kept


def test_what_names_the_crash_dump_of_windows_stays() -> None:
    either = Fix("Read the core dump (on Windows the crash dump)", "", "", "")
    assert on_system([either], "windows") == (either,)


def test_the_first_fix_is_no_alternative_to_one_that_is_not_shown() -> None:
    other = Fix("Or take another backend", "", "", "")
    assert [fix.do for fix in first_alone([other, other])] == ["Take another backend", "Or take another backend"]
    assert first_alone([UPDATE, other]) == (UPDATE, other)
    assert first_alone([]) == ()


@pytest.mark.parametrize(
    ("do", "told"),
    [
        ("Update llama.cpp; if it is the newest, report it", "Update ik_llama.cpp; if it is the newest, report it"),
        ("Or update llama.cpp, and see", "Or update ik_llama.cpp, and see"),
        ("look for that line in llama.cpp's issues", "look for that line in ik_llama.cpp's issues"),
        ("Update the server's program (ik_llama.cpp)", "Update the server's program (ik_llama.cpp)"),
        ("one of llama.cpp's folder models/templates", "one of llama.cpp's folder models/templates"),
    ],
)
def test_who_runs_a_fork_updates_the_fork(do: str, told: str) -> None:
    assert [fix.do for fix in of_fork([Fix(do)], "ik_llama.cpp")] == [told]
    assert [fix.do for fix in of_fork([Fix(do)], "")] == [do]
