"""What a process names is opened as that process could open it: its rights, its mounts, its root; regular files only."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sentinel.files.opener import Denied, NotRegular, Opener
from sentinel.files.reader import Reader
from sentinel.files.rights import READ, Ids, Rights

VICTIM, STRANGER = 61803, 61805
PROC = Path("/proc")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users")
STRANGERS = Reader(PROC / "none", Rights(STRANGER, frozenset({STRANGER})))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


def text(opener: Opener, path: Path) -> bytes:
    fd = opener.open(str(path))
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@contextmanager
def process(*command: str, user: int = STRANGER) -> Iterator[Reader]:
    """A process of the user, once it has become the program `sleep`."""
    running = subprocess.Popen(command, user=user, group=user, extra_groups=[])
    try:
        until = time.monotonic() + 20
        while "sleep" not in (PROC / str(running.pid) / "comm").read_text():
            assert running.poll() is None, "it has ended"
            assert time.monotonic() < until
            time.sleep(0.01)
        yield Reader.of(PROC, running.pid)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


@ROOT
def test_a_readable_file_below_a_private_home_is_not_read_however_it_is_reached(place: Path) -> None:
    home = place / "home"
    (home / "logs").mkdir(parents=True)
    secret = home / "logs" / "x.log"
    secret.write_text("secret")
    os.chown(home, VICTIM, VICTIM)
    home.chmod(0o700)
    (place / "link").symlink_to(home / "logs")
    (place / "loop").symlink_to(place / "loop")
    for path in (secret, place / "link" / "x.log", place / "link" / ".." / "logs" / "x.log"):
        with pytest.raises(Denied):
            text(STRANGERS, path)
        with pytest.raises(Denied):
            STRANGERS.status(str(path))
    # Nor whether it is there.
    with pytest.raises(Denied):
        text(STRANGERS, home / "absent")
    with pytest.raises(OSError, match="symbolic links"):
        text(STRANGERS, place / "loop" / "x")
    assert text(Reader(PROC / "none", Rights(VICTIM, frozenset())), secret) == b"secret"


@ROOT
def test_a_mount_namespace_of_its_own_does_not_open_a_private_home(place: Path) -> None:
    home, mine = place / "home", place / "mine"
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "x.log").write_text("secret")
    os.chown(home, VICTIM, VICTIM)
    home.chmod(0o700)
    mine.mkdir()
    os.chown(mine, STRANGER, STRANGER)
    inner = f"mount --rbind {place} {mine} && mkdir -p /tmp/x-{os.getpid()} ; exec sleep 100"
    with process("unshare", "-Urm", "sh", "-c", inner) as reader:
        assert not reader.here
        # What the link leads to is open to all; what is above that is not.
        (place / "deep").symlink_to("mine/home/logs")
        for path in (home / "logs" / "x.log", mine / "home" / "logs" / "x.log", place / "deep" / "x.log"):
            with pytest.raises(Denied):
                text(reader, path)
        with pytest.raises(Denied):
            text(reader, Path(f"{reader.process}/root{mine}/home/logs/x.log"))


@ROOT
def test_what_is_mounted_for_it_alone_is_read(place: Path) -> None:
    (place / "log").mkdir()
    (place / "inside").mkdir()
    (place / "inside" / "x.log").write_text("inside")
    (place / "log" / "x.log").write_text("outside")
    with process("unshare", "-m", "sh", "-c", f"mount --bind {place}/inside {place}/log; exec sleep 100", user=0) as reader:
        assert text(reader, place / "log" / "x.log") == b"inside"
        with reader.folder(str(place / "log" / "x.log")) as folder:
            assert list(folder.names()) == ["x.log"]
        reader_pid = reader.process
    # After its end the path is one of our own namespace.
    assert text(reader, place / "log" / "x.log") == b"outside"
    with pytest.raises(FileNotFoundError):
        text(reader, Path(f"{reader_pid}/root{place}/log/x.log"))


@ROOT
def test_a_path_does_not_leave_its_root_folder(place: Path) -> None:
    if (busybox := shutil.which("busybox")) is None:
        pytest.skip("needs busybox")
    inner = place / "root"
    (inner / "logs").mkdir(parents=True)
    shutil.copy(busybox, inner / "sleep")
    (inner / "link").symlink_to("/logs/../../../../../logs/x.log")
    (inner / "logs" / "x.log").write_text("inside")
    with process("chroot", str(inner), "/sleep", "100", user=0) as reader:
        assert text(reader, Path("/link")) == b"inside"
        with pytest.raises(FileNotFoundError):
            text(reader, Path("/../etc/passwd"))


@ROOT
def test_an_access_control_list_decides_as_in_the_kernel(place: Path) -> None:
    path = place / "x.log"
    path.write_text("x")
    entries = [(0x01, 6, 0xFFFFFFFF), (0x02, 0, STRANGER), (0x02, 4, VICTIM), (0x04, 0, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF)]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in [*entries, (0x20, 4, 0xFFFFFFFF)])
    try:
        os.setxattr(path, "system.posix_acl_access", value)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    for user in (STRANGER, VICTIM, 61899):
        rights = Rights(user, frozenset({user}))
        fd = os.open(path, os.O_PATH)
        mine = rights.may(fd, os.fstat(fd), READ)
        os.close(fd)
        command = ["test", "-r", str(path)]
        kernels = subprocess.run(command, user=user, group=user, extra_groups=[], check=False).returncode == 0
        assert mine == kernels, user


def test_a_capability_counts_for_the_ids_of_its_own_namespace_only(place: Path) -> None:
    path = place / "x.log"
    path.write_text("x")
    path.chmod(0o600)
    fd = os.open(path, os.O_PATH)
    try:
        status = os.fstat(fd)
        own, others = Ids(((os.geteuid(), 1),)), Ids(((70_000, 10),))
        assert Rights(9, frozenset(), own, Ids(((status.st_gid, 1),))).may(fd, status, READ)
        assert not Rights(9, frozenset(), others, others).may(fd, status, READ)
        assert not Rights(9, frozenset(), own, others).may(fd, status, READ)
    finally:
        os.close(fd)


@pytest.mark.parametrize("opener", [Opener(), Reader.of(PROC, os.getpid())])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "a named pipe"),
        (Path.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
    ],
)
def test_what_is_no_regular_file_is_known_before_it_is_opened(
    place: Path, opener: Opener, make: Callable[[Path], None], said: str
) -> None:
    path = place / "x"
    make(path)
    with pytest.raises(NotRegular, match=said):
        opener.open(str(path))
    if said == "a named pipe":
        # Nobody reads it: a writer that was let in by us would be alone now, and end with SIGPIPE.
        with pytest.raises(OSError, match="No such device"):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)


def test_our_own_files_in_proc_are_not_what_a_process_means_by_self() -> None:
    for path in ("/proc/self/environ", "/proc/self/fd/0", "/dev/fd/0", "/dev/stdin"):
        with pytest.raises(OSError, match="/proc"):
            os.close(Reader.of(PROC, os.getpid()).open(path))


@ROOT
def test_a_link_that_somebody_put_into_a_folder_for_all_is_not_followed(place: Path) -> None:
    shared = place / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    secret = place / "victims"
    secret.write_text("secret")
    secret.chmod(0o600)
    os.chown(secret, VICTIM, VICTIM)
    link = shared / "x.log"
    link.symlink_to(secret)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(Denied):
        text(Reader(PROC / "none", Rights(VICTIM, frozenset())), link)
    os.chown(link, VICTIM, VICTIM, follow_symlinks=False)
    assert text(Reader(PROC / "none", Rights(VICTIM, frozenset())), link) == b"secret"


def test_no_descriptor_is_left_open(place: Path) -> None:
    (place / "a").mkdir()
    (place / "a" / "x").write_text("x")
    (place / "l").symlink_to("a/../a/x")
    reader = Reader.of(PROC, os.getpid())
    before = len(os.listdir("/proc/self/fd"))
    for path in ("l", "a/x", "a/none", "none/x", "a"):
        with suppress(OSError, NotRegular):
            text(reader, place / path)
        with suppress(OSError):
            reader.status(str(place / path))
    assert len(os.listdir("/proc/self/fd")) == before
