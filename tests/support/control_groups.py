"""Control groups of our own, of whichever version the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_MICROSECONDS = 100_000


@contextmanager
def control_group(name: str, memory_bytes: int, core_share: float) -> Iterator[list[Path]]:
    """Folders of groups with a memory limit and a share of one core; removed again. Skips where there can be none."""
    quota = str(max(int(_PERIOD_MICROSECONDS * core_share), 1000))
    own = f"{name}-{os.getpid()}"
    if (_ROOT / "cgroup.controllers").exists():
        made = {_ROOT / own: {"memory.max": str(memory_bytes), "cpu.max": f"{quota} {_PERIOD_MICROSECONDS}"}}
    else:
        made = {
            _ROOT / "memory" / own: {"memory.limit_in_bytes": str(memory_bytes)},
            _ROOT / "cpu" / own: {"cpu.cfs_period_us": str(_PERIOD_MICROSECONDS), "cpu.cfs_quota_us": quota},
        }
    with ExitStack() as stack:
        for folder, settings in made.items():
            try:
                folder.mkdir()
                stack.callback(folder.rmdir)
                for file, value in settings.items():
                    (folder / file).write_text(value)
            except OSError as error:
                pytest.skip(f"no control group of our own here: {folder}: {error.strerror}")
        yield list(made)


def raise_memory_limit(group: str, memory_bytes: int) -> None:
    """Of the group with this path, as an alert names it."""
    folder = _ROOT / group.lstrip("/") if (_ROOT / "cgroup.controllers").exists() else _ROOT / "memory" / group.lstrip("/")
    (folder / ("memory.max" if (folder / "memory.max").exists() else "memory.limit_in_bytes")).write_text(str(memory_bytes))


def lift_quota(groups: list[Path]) -> None:
    """All of the processor for what runs in these groups."""
    for folder in groups:
        for file, value in (("cpu.max", f"max {_PERIOD_MICROSECONDS}"), ("cpu.cfs_quota_us", "-1")):
            if (folder / file).exists():
                (folder / file).write_text(value)
