"""The pinned development environment has what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import REPO


def test_the_lock_file_pins_every_library_of_the_project_within_its_bounds() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    wanted = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    pinned = dict(re.findall(r"(?m)^([a-z0-9.-]+)==([^ \\]+)", (REPO / "requirements-dev.lock").read_text()))
    missing = "0"
    wrong = [
        str(one)
        for one in wanted
        if (pin := pinned.get(canonicalize_name(one.name), missing)) is missing or pin not in one.specifier
    ]
    assert wrong == []
