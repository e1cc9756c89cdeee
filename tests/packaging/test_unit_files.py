"""The unit files: how exposed they leave the service, that systemd knows every setting, and what each may do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import REPO

UNITS = REPO / "systemd"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def installed(folder: Path, *drop_ins: Path) -> Path:
    """The units of the system as they are installed, with a program that exists."""
    for name in ("sentinel.service", "sentinel.socket"):
        text = (UNITS / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("@PREFIX@/bin/sentinel", "/usr/bin/true"), encoding="utf-8")
    (folder / "sentinel.service.d").mkdir()
    for drop_in in drop_ins:
        shutil.copy(drop_in, folder / "sentinel.service.d")
    return folder / "sentinel.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("drop_ins", "most"), [((), 3.0), ((UNITS / "no-capabilities.conf",), 2.2)], ids=["as it is", "without capabilities"]
)
def test_the_service_is_exposed_no_further(tmp_path: Path, drop_ins: tuple[Path, ...], most: float) -> None:
    """systemd's own measure, from 0 to 10."""
    done = analyze("security", "--offline=true", "--no-pager", installed(tmp_path, *drop_ins))
    found = re.search(r"Overall exposure level for sentinel.service: ([0-9.]+)", done.stdout)

    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= most
    assert "Unknown" not in done.stderr


@pytest.mark.parametrize("drop_ins", [(), (UNITS / "no-capabilities.conf",)], ids=["as it is", "without capabilities"])
def test_systemd_has_no_complaint(tmp_path: Path, drop_ins: tuple[Path, ...]) -> None:
    """Service and socket together, with and without the drop-in."""
    unit = installed(tmp_path, *drop_ins)
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit, tmp_path / "sentinel.socket")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "user", "most"),
    [
        # it reaches every address of the network
        ("sentinel-notify.service", ["yes", "sentinel", ""], 2.5),
        ("sentinel-web.service", ["yes", "sentinel", ""], 2.5),
        ("sentinel-cure.service", ["sentinel-cure", "sentinel", ""], 1.5),
    ],
)
def test_a_client_of_the_daemon_is_a_user_of_its_own_without_any_right_but_the_socket(
    tmp_path: Path, name: str, user: list[str], most: float
) -> None:
    """Less exposed than the daemon."""
    unit = tmp_path / name
    text = (UNITS / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("@PREFIX@/bin/sentinel", "/usr/bin/true"), encoding="utf-8")

    verified = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    done = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(rf"Overall exposure level for {name}: ([0-9.]+)", done.stdout)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= most
    assert re.findall(r"(?m)^(?:DynamicUser|SupplementaryGroups|CapabilityBoundingSet|User)=(.*)$", text) == user


def test_systemd_has_no_complaint_about_the_timer_for_node_exporter(tmp_path: Path) -> None:
    for name in ("sentinel-textfile.service", "sentinel-textfile.timer"):
        shutil.copy(REPO / "prometheus" / name, tmp_path)
    done = analyze("verify", "--man=no", "--recursive-errors=no", tmp_path / "sentinel-textfile.timer")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("sentinel.service", "run"),
        ("sentinel-notify.service", "notify"),
        ("sentinel-web.service", "serve $OPTIONS"),
        ("sentinel-cure.service", "cure --user"),
    ],
)
def test_systemd_has_no_complaint_about_the_unit_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, verb: str
) -> None:
    unit = tmp_path / name
    text = (UNITS / "user" / name).read_text(encoding="utf-8")
    assert f"ExecStart=%h/.local/bin/sentinel {verb}\n" in text
    unit.write_text(text.replace("%h/.local/bin/sentinel", "/usr/bin/true"), encoding="utf-8")

    # systemd-analyze wants a user's runtime folder, be it an empty one.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = analyze("verify", "--user", "--man=no", "--recursive-errors=no", unit)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("example", sorted((UNITS / "llama-server").glob("*.conf")), ids=lambda path: path.stem)
def test_systemd_has_no_complaint_about_a_drop_in_for_llama_server(tmp_path: Path, example: Path) -> None:
    """With its settings that are comments put to work as well."""
    unit = tmp_path / "llama-server.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/true\n", encoding="utf-8")
    (tmp_path / "llama-server.service.d").mkdir()
    text = re.sub(r"^#(\w+=)", r"\1", example.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "llama-server.service.d" / example.name).write_text(text, encoding="utf-8")

    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_holds_three_capabilities_each_with_its_reason() -> None:
    """All of them for reading; never root."""
    text = (UNITS / "sentinel.service").read_text(encoding="utf-8")
    held = {name: value.split() for name, value in re.findall(r"^(\w*Capabilit\w+|User)=(.*)$", text, re.MULTILINE)}
    rights = ["CAP_SYS_PTRACE", "CAP_SYSLOG", "CAP_DAC_READ_SEARCH"]

    assert held == {"User": ["sentinel"], "CapabilityBoundingSet": rights, "AmbientCapabilities": rights}
    assert all(re.search(rf"^#   {name} +\S", text, re.MULTILINE) for name in rights)
