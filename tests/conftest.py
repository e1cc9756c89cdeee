"""Shared fixtures: where the recorded corpus is, and how to wait for a condition without sleeping blindly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _no_configuration_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rules and settings that somebody has for a daemon of their own are no part of the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session", autouse=True)
def _programs_can_be_interrupted() -> None:
    """A shell that starts the tests in the background has them, and all that they start, ignore SIGINT (POSIX)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Root of the recorded corpus; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("SENTINEL_CORPUS", REPO.parent / "shared" / "corpus"))
    if not root.is_dir():
        pytest.skip(f"no recorded corpus at {root}; set SENTINEL_CORPUS to its folder")
    return root


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until a condition holds, polling; fails with `what` after `within` seconds."""

    def wait(condition: Callable[[], object], what: str, within: float = 10.0) -> None:
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within:g} s: {what}")
            time.sleep(0.01)

    return wait
