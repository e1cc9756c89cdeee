"""`sentinel top` in a real terminal, tmux, against the real daemon: it says that the daemon is gone, and comes back with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import REPO, Sentinel, wait_for

pytest.importorskip("textual", reason="needs the extra: pip install 'llama-sentinel[top]'")
pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux (apt-get install tmux)")

SPEED = "slot print_timing: id  0 | task 7 |        eval time =    1184.74 ms /    40 tokens (   30.38 ms per token,    32.92 tokens per second)\n"  # noqa: E501
RELEASE = "slot      release: id  0 | task 7 | stop processing: n_tokens = 63, truncated = 0\n"


class Terminal:
    """A terminal of a tmux of its own."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux"

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout

    def run(self, command: str, columns: int, rows: int) -> None:
        self.tmux("new-session", "-d", "-s", "t", "-x", str(columns), "-y", str(rows), f"{command}; echo left with $?; sleep 600")

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t")

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "t", *keys)

    def shows(self, *words: str, within: float = 30.0) -> str:
        wait_for(lambda: all(word in self.screen() for word in words), lambda: f"{words} in\n{self.screen()}", within)
        return self.screen()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    yield made
    made.tmux("kill-server")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sentinel]:
    (tmp_path / "server.log").touch()
    sentinel = Sentinel(tmp_path, f"discover = false\n[[server]]\nname = 'mine'\nlog = '{tmp_path / 'server.log'}'").start()
    yield sentinel
    assert sentinel.process is not None
    if sentinel.process.poll() is None:
        sentinel.end()


@pytest.mark.parametrize("more", ["", "NO_COLOR=1 TERM=xterm"], ids=["colour", "without colour"])
def test_it_shows_the_daemon_says_when_it_is_gone_and_comes_back_with_it(daemon: Sentinel, terminal: Terminal, more: str) -> None:
    with (daemon.folder / "server.log").open("a") as log:
        log.write(SPEED + RELEASE)
    language = "" if "UTF-8" in os.environ.get("LC_ALL", "") else "LC_ALL=C.UTF-8 "
    command = f"{language}{more} {sys.executable} -m sentinel top --socket {daemon.socket}"
    terminal.run(f"cd {REPO}; env {command}", 80, 24)
    terminal.shows("sentinel", "mine", "32.9", "open alert", "q quit")
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    terminal.shows("NO DAEMON", "mine")
    daemon.start()
    wait_for(lambda: "NO DAEMON" not in terminal.screen(), terminal.screen, 30)
    terminal.press("h")
    terminal.shows("sentinel alerts --since 24h", "escape close")
    terminal.press("Escape")
    terminal.shows("mine", "q quit")
    terminal.press("q")
    terminal.shows("left with 0")
