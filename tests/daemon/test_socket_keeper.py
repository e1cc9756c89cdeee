"""The daemon's socket comes back when somebody removed it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket as sockets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentinel.api import client
from sentinel.api.event_stream import Broadcaster
from sentinel.api.server import ApiServer
from sentinel.api.socket import SocketInUse
from sentinel.daemon import systemd
from sentinel.daemon.clock import Clock
from sentinel.daemon.config import Config
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.socket_keeper import Listening
from sentinel.daemon.supervisor import Supervisor


def build(socket: Path) -> tuple[Listening, ApiServer, Supervisor]:
    api = ApiServer({("GET", "/v1/status"): lambda _request: {"well": True}}, Broadcaster(), on_bug=lambda _error: None)
    supervisor = Supervisor(Inbox(), Clock(), ThreadPoolExecutor(1))
    return Listening(Config(None, socket.parent, socket), api, supervisor), api, supervisor


async def answers(socket: Path) -> bool:
    try:
        status, _ = await asyncio.to_thread(client.get, "/v1/status", (socket,))
    except client.DaemonUnreachable:
        return False
    return status == 200


def test_a_socket_whose_folder_was_removed_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    socket = tmp_path / "run" / "s.sock"

    async def story() -> None:
        listening, api, _ = build(socket)
        await listening.begin()
        await listening.watch()
        assert await answers(socket)
        shutil.rmtree(socket.parent)
        assert not await answers(socket)
        await listening.watch()
        assert await answers(socket)
        await listening.watch()
        await api.close()
        listening.close()
        assert not socket.exists()

    asyncio.run(story())
    assert capsys.readouterr().out.count("was removed; sentinel listens on it again") == 1


def test_a_socket_that_another_daemon_took_over_is_left_to_it_and_reported(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "s.sock"

    async def story() -> None:
        first, first_api, supervisor = build(socket)
        await first.begin()
        shutil.rmtree(socket.parent)
        second, second_api, _ = build(socket)
        await second.begin()
        await first.watch()
        assert supervisor.state("socket").health == "failed"
        assert "another sentinel already answers" in supervisor.state("socket").why
        first.close()
        assert await answers(socket)
        await first_api.close()
        await second_api.close()
        second.close()

    asyncio.run(story())


def test_a_place_that_cannot_be_written_is_reported_and_tried_again(tmp_path: Path) -> None:
    """And one that belongs to another daemon ends the start."""
    (tmp_path / "run").write_text("a file in the way")
    socket = tmp_path / "run" / "s.sock"

    async def story() -> None:
        listening, api, supervisor = build(socket)
        await listening.begin()
        assert "cannot listen on" in supervisor.state("socket").why
        (tmp_path / "run").unlink()
        supervisor.state("socket").retry_at = 0.0
        await listening.watch()
        assert await answers(socket)
        other, _, _ = build(socket)
        with pytest.raises(SocketInUse):
            await other.begin()
        await api.close()
        listening.close()

    asyncio.run(story())


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_others_may_write_gets_no_socket(tmp_path: Path, mode: int) -> None:
    """Whoever may write it could answer in sentinel's place, or hold the lock: it is said, and tried again."""
    socket = tmp_path / "run" / "s.sock"
    socket.parent.mkdir()
    socket.parent.chmod(mode)

    async def story() -> None:
        listening, api, supervisor = build(socket)
        await listening.begin()
        assert f"not listening on {socket}: others than root and you may write {socket.parent}" in supervisor.state("socket").why
        assert list(socket.parent.iterdir()) == []
        socket.parent.chmod(0o755)
        supervisor.state("socket").retry_at = 0.0
        await listening.watch()
        assert await answers(socket)
        await api.close()
        listening.close()

    asyncio.run(story())


@pytest.mark.root
def test_a_folder_of_another_user_gets_no_socket(tmp_path: Path) -> None:
    """Nor one that is reached through his."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    socket = tmp_path / "his" / "run" / "s.sock"
    socket.parent.mkdir(parents=True)
    os.chown(tmp_path / "his", 61802, 61802)

    async def story() -> None:
        listening, _, supervisor = build(socket)
        await listening.begin()
        assert f"{tmp_path / 'his'} belongs to another user (61802)" in supervisor.state("socket").why
        assert list(socket.parent.iterdir()) == []

    asyncio.run(story())


def test_a_socket_of_systemd_that_was_removed_is_reported_and_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only systemd can make it again, and the sentence says how; the daemon puts none of its own in its place."""
    path = tmp_path / "run" / "s.sock"
    path.parent.mkdir()

    def made() -> sockets.socket:
        passed = sockets.socket(sockets.AF_UNIX)
        passed.bind(str(path))
        passed.listen()
        return passed

    async def story() -> None:
        monkeypatch.setattr(systemd, "listen_fds", lambda: (made(),))
        listening, api, supervisor = build(path)
        await listening.begin()
        await listening.watch()
        assert await answers(path)
        assert "socket" not in supervisor.states
        path.unlink()
        await listening.watch()
        assert supervisor.state("socket").health == "failed"
        assert "sudo systemctl restart sentinel.socket sentinel makes it again" in supervisor.state("socket").why
        assert not path.exists()
        with made():
            await listening.watch()
        assert supervisor.state("socket").health == "up"
        await api.close()
        listening.close()
        assert path.exists()

    asyncio.run(story())
