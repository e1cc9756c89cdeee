"""Whose a connection is, by the kernel's account."""

from __future__ import annotations

import os
import socket

import pytest

from sentinel.web.peers import whose


@pytest.mark.parametrize(
    ("listens", "comes"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("::", "127.0.0.1")]
)
def test_on_this_machine_it_is_a_users(listens: str, comes: str) -> None:
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    try:
        listener = socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::")
    except OSError as error:
        pytest.skip(f"cannot listen on {listens}: {error}")
    with listener, socket.create_connection((comes, listener.getsockname()[1])):
        taken, _ = listener.accept()
        with taken:
            assert whose(taken) == os.geteuid()


def test_a_connection_whose_other_end_is_closed_is_nobodys() -> None:
    """The kernel gives such a socket to root."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        taken, _ = listener.accept()
        client.close()
        with taken:
            assert taken.recv(1) == b""
            assert whose(taken) < 0


@pytest.mark.root
def test_it_is_the_user_of_the_socket_and_not_of_the_listener() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        os.fchown(client.fileno(), 61802, 61802)
        client.connect(listener.getsockname())
        taken, _ = listener.accept()
        with taken:
            assert whose(taken) == 61802
