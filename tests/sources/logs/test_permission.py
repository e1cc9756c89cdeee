"""A file that a process names as its log is read for it only if it could read the file itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sentinel.files.reader import Reader
from sentinel.files.rights import Ids, Rights
from sentinel.model.entity import Entity
from sentinel.sources.base import SourceFault
from sentinel.sources.logs.file import LogFile

USER, GROUP = 54321, 54322
HERE = Path("/proc")
EVERYBODY = Ids(((0, 1 << 32),))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "x.log"
    path.write_text("secret\n")
    return path


def reads(path: Path, reader: Reader) -> bool:
    try:
        return bool(LogFile(path, Entity("server", "s"), reader=reader).poll(0.0))
    except SourceFault as fault:
        assert "itself may read" in str(fault)
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
@pytest.mark.parametrize(
    ("owner", "group", "mode", "folder", "expected"),
    [
        (USER, 0, 0o600, 0o755, True),
        (USER, 0, 0o044, 0o755, False),
        (0, GROUP, 0o640, 0o755, True),
        (0, GROUP, 0o604, 0o755, False),
        (0, 0, 0o644, 0o755, True),
        (0, 0, 0o640, 0o755, False),
        (0, 0, 0o644, 0o700, False),
        (USER, 0, 0o600, 0o711, True),
    ],
)
def test_owner_and_mode_decide_for_the_file_and_its_folders(
    log: Path, owner: int, group: int, mode: int, folder: int, expected: bool
) -> None:
    os.chown(log, owner, group)
    log.chmod(mode)
    log.parent.chmod(folder)
    assert reads(log, Reader(HERE / "none", Rights(USER, frozenset({GROUP})))) is expected
    link = log.parent.parent / "link.log"
    link.symlink_to(log)
    assert reads(link, Reader(HERE / "none", Rights(USER, frozenset({GROUP})))) is expected
    assert reads(log, Reader(HERE / "none", Rights(0, frozenset(), EVERYBODY, EVERYBODY)))


@pytest.mark.parametrize(
    ("said", "user", "over"),
    [
        # su(1), passwd(1) as whoever started them sees them
        ("Uid: 1001 0 0 0\nGid: 1001 1001 1001 1001\nCapEff: 1ff\n", 1001, False),
        # a program whose file has capabilities
        ("Uid: 1001 1001 1001 1001\nGid: 1001 1001 1001 1001\nCapEff: 2\nCapAmb: 0\n", 1001, False),
        # a unit with AmbientCapabilities=
        ("Uid: 1001 1001 1001 1001\nGid: 1001 1001 1001 1001\nCapEff: 2\nCapAmb: 2\n", 1001, True),
        ("Uid: 0 0 0 0\nGid: 0 0 0 0\nCapEff: 1ff\n", 0, True),
        # root's, that has given up what it may
        ("Uid: 0 1001 1001 1001\nGid: 0 1001 1001 1001\nCapEff: 0\n", 1001, False),
    ],
)
def test_a_program_with_more_rights_than_its_user_has_reads_as_its_user(said: str, user: int, over: bool) -> None:
    """A server that had named a log of root's went on as su, in the same process."""
    rights = Rights.kept(said, same_users=True)
    assert (rights.user, rights.over_users == EVERYBODY) == (user, over)


def test_a_set_group_id_program_has_the_group_of_whoever_started_it() -> None:
    assert Rights.kept("Uid: 7 7 7 7\nGid: 7 42 42 42\nGroups: 9\n", same_users=True).groups == {7, 9}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_file_that_roots_shell_opened_for_the_process_is_read_and_one_that_it_only_names_is_not(log: Path) -> None:
    log.parent.chmod(0o700)
    log.chmod(0o600)
    with log.open("a") as opened:
        holder = subprocess.Popen(["sleep", "60"], stderr=opened, user=USER, group=GROUP, extra_groups=[])
    try:
        reader = Reader.of(HERE, holder.pid)
        assert reader.user == USER
        assert reads(log, reader)
        log.rename(f"{log}.1")
        log.write_text("another\n")
        log.chmod(0o600)
        assert not reads(log, reader)
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_file_opened_by_its_name_alone_is_not_held(log: Path) -> None:
    """O_PATH needs no right to read."""
    log.chmod(0o600)
    named = os.open(log, os.O_PATH)
    holder = subprocess.Popen(["sleep", "60"], pass_fds=[named], user=USER, group=GROUP, extra_groups=[])
    try:
        assert not reads(log, Reader.of(HERE, holder.pid))
    finally:
        os.close(named)
        holder.kill()
        holder.wait()


def test_a_process_that_is_gone_may_read_what_all_may() -> None:
    assert Reader.of(HERE, 99_999_999).user == -1
