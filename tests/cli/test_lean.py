"""The daemon loads what it uses: what a library brings along and nobody needs stays out of its memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_LOADED = """
import sentinel.cli.run, json, sys
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
"""
_LATER = """
import sentinel.cli.run
import ssl, hashlib, asyncio
print(hashlib.sha256(b"").hexdigest()[:8], hashlib.blake2b(b"", digest_size=4).hexdigest())
print(ssl.create_default_context() is not None)
"""


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return set(json.loads(_python(_LOADED)))


@pytest.mark.parametrize("module", ["ssl", "_ssl", "_hashlib", "rich", "cel.cli", "prompt_toolkit", "pygments"])
def test_the_daemon_does_not_load(loaded: set[str], module: str) -> None:
    assert module not in loaded


def test_what_was_held_back_can_still_be_loaded() -> None:
    """A library that needs TLS finds it, and Python's own hashes give what OpenSSL's gave."""
    assert _python(_LATER).split() == ["e3b0c442", "1271cf25", "True"]
