"""Which unit or container a process is in, and the tightest memory limit above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import limits, parse

ID = "4f5e6d7c" * 8


@pytest.mark.parametrize(
    ("path", "unit", "container"),
    [
        ("/system.slice/llama-server.service", "llama-server.service", ""),
        ("/system.slice/system-llama.slice/llama@big.service", "llama@big.service", ""),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/llama.service", "llama.service", ""),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-kitty-7.scope", "", ""),
        ("/user.slice/user-1000.slice/session-2.scope", "", ""),
        ("/system.slice/ssh.service", "", ""),
        ("/system.slice/cron.service", "", ""),
        ("/", "", ""),
        (f"/system.slice/docker-{ID}.scope", "", ID),
        (f"/docker/{ID}", "", ID),
        (f"/machine.slice/libpod-{ID}.scope", "", ID),
        (f"/system.slice/llama.service/libpod-payload-{ID}", "llama.service", ID),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", "", ID),
        # Whoever a service's groups are delegated to names what is below.
        ("/system.slice/bobs.service/llama.service", "bobs.service", ""),
        ("/machine.slice/systemd-nspawn@c.service/payload/system.slice/llama.service", "systemd-nspawn@c.service", ""),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service/b.service", "a.service", ""),
    ],
)
def test_unit_and_container_are_read_from_the_path(path: str, unit: str, container: str) -> None:
    member = parse(f"0::{path}\n")
    assert (member.unit, member.container) == (unit, container)
    assert parse(f"4:memory:/x\n1:name=systemd:{path}\n0::/\n").unit == unit


@pytest.mark.parametrize(
    ("path", "engine"),
    [
        (f"/system.slice/docker-{ID}.scope", "docker"),
        (f"/docker/{ID}", "docker"),
        (f"/machine.slice/libpod-{ID}.scope", "podman"),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ""),
        ("/system.slice/docker.service", ""),
    ],
)
def test_whose_command_restarts_a_container_is_read_from_the_path(path: str, engine: str) -> None:
    assert parse(f"0::{path}\n").engine == engine


def test_a_users_own_unit_is_distinguished_from_the_systems() -> None:
    assert parse("0::/user.slice/user-1.slice/user@1.service/app.slice/l.service").is_user_unit
    assert not parse("0::/system.slice/l.service").is_user_unit


def v2(root: Path, limits_by_group: dict[str, str]) -> Roots:
    for group, limit in limits_by_group.items():
        folder = root / "fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text("4096\n")
    return Roots(sys=root)


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    roots = v2(tmp_path, {"a.slice": "1000000", "a.slice/b.service": "max"})
    (tmp_path / "fs/cgroup/a.slice/memory.current").write_text("77\n")
    assert limits(roots, parse("0::/a.slice/b.service")) == {
        "server.cgroup_limit_bytes": 1000000,
        "server.cgroup_limit_path": "/a.slice",
        "server.cgroup_used_bytes": 77,
    }


def test_no_limit_is_minus_one_and_used_is_the_own_groups(tmp_path: Path) -> None:
    values = limits(v2(tmp_path, {"a.slice/b.service": "max"}), parse("0::/a.slice/b.service"))
    assert values["server.cgroup_limit_bytes"] == -1
    assert values["server.cgroup_limit_path"] == ""
    assert values["server.cgroup_used_bytes"] == 4096


def test_version_1_has_its_own_files_and_its_own_word_for_no_limit(tmp_path: Path) -> None:
    folder = tmp_path / "fs/cgroup/memory/lab"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (folder / "memory.usage_in_bytes").write_text("5\n")
    member = parse("4:memory:/lab\n0::/\n")
    assert limits(Roots(sys=tmp_path), member)["server.cgroup_limit_bytes"] == -1
    (folder / "memory.limit_in_bytes").write_text("157286400\n")
    values = limits(Roots(sys=tmp_path), member)
    assert values["server.cgroup_limit_bytes"] == 150 << 20
    assert values["server.cgroup_limit_path"] == "/lab"


def test_inside_a_container_the_mounted_group_counts(tmp_path: Path) -> None:
    roots = v2(tmp_path, {"": "4194304"})
    for path in ("/docker/elsewhere", "/../../x"):
        assert limits(roots, parse(f"0::{path}"))["server.cgroup_limit_bytes"] == 4 << 20


def test_unreadable_groups_are_unknown(tmp_path: Path) -> None:
    assert isinstance(limits(Roots(sys=tmp_path), parse("0::/"))["server.cgroup_limit_bytes"], Unknown)
    roots = v2(tmp_path, {"a": "lots"})
    assert isinstance(limits(roots, parse("0::/a"))["server.cgroup_limit_bytes"], Unknown)


def test_a_path_with_bytes_that_are_no_utf8_can_be_encoded(tmp_path: Path) -> None:
    parse("0::/a\udcff.service").unit.encode()
