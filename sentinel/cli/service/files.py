"""The files that make a service of this installation: where each goes, and what is in it. Pure but for `shipped`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinel.files.xdg import config_home
from sentinel.model.fault import Fault

#: First line of what was written by this command, and may be replaced and removed by it.
MARK = "# Written by `sentinel service install`, which replaces this file; `sentinel service uninstall` removes it.\n"
#: Units, the daemon's own first.
UNITS = ("sentinel.service", "sentinel-notify.service", "sentinel-web.service", "sentinel-cure.service")
SOCKET = "sentinel.socket"
#: What systemd takes in a unit as it is, without quotes.
_PLAIN = re.compile(r"/[A-Za-z0-9/._+@-]+")
_REGISTERED = (
    ("sentinel.sysusers.conf", "/etc/sysusers.d/sentinel.conf"),
    ("sentinel.tmpfiles.conf", "/etc/tmpfiles.d/sentinel.conf"),
    ("sentinel.catalog", "/usr/local/lib/systemd/catalog/sentinel.catalog"),
)
_SYSTEM = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True)
class File:
    """One file to write."""

    path: Path
    text: str

    @property
    def starts(self) -> str:
        """The command that a unit starts; empty if it is none."""
        found = re.search(r"^ExecStart=(.*)$", self.text, re.MULTILINE)
        return found[1] if found else ""


def shipped() -> Path:
    """The units as shipped: beside the package in a checkout, inside it in an installation."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "systemd"
    return installed if installed.is_dir() else package.parent / "systemd"


def wanted(program: Path, texts: Mapping[str, str], env: Mapping[str, str], *, user: bool) -> list[File]:
    """All files, by the texts of the shipped ones (named by their place in `shipped`). Raises Fault."""
    if not _PLAIN.fullmatch(str(program)):
        raise Fault(
            f"a unit cannot start {program}: there are spaces or other characters in its path", "install sentinel elsewhere"
        )
    if user:
        home = config_home(env)
        if not home.startswith("/"):
            raise Fault("HOME is not set to a folder", "set HOME and try again")
        folder = Path(home) / "systemd/user"
        return [File(folder / unit, MARK + _started(texts[f"user/{unit}"], program)) for unit in UNITS]
    units = [File(_SYSTEM / unit, MARK + _started(texts[unit], program)) for unit in (*UNITS, SOCKET)]
    return [*(File(Path(path), MARK + texts[name]) for name, path in _REGISTERED), *units]


def names(*, user: bool) -> list[str]:
    """The shipped files that `wanted` needs."""
    return [f"user/{unit}" for unit in UNITS] if user else [*UNITS, SOCKET, *(name for name, _ in _REGISTERED)]


def _started(text: str, program: Path) -> str:
    return text.replace("%h/.local/bin/sentinel", str(program)).replace("@PREFIX@/bin/sentinel", str(program))
