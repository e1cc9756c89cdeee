"""Pages that come back after they were dropped, of the right group, as a rate."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from sentinel.model.entity import Unknown
from sentinel.sources.fs import Roots
from sentinel.sources.processes.cgroup import Membership, parse
from sentinel.sources.processes.refaults import Refaults, refaults


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


PID = 77


def procs(roots: Roots, path: str, *pids: int) -> None:
    (roots.sys / "fs/cgroup" / path).mkdir(parents=True, exist_ok=True)
    (roots.sys / "fs/cgroup" / path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def reads(roots: Roots, count: int) -> None:
    (roots.proc / str(PID)).mkdir(exist_ok=True)
    (roots.proc / str(PID) / "io").write_text(f"rchar: 9\nread_bytes: {count}\nwrite_bytes: 7\n")


def rate(roots: Roots, member: Membership, own: int | None) -> object:
    """1000 pages come back to the group in two seconds, while the process reads `own` bytes from disks; None: unreadable."""
    looking = Refaults()
    for at, pages, read in ((10.0, 500, 0), (12.0, 1500, own)):
        group(roots, member.path.strip("/"), f"workingset_refault_file {pages}\n")
        if own is not None:
            reads(roots, read or 0)
        told = looking.look(roots, member, PID, at)
    return told["server.refault_bytes_per_s"]


def test_it_is_a_rate_in_bytes_and_a_counter_that_went_back_gives_none(roots: Roots) -> None:
    member, looking = parse("0::/a.service"), Refaults()
    procs(roots, "a.service", PID)
    group(roots, "a.service", "workingset_refault_file 500\n")
    assert looking.look(roots, member, PID, 10.0) == {}
    group(roots, "a.service", "workingset_refault_file 1500\n")
    assert looking.look(roots, member, PID, 12.0) == {"server.refault_bytes_per_s": 500.0 * mmap.PAGESIZE}
    group(roots, "a.service", "workingset_refault_file 0\n")
    assert looking.look(roots, member, PID, 14.0) == {}


def test_what_others_of_its_group_read_again_is_not_counted_as_its_own(roots: Roots) -> None:
    """A backup in the same session, the same container, or a group below."""
    member = parse("0::/session-2.scope")
    procs(roots, "session-2.scope", PID, 4711)
    assert rate(roots, member, own=0) == 0.0
    assert rate(roots, member, own=8192) == 4096.0
    assert rate(roots, member, own=1 << 40) == 500.0 * mmap.PAGESIZE, "no more than came back"
    procs(roots, "session-2.scope", PID)
    procs(roots, "session-2.scope/below", 4711)
    assert rate(roots, member, own=0) == 0.0


def test_beside_others_it_is_unknown_where_its_own_reads_are(roots: Roots) -> None:
    member = parse("0::/session-2.scope")
    procs(roots, "session-2.scope", PID, 4711)
    told = rate(roots, member, own=None)
    assert isinstance(told, Unknown)
    assert "others are in its control group" in told.why
    assert "/77/io" in told.why
    procs(roots, "session-2.scope", PID)
    assert rate(roots, member, own=None) == 500.0 * mmap.PAGESIZE, "alone, the group's are its own"


def test_the_machine_is_shared_with_everybody(roots: Roots) -> None:
    member, looking = parse("0::/"), Refaults()
    reads(roots, 0)
    assert looking.look(roots, member, PID, 10.0) == {}
    (roots.proc / "vmstat").write_text("workingset_refault_file 1500\n")
    reads(roots, 4096)
    assert looking.look(roots, member, PID, 12.0) == {"server.refault_bytes_per_s": 2048.0}
