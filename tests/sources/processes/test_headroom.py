"""How much a process can still take: the machine, every control group above it, swap, and page cache that is no obstacle."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import parse
from sentinel.sources.processes.headroom import Room, room

GIB = 1 << 30


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: 99 kB\nMemAvailable: {16 * GIB // 1024} kB\nSwapFree: {4 * GIB // 1024} kB\n"
    )
    return Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")


def group(roots: Roots, path: str, files: dict[str, object], version: str = "") -> None:
    folder = roots.sys / "fs/cgroup" / version / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")


def look(roots: Roots, text: str) -> Room:
    found = room(roots, parse(text))
    assert isinstance(found, Room)
    return found


def test_without_a_limit_the_machine_decides(roots: Roots) -> None:
    group(roots, "a.slice/b.service", {"memory.max": "max", "memory.high": "max"})
    assert look(roots, "0::/a.slice/b.service") == Room(16 * GIB, "", 4 * GIB)


def test_the_group_with_the_least_left_decides_not_the_one_with_the_smallest_limit(roots: Roots) -> None:
    group(roots, "a.slice", {"memory.max": 10 * GIB, "memory.current": 9 * GIB, "memory.stat": "anon 1\nfile 2"})
    group(roots, "a.slice/b.service", {"memory.max": 8 * GIB, "memory.current": GIB, "memory.stat": ""})
    assert look(roots, "0::/a.slice/b.service") == Room(GIB, "/a.slice", 4 * GIB)


def test_page_cache_in_the_group_is_no_obstacle(roots: Roots) -> None:
    stat = f"anon 5\nfile {6 * GIB}\ninactive_file {3 * GIB}\nactive_file {2 * GIB}\nunevictable {GIB}\nslab_reclaimable 1024"
    group(roots, "b.service", {"memory.max": 8 * GIB, "memory.current": 8 * GIB, "memory.stat": stat})
    # what is locked or shared stays
    assert look(roots, "0::/b.service").left_bytes == 5 * GIB + 1024


def test_memory_high_brakes_and_does_not_kill(roots: Roots) -> None:
    group(roots, "b.service", {"memory.max": "max", "memory.high": 2 * GIB, "memory.current": GIB, "memory.stat": ""})
    assert look(roots, "0::/b.service") == Room(16 * GIB, "", 4 * GIB, GIB, "/b.service")


def test_swap_is_what_the_group_may_take_of_it(roots: Roots) -> None:
    files = {"memory.max": GIB, "memory.current": 0, "memory.stat": "", "memory.swap.max": 0, "memory.swap.current": 0}
    group(roots, "b.service", files)
    assert look(roots, "0::/b.service").swap_bytes == 0


def test_version_1_has_its_own_files(roots: Roots) -> None:
    stat = f"inactive_file 7\ntotal_inactive_file {GIB}\ntotal_active_file 0\ntotal_unevictable 9"
    files = {"memory.limit_in_bytes": 3 * GIB, "memory.usage_in_bytes": 2 * GIB, "memory.stat": stat}
    group(roots, "lab", files, "memory")
    assert look(roots, "4:memory:/lab\n0::/") == Room(2 * GIB, "/lab", 4 * GIB)
    group(roots, "lab", {"memory.limit_in_bytes": 9223372036854771712}, "memory")
    assert look(roots, "4:memory:/lab\n0::/") == Room(16 * GIB, "", 4 * GIB)


def test_what_cannot_be_read_is_unknown_and_never_nothing(roots: Roots) -> None:
    group(roots, "b.service", {"memory.max": GIB, "memory.current": "a lot", "memory.stat": ""})
    assert isinstance(room(roots, parse("0::/b.service")), Unknown)
    group(roots, "b.service", {"memory.current": 0})
    (roots.sys / "fs/cgroup/b.service/memory.stat").unlink()
    assert isinstance(room(roots, parse("0::/b.service")), Unknown)
    group(roots, "b.service", {"memory.max": "lots"})
    assert isinstance(room(roots, parse("0::/b.service")), Unknown)
    (roots.proc / "meminfo").write_text("MemTotal: 5 kB\n")
    assert isinstance(room(roots, parse("0::/")), Unknown)
    (roots.proc / "meminfo").unlink()
    assert isinstance(room(roots, parse("0::/")), Unknown)
