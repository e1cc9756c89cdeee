"""Control groups of our own, of whichever version the machine has."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_MICROSECONDS = 100_000
#: Microseconds of processor in a period of as many, while what is paced is behind its rate, and while it is ahead of it.
#: A fiftieth of a core copies 20 to 100 MB a second.
_GOES, _WAITS = (2_000, _PERIOD_MICROSECONDS), (1_000, 1_000_000)
#: What llama-server holds before it loads anything.
_BEFORE_THE_LOAD = 32 << 20
_LOOKS_SECONDS = 0.05


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


@contextmanager
def paced(groups: Sequence[Path], pid: int, bytes_per_second: float) -> Iterator[None]:
    """What the process takes for itself or locks grows at this rate, whatever the processor.

    A fixed share of a core does not do that: a load that took 41 s on one machine took 29 s on a faster one. Linux 6.18 stops a
    process no sooner than its system call is over: tensors of a few MB can be paced, one of 300 MB is read at once.
    """
    over = threading.Event()

    def govern() -> None:
        begun, given = time.monotonic(), None
        while not over.wait(_LOOKS_SECONDS):
            due = _BEFORE_THE_LOAD + bytes_per_second * (time.monotonic() - begun)
            share = _WAITS if _taken(pid) > due else _GOES
            # Each setting begins a new period, with all that may be used in it.
            if share != given:
                _give(groups, *share)
                given = share

    governor = threading.Thread(target=govern, name="pace", daemon=True)
    governor.start()
    try:
        yield
    finally:
        over.set()
        governor.join()
        _give(groups, *_GOES)


def _taken(pid: int) -> int:
    """Bytes of the process that are no page cache, or are locked."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        return sum(int(size) << 10 for size in re.findall(r"^(?:RssAnon|VmLck):\s+(\d+) kB", text, re.MULTILINE))
    return 0


def _give(groups: Sequence[Path], quota: int, period: int) -> None:
    for folder in groups:
        settings = {"cpu.max": f"{quota} {period}", "cpu.cfs_period_us": f"{period}", "cpu.cfs_quota_us": f"{quota}"}
        for file, value in settings.items():
            if (folder / file).exists():
                (folder / file).write_text(value)


def lift_quota(groups: list[Path]) -> None:
    """All of the processor for what runs in these groups."""
    for folder in groups:
        for file, value in (("cpu.max", f"max {_PERIOD_MICROSECONDS}"), ("cpu.cfs_quota_us", "-1")):
            if (folder / file).exists():
                (folder / file).write_text(value)
