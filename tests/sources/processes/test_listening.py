"""Where a process listens, by the kernel's own files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from sockets import kernel

from sentinel.sources.fs import Roots
from sentinel.sources.processes.listening import only_port, ports, shares_network


def test_the_kernels_own_files_name_the_port_of_this_process() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found = ports(Roots(), os.getpid())
        assert found is not None
        assert listener.getsockname()[1] in found
    assert shares_network(Roots(), os.getpid())


@pytest.mark.parametrize(("listens", "port"), [([9931], 9931), ([], None), ([8080, 9931], None)])
def test_one_port_is_that_of_the_server_and_several_are_none(listens: list[int], port: int | None, tmp_path: Path) -> None:
    assert only_port(kernel(tmp_path, listens), 7) == port


def test_sockets_of_another_user_are_not_guessed(tmp_path: Path) -> None:
    assert ports(Roots(proc=tmp_path), 7) is None
    assert only_port(Roots(proc=tmp_path), 7) is None
