"""The container image's files: no right beyond the service's, what is copied into it, and what its command makes of root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import REPO

HERE = REPO / "packaging/container"
#: What is needed to stop being root; the command gives both up.
TO_BECOME_ANOTHER = {"SETUID", "SETGID"}


def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((HERE / "compose.yaml").read_text())["services"])


def test_the_compose_file_gives_no_right_that_the_service_does_not_have() -> None:
    """All writable places are volumes; whatever else is mounted is read-only, and the two clients get no right at all."""
    unit = (REPO / "systemd/sentinel.service").read_text()
    held = re.search(r"(?m)^CapabilityBoundingSet=(.+)$", unit)
    assert held is not None
    watcher, *clients = services().values()

    assert {f"CAP_{name}" for name in set(watcher["cap_add"]) - TO_BECOME_ANOTHER} == set(held[1].split())
    assert set(watcher["cap_add"]) > TO_BECOME_ANOTHER
    assert len(clients) == 2
    for service in (watcher, *clients):
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert "privileged" not in service
        mounts = [volume.rsplit(":", 1)[1] for volume in service["volumes"] if volume.startswith(("/", "$"))]
        assert set(mounts) == {"ro"}
    for client in clients:
        assert not {"cap_add", "pid", "devices"} & set(client)
        assert client["user"] == "sentinel"


def test_nothing_is_taken_from_a_registry_and_every_volume_belongs_to_the_images_user() -> None:
    """A volume has the owner that its folder has in the image; without one it is root's, and who shall write there may not."""
    image = (HERE / "Containerfile").read_text()
    made = set(" ".join(re.findall(r"install -d -o sentinel -g sentinel -m \d+ (.*) \\", image)).split())
    for service in services().values():
        assert service["pull_policy"] == "never"
        named = [volume.split(":")[1] for volume in service["volumes"] if not volume.startswith(("/", "$"))]
        assert set(named) <= made
    # A command's words go through a temporary file.
    assert services()["notify"]["tmpfs"]


def test_each_line_of_the_compose_file_is_in_the_table_of_what_is_not_seen_without_it() -> None:
    watcher = services()["sentinel"]
    table = (REPO / "docs/container.md").read_text().partition("## What it does not see")[2].partition("\n## ")[0]
    lines = {f"{key}: {watcher[key]}" for key in ("pid", "network_mode", "cgroup")}
    lines |= {*watcher["cap_add"], "apparmor:unconfined", "/dev/kmsg", "DOCKER_ROOT"}
    lines |= {volume.split(":")[0] for volume in watcher["volumes"] if volume.startswith("/")}
    assert {line for line in lines if line not in table} == set()


def test_the_build_is_given_what_the_wheel_is_made_of_and_no_models() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], *wheel["shared-data"], "pyproject.toml", project["project"]["readme"]}
    needed.add("packaging/container/sentinel")
    rules = [line for line in (REPO / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    given = [rule[1:] for rule in rules if rule.startswith("!")]

    assert rules[0] == "*"
    assert {path for path in needed if not any(path == one or path.startswith(f"{one}/") for one in given)} == set()
    assert not [one for one in given if fnmatch(".cache", one)]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv (util-linux)")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("sys_ptrace,syslog,dac_read_search,setuid,setgid", 1 << 19 | 1 << 34 | 1 << 2),
        ("sys_ptrace,setuid,setgid,chown", 1 << 19),
        ("setuid,setgid", 0),
        ("sys_ptrace,syslog,dac_read_search", None),
    ],
)
def test_root_becomes_a_user_and_keeps_what_it_was_given_of_the_three(tmp_path: Path, given: str, kept: int | None) -> None:
    """None: refused in one sentence, exit code 2."""
    # /tmp/pytest-of-root is closed to others.
    folder = Path("/run") / f"sentinel-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        program = folder / "program"
        program.write_text("#!/bin/sh\ncat /proc/self/status\n")
        program.chmod(0o755)
        text = (HERE / "sentinel").read_text().replace("/opt/sentinel/bin/sentinel", str(program))
        command = tmp_path / "command"
        command.write_text(re.sub(r"(--re[ug]id)=sentinel", r"\1=4711", text))
        some = ",".join(f"+{name}" for name in given.split(","))
        words = ["setpriv", f"--bounding-set=-all,{some}", "--no-new-privs", "sh", str(command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    finally:
        shutil.rmtree(folder)
    if kept is None:
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "SETUID and SETGID" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    status = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert (status["Uid"].split(), status["Groups"].split()) == (["4711"] * 4, [])
    assert {int(status[f"Cap{of}"], 16) for of in ("Prm", "Eff", "Amb")} == {kept}
