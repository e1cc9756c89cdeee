"""The recipe for Arch: of this version, and a script that bash reads."""

from __future__ import annotations

import re
import subprocess

from places import REPO

import sentinel

PKGBUILD = REPO / "packaging/arch/PKGBUILD"


def test_it_is_of_this_version() -> None:
    found = re.search(r"(?m)^pkgver=(.+)$", PKGBUILD.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == sentinel.__version__


def test_it_passes_settings_that_the_installation_knows() -> None:
    """A misspelt one would be ignored, and the files would land elsewhere."""
    subprocess.run(["bash", "-n", PKGBUILD], check=True, timeout=10)
    call = re.search(r"PIP_NO_COMPILE=0 (.*?) systemd/install.sh", PKGBUILD.read_text(encoding="utf-8"), re.DOTALL)
    assert call is not None
    known = (REPO / "systemd/install.sh").read_text(encoding="utf-8")
    for name in re.findall(r"([A-Z]+)=", call[1]):
        assert f"{name}=" in known, name
