"""Where a process listens, by the kernel's own files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sockets import kernel

from sentinel.sources.fs import Roots
from sentinel.sources.processes.listening import held_by, holder, only_port, ports, shares_network


def test_the_kernels_own_files_name_the_port_of_this_process() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = ports(Roots(), os.getpid())
        assert found is not None
        assert listener.getsockname()[1] in found
        assert holder(Roots(), listener.getsockname()[1]) == os.getpid()
    assert holder(Roots(), 0) is None
    assert shares_network(Roots(), os.getpid())


def test_a_network_of_its_own_shows_to_a_user_who_may_not_read_its_namespace() -> None:
    """The kernel's own files: `net/dev` of another network namespace is another file, and every user may look at it."""
    command = ["unshare", "--net", "sh", "-c", "echo; cat"] if os.geteuid() == 0 else ["unshare", "-rn", "sh", "-c", "echo; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        if not other.stdout.readline():
            pytest.skip("no network namespace can be made here")
        assert not shares_network(Roots(), other.pid)
        if os.geteuid() == 0:
            code = (
                "import os, sys; os.setuid(65534)\n"
                "one, own = f'/proc/{sys.argv[1]}/net/dev', '/proc/self/net/dev'\n"
                "print(os.stat(one).st_ino == os.stat(own).st_ino, os.access(f'/proc/{sys.argv[1]}/ns/net', os.R_OK))"
            )
            seen = subprocess.run([sys.executable, "-c", code, str(other.pid)], capture_output=True, text=True, check=True)
            assert seen.stdout.split() == ["False", "False"]
        other.stdin.close()


@pytest.mark.parametrize(("listens", "port"), [([9931], 9931), ([], None), ([8080, 9931], None)])
def test_one_port_is_that_of_the_server_and_several_are_none(listens: list[int], port: int | None, tmp_path: Path) -> None:
    assert only_port(kernel(tmp_path, listens), 7) == port


def test_sockets_of_another_user_are_not_guessed(tmp_path: Path) -> None:
    assert ports(Roots(proc=tmp_path), 7) is None
    assert only_port(Roots(proc=tmp_path), 7) is None


@pytest.mark.parametrize(
    ("host", "bound", "held"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.2", "127.0.0.1", False),
    ],
)
def test_who_holds_a_port_already(host: str, bound: str, held: bool) -> None:
    with socket.create_server((bound, 0)) as server:
        port = server.getsockname()[1]
        said = held_by(Roots(), host, port, 1)
        assert bool(said) is held
        if held:
            assert said is not None and said.endswith(f"(process {os.getpid()})")
        assert held_by(Roots(), host, port, os.getpid()) == (None if held else ""), "its own socket is nobody else's"
    assert held_by(Roots(), host, port, 1) == ""
