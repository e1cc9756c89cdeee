"""Runs a program that was judged safe: no input, no network, a time limit, a bounded output, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sentinel.model.entity import Unknown
from sentinel.model.text import clean
from sentinel.preflight.safe_program import Program

#: Seconds for one call. A GPU driver takes up to two to start; a call that hangs is abandoned.
_PATIENCE = 8.0
_MOST_OUTPUT = 1 << 20
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None)


def run(program: Program, words: Sequence[str], name: str = "") -> tuple[int, str] | Unknown:
    """Exit code and output (both streams). `words` come after the program's own name, which is shown as `name`."""
    # A network namespace belongs to a thread, and is passed on to what that thread starts.
    with ThreadPoolExecutor(1, initializer=_without_network) as thread:
        return thread.submit(_run, program, words, name).result()


def _run(program: Program, words: Sequence[str], name: str) -> tuple[int, str] | Unknown:
    shown = clean(name or program.path)
    try:
        process = subprocess.Popen(
            [name or program.path, *words],
            executable=f"/proc/self/fd/{program.fd}",
            env=program.env,
            # ggml looks for backends in the current folder too (ggml-backend-reg.cpp)
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(program.fd,),
            start_new_session=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Unknown(f"{shown} cannot be run: {getattr(error, 'strerror', None) or error}")
    with process:
        try:
            said = _output(process)
        finally:
            # The group also holds what it has started itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if said is None:
        return Unknown(f"{shown} {words[-1]} gave no answer within {_PATIENCE:g} s: a GPU driver that hangs does that")
    if process.returncode < 0:
        return Unknown(f"{shown} {words[-1]} ended with signal {-process.returncode}")
    return process.returncode, said.decode("utf-8", "replace")


def _without_network() -> None:
    # Refused without CAP_SYS_ADMIN: what would use a network was taken off the command line and the environment anyway.
    _libc.unshare(_CLONE_NEWNET)


def _output(process: subprocess.Popen[bytes]) -> bytes | None:
    """What it printed until it ended, at most so much; None if it did not end in time."""
    assert process.stdout is not None
    until, said = time.monotonic() + _PATIENCE, bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            if not selector.select(min(left, 0.1)):
                if process.poll() is not None:
                    # A child of it may keep the pipe open.
                    return bytes(said)
                continue
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, until - time.monotonic()))
                return bytes(said) if process.returncode is not None else None
            said += part[: _MOST_OUTPUT - len(said)]
    return None
