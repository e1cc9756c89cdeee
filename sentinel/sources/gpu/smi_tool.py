"""Runs AMD's command line tools and reads their JSON; shared by rocm-smi and amd-smi."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.sources.base import NotHere, SourceFault

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")


def document(stdout: str, tool: str, opening: str) -> Any:
    """The first JSON value that begins with one of the characters in `opening`; text before and after it is skipped.

    Raises NotHere for an empty answer, which is how both tools report "no driver" with exit code 0; SourceFault without JSON.
    """
    if not stdout.strip():
        raise NotHere(f"{tool} has nothing to show: the amdgpu driver is not loaded, or no GPU is visible")
    starts = [at for at in (stdout.find(character) for character in opening) if at >= 0]
    if not starts:
        raise SourceFault(f"{tool} printed no JSON but: {stdout.strip()[:120]!r}")
    try:
        found, _ = json.JSONDecoder().raw_decode(stdout[min(starts) :])
    except (ValueError, RecursionError) as error:
        raise SourceFault(f"{tool} printed JSON that cannot be read: {error}") from None
    return found


def number(value: object) -> float | None:
    """A number, possibly written as text; None for N/A, unknown, N/A (Secondary die) and the like."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if 0 <= found < 1e18 else None


def address(value: object) -> str:
    """A PCI address in the kernel's form, empty if it is not one."""
    text = str(value).lower()
    return text if _ADDRESS.match(text) else ""


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What one run printed."""

    stdout: str
    stderr: str
    code: int


def run(binary: str, arguments: Sequence[str], timeout: float = 10.0) -> ToolOutput:
    """One run. Raises SourceFault if it cannot be started or takes longer than `timeout` seconds.

    It is terminated before it is killed: the SMI libraries keep locks in /dev/shm that a killed process leaves behind.
    """
    try:
        process = subprocess.Popen(
            [binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SourceFault(f"{binary} cannot be started: {error.strerror}") from None
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):
                # the group may have ended in between
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                try:
                    process.communicate(timeout=2.0)
                    break
                except subprocess.TimeoutExpired:
                    continue
            raise SourceFault(f"{binary} gave no answer in {timeout:g} s: the GPU or its driver may hang") from None
    return ToolOutput(stdout, stderr, process.returncode)


def ask(binary: str, arguments: Sequence[str], timeout: float) -> str:
    """What it printed. Raises SourceFault, also for a nonzero exit code."""
    answer = run(binary, arguments, timeout)
    if answer.code != 0:
        first = (answer.stderr or answer.stdout).strip().partition("\n")[0]
        raise SourceFault(f"{binary} ended with exit code {answer.code}: {first[:200]}")
    return answer.stdout
