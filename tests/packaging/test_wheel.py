"""The wheel: what is in it, and that it works where nothing of the checkout is."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from places import REPO

from sentinel.rulefiles.file_names import of_tests

#: What is for programs other than Python, by its place below the prefix.
UNITS = [f"sentinel{of}.service" for of in ("", "-cure", "-notify", "-web")]
SHARED = ("share/man/man1/sentinel.1", *(f"share/systemd/user/{unit}" for unit in UNITS))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built offline by the backend that `pip install .` uses."""
    pytest.importorskip("hatchling", reason="needs hatchling (pip install .[dev])")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", str(folder), str(REPO)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_program_its_rules_and_the_manual_and_nothing_else(wheel: Path) -> None:
    """No test, no recorded file, nothing that is not in the repository."""
    name = "-".join(wheel.name.split("-")[:2])
    code = {path.relative_to(REPO).as_posix() for path in (REPO / "sentinel").rglob("*.py")} | {"sentinel/py.typed"}
    # The page's style and scripts, and the library in it with its licence.
    page = {
        path.relative_to(REPO).as_posix()
        for folder in ("report/assets", "report/vendor", "web/assets")
        for path in (REPO / "sentinel" / folder).iterdir()
    }
    rules = {f"sentinel/shipped/{path.relative_to(REPO / 'rules').as_posix()}" for path in (REPO / "rules").rglob("*.toml")}
    # For `sentinel service install`.
    units = {f"sentinel/systemd/user/{unit}" for unit in UNITS}
    units |= {f"sentinel/systemd/{unit}" for unit in (*UNITS, "sentinel.socket")}
    units |= {f"sentinel/systemd/sentinel.{kind}" for kind in ("sysusers.conf", "tmpfiles.conf", "catalog")}
    rules.add("sentinel/shipped/SHA256SUMS")
    shared = {f"{name}.data/data/{path}" for path in SHARED}
    with zipfile.ZipFile(wheel) as archive:
        held = {entry for entry in archive.namelist() if not entry.startswith(f"{name}.dist-info/")}

    assert rules
    assert {"sentinel/report/vendor/LICENSE", "sentinel/report/vendor/uPlot.iife.min.js"} < page
    assert held == code | page | rules | units | shared


def test_an_installed_wheel_needs_nothing_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment: its rules load from inside it, and the manual is where man looks."""
    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True, timeout=60)
    python = fresh / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # The libraries come from the environment of the tests; its own .pth files, and with them the checkout, are not read.
    site = next((fresh / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def ask(*arguments: str) -> str:
        command = [str(fresh / "bin/sentinel"), *arguments]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert told.returncode == 0, told.stderr
        return told.stdout

    listed = {line.split()[0] for line in ask("rules", "list").splitlines()}

    assert {path.stem for path in (REPO / "rules").glob("*.toml") if not of_tests(path.name)} <= listed
    assert str(fresh) in ask("rules", "show", "cpu-fallback")
    assert all((fresh / path).is_file() for path in SHARED)
    (tmp_path / "server.log").write_bytes((REPO / "tests/fixtures/logs/b10434-two-slots.log").read_bytes())
    assert "page.html (" in ask("diagnose", "server.log", "--html", "page.html")
