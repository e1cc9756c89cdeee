"""What is read of a proc other than the machine's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.sources.fs import Roots
from sentinel.sources.processes.procfs import process_ids


@pytest.mark.parametrize("there", [set(), {7, 4711}])
def test_the_processes_of_a_proc_are_its_numbered_folders(there: set[int], tmp_path: Path) -> None:
    """A proc with none is one without processes, and no error."""
    for name in ("self", "sys", *map(str, there)):
        (tmp_path / name).mkdir()
    assert process_ids(Roots(proc=tmp_path)) == there
