"""Pages that come back after they were dropped, of the right group, as a rate."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from sentinel.model.labels import Unknown
from sentinel.sources.cgroup import parse
from sentinel.sources.rereads import Rereads, refaults
from sentinel.sources.roots import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("pgmajfault 9\nworkingset_refault_anon 1\nworkingset_refault_file 500\n")
    return Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")


def group(roots: Roots, path: str, text: str) -> None:
    (roots.sys / "fs/cgroup" / path).mkdir(parents=True, exist_ok=True)
    (roots.sys / "fs/cgroup" / path / "memory.stat").write_text(text)


def test_the_processs_own_group_counts_else_the_machine(roots: Roots) -> None:
    assert refaults(roots, parse("0::/a.service")) == 500
    group(roots, "a.service", "anon 1\nworkingset_refault_file 7\n")
    assert refaults(roots, parse("0::/a.service")) == 7
    group(roots, "memory/lab", "workingset_refault_file 1\ntotal_workingset_refault_file 8\n")
    assert refaults(roots, parse("4:memory:/lab\n0::/")) == 8


def test_older_kernels_have_one_counter_and_the_oldest_none(roots: Roots) -> None:
    (roots.proc / "vmstat").write_text("workingset_refault 44\n")
    assert refaults(roots, parse("0::/")) == 44
    (roots.proc / "vmstat").write_text("pgmajfault 44\n")
    assert isinstance(refaults(roots, parse("0::/")), Unknown)
    (roots.proc / "vmstat").unlink()
    assert isinstance(refaults(roots, parse("0::/")), Unknown)


def test_it_is_a_rate_in_bytes_and_a_counter_that_went_back_gives_none(roots: Roots) -> None:
    member, looking = parse("0::/"), Rereads()
    assert looking.look(roots, member, 10.0) == {}
    (roots.proc / "vmstat").write_text("workingset_refault_file 1500\n")
    assert looking.look(roots, member, 12.0) == {"server.reread_bytes_per_s": 500.0 * mmap.PAGESIZE}
    (roots.proc / "vmstat").write_text("workingset_refault_file 0\n")
    assert looking.look(roots, member, 14.0) == {}
