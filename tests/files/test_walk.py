"""What a walk costs whoever makes it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sentinel.files.walk import open_root, walk
from sentinel.model.input_limits import MOST_FOLDERS_DEEP


def go(path: str) -> None:
    """The walk to a path, without any judgement."""
    root = open_root()
    try:
        walk(path, root, root, lambda _fd, _status: None, lambda _fd, _status, _folder: None).close()
    finally:
        os.close(root)


def test_folders_within_each_other_do_not_use_up_the_descriptors(tmp_path: Path) -> None:
    """Each folder on the way is open until the walk ends; a path of 4096 characters names two thousand."""
    held = len(os.listdir("/proc/self/fd"))
    deep = str(tmp_path)
    here = os.open(tmp_path, os.O_PATH)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here, deep = inner, f"{deep}/d"
    os.close(here)
    with pytest.raises(OSError, match="folders within each other") as refused:
        go(deep)
    assert refused.value.errno == errno.ENAMETOOLONG
    assert len(os.listdir("/proc/self/fd")) == held


def test_folders_may_be_nested_as_deeply_as_people_nest_them(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * (MOST_FOLDERS_DEEP - len(tmp_path.parts) - 10))
    deep.mkdir(parents=True)
    go(f"{deep}/../d")
