"""Where this installation is, and whether a service of the machine may be started from there."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import sentinel
from sentinel.model.fault import Fault

#: How it is installed where a service of the machine can rely on it.
FOR_THE_MACHINE = (
    "install it for the machine: `sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install WHEEL`, then "
    "`sudo sentinel service install`; or take a service of your own: `sentinel service install --user`"
)


def program() -> Path:
    """The command of this installation, in its own environment: a link to it elsewhere may go. Raises Fault."""
    found = Path(sys.prefix) / "bin/sentinel"
    if not os.access(found, os.X_OK):
        raise Fault(
            f"there is no command {found}: this sentinel is not an installation of its own",
            "install it with pipx or uv; from a checkout `make install` or `make install-user` does all",
        )
    return found


def judge(command: Path) -> None:
    """Raises Fault where the service's user could not run it, or somebody else than root could change what runs."""
    for what in (command, Path(sys.executable).resolve(), Path(sentinel.__file__).resolve().parent):
        for path in (*reversed(what.parents), what):
            # A link is judged by what it leads to.
            found = path.stat()
            if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise Fault(f"a service of the machine must not start what others than root may change: {path}", FOR_THE_MACHINE)
            need = stat.S_IXOTH if path == command or stat.S_ISDIR(found.st_mode) else 0
            if found.st_mode & need != need:
                raise Fault(f"the service's user could not get to {path}", FOR_THE_MACHINE)
