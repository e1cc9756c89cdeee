"""How a library that sentinel can do without is added to the environment in which sentinel itself runs."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec


def how_to_add(package: str, extra: str) -> str:
    """The command for this very installation: in /opt/sentinel a `pip` of the shell adds it to another Python.

    Where it has no pip (pipx, uv, the Debian package), sentinel is installed again with the extra.
    """
    if find_spec("pip") is None:
        return f"install sentinel with [{extra}], for example pipx install --force '.[{extra}]' in its source folder"
    root = "" if os.access(sys.prefix, os.W_OK) else "sudo "
    return f"{root}{shlex.quote(sys.executable)} -m pip install {package}"
