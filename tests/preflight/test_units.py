"""A systemd unit's command line, user, groups and limits, from its properties as busctl gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.model.entity import Unknown
from sentinel.preflight.command import NoCommand
from sentinel.preflight.unit import command_of, from_unit, slice_path
from sentinel.sources.fs import Roots

NO_LIMIT = (1 << 64) - 1


def properties(*words: str, **more: Any) -> dict[str, Any]:
    """As recorded of systemd 252."""
    return {
        "ExecStart": [[words[0], list(words), False, 0, 0, 0, 0, 0, 0, 0]],
        "Environment": ["LLAMA_ARG_CTX_SIZE=8192", "MODEL=/srv/a b.gguf", "MORE=-ngl 12"],
        "EnvironmentFiles": [],
        "User": "",
        "Group": "",
        "SupplementaryGroups": [],
        "DynamicUser": False,
        "WorkingDirectory": "!/srv",
        "LimitMEMLOCKSoft": 8388608,
        "AmbientCapabilities": 0,
        "CapabilityBoundingSet": 2199023255551,
        "MemoryMax": NO_LIMIT,
        "MemoryHigh": NO_LIMIT,
        "Slice": "system.slice",
        "MainPID": 0,
        "PrivateDevices": False,
    } | more


def test_words_keep_their_blanks_and_variables_are_put_in() -> None:
    command = command_of("llama.service", properties("/usr/bin/llama-server", "-m", "${MODEL}", "$MORE"), Roots())

    assert command.argv == ("/usr/bin/llama-server", "-m", "/srv/a b.gguf", "-ngl", "12")
    assert command.requested.number("ctx", 0) == 8192
    assert command.folder == Path("/srv")


def test_the_limits_are_the_units_and_not_the_shells() -> None:
    given = properties("/usr/bin/llama-server", User="nobody", MemoryMax=64 << 30, MemoryHigh=60 << 30)
    place = command_of("llama.service", given, Roots()).place

    assert place.lock_limit == 8388608
    assert place.unit_limits == {"MemoryMax": 64 << 30, "MemoryHigh": 60 << 30}
    assert place.user == 65534


def test_root_may_lock_all_and_so_may_a_user_with_the_capability() -> None:
    assert command_of("a.service", properties("/usr/bin/llama-server"), Roots()).place.lock_limit == -1
    ambient = properties("/usr/bin/llama-server", User="nobody", AmbientCapabilities=1 << 14)
    assert command_of("a.service", ambient, Roots()).place.lock_limit == -1
    bounded = properties("/usr/bin/llama-server", CapabilityBoundingSet=0)
    assert command_of("a.service", bounded, Roots()).place.lock_limit == 8388608


def test_a_limit_that_systemd_does_not_report_is_unknown() -> None:
    given = properties("/usr/bin/llama-server", User="nobody")
    del given["LimitMEMLOCKSoft"]

    assert isinstance(command_of("a.service", given, Roots()).place.lock_limit, Unknown)


def test_an_environment_file_is_read_and_a_missing_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nLLAMA_ARG_N_GPU_LAYERS='40'\n\nodd line\n")
    given = properties(
        "/usr/bin/llama-server", EnvironmentFiles=[[str(tmp_path / "env"), False], [str(tmp_path / "gone"), False]]
    )

    command = command_of("a.service", given, Roots())

    assert command.requested.gpu_layers() == 40
    assert "gone cannot be read" in command.env_unreadable


def test_a_wrapper_is_kept_and_a_script_alone_is_one_sentence() -> None:
    wrapped = command_of("a.service", properties("/usr/bin/numactl", "-N0", "/usr/bin/llama-server", "-m", "x"), Roots())
    assert wrapped.argv[0] == "/usr/bin/llama-server"
    assert wrapped.wrapper == ("/usr/bin/numactl", "-N0")

    with pytest.raises(NoCommand, match="not named llama-server: judge it with --pid"):
        command_of("a.service", properties("/opt/start.sh"), Roots())


@pytest.mark.parametrize(
    ("name", "path"), [("system.slice", "/system.slice"), ("a-b.slice", "/a.slice/a-b.slice"), ("-.slice", "/"), ("x", "/")]
)
def test_a_slice_names_its_control_group(name: str, path: str) -> None:
    assert slice_path(name) == path


@pytest.mark.parametrize("name", ["../x", "a b", "", "x" * 400, "a;b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(NoCommand, match="no name of a unit"):
        from_unit(name)
