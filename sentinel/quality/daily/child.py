"""One child process at a time: started, looked at without waiting, ended where it takes too long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

#: An answer of the child has 3 kB.
_MOST_BYTES = 64 << 10
#: Three passes on a server that reads 20 tokens a second take twelve minutes.
_LONGEST = 3600.0
_MODULE = "sentinel.quality.daily.errand"


class NoChild(Exception):
    """It could not be started. The text says why."""


class Child:
    """Runs `errand` with an order. Raises NoChild."""

    def __init__(self, order: object, descriptors: Sequence[int] = (), *, words: Sequence[str] = ()) -> None:
        self._until = time.monotonic() + _LONGEST
        command = [sys.executable, "-P", "-m", _MODULE, *words]
        try:
            # Its standard error is ours: a bug of it is a traceback in the journal.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors, cwd="/", bufsize=0
            )
        except (OSError, ValueError) as error:
            raise NoChild(f"the check could not be started: {error}") from error
        assert self._process.stdin is not None
        # A pipe takes 64 KiB at once, and an order has less.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode())
        self._process.stdin.close()

    def said(self) -> object | None:
        """None while it works; then what it said, or nothing that can be read."""
        if self._process.poll() is None:
            if time.monotonic() > self._until:
                self._process.kill()
            return None
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            try:
                said: object = json.loads(stream.read(_MOST_BYTES))
            except (ValueError, RecursionError):
                return {"why": f"the check ended without an answer (exit code {self._process.returncode})"}
        return said
