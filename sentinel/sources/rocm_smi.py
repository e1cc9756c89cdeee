"""rocm-smi as a slow cross-check of sysfs: one run in half an hour, for each costs 95 ms of CPU and 27 MB (measured, 5.2.3).

Keys and their meaning changed with every ROCm release; values are text; an exit code of 0 says nothing (rocm_smi.py forces it).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentinel.model.labels import Entity, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.amdgpu import amd_cards
from sentinel.sources.base import NotHere, SourceFault
from sentinel.sources.roots import Roots

_ARGUMENTS = ("--showbus", "--showid", "--showuse", "--showpower", "--showmeminfo", "vram", "gtt", "--json")
_CARD = re.compile(r"card\d+\Z")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
#: keys by signal, newest first; one of them is there unless the read failed
_KEYS: Mapping[str, tuple[str, ...]] = {
    "gpu.smi_vram_used_bytes": ("VRAM Total Used Memory (B)",),
    "gpu.smi_busy_percent": ("GPU use (%)",),
    "gpu.smi_power_watts": ("Average Graphics Package Power (W)", "Current Socket Graphics Package Power (W)"),
}
#: Runs closer together than this would load the SMU; its maintainers say the tool is no monitor.
_LEAST_PAUSE = 30.0


def parse(stdout: str) -> dict[str, dict[str, Value | Unknown]]:
    """Signals by PCI address, or by rocm-smi's own ``cardN`` where it shows none (its N is not the kernel's).

    Warnings ahead of the JSON are passed over. Raises NotHere for an empty answer, SourceFault for one that is no JSON.
    """
    start = stdout.find("{")
    if not stdout.strip():
        raise NotHere("rocm-smi has nothing to show: the amdgpu driver is not loaded, or no card is visible")
    if start < 0:
        raise SourceFault(f"rocm-smi printed no JSON but: {stdout.strip()[:120]!r}")
    try:
        document, _ = json.JSONDecoder().raw_decode(stdout[start:])
    except (ValueError, RecursionError) as error:
        raise SourceFault(f"rocm-smi printed JSON that cannot be read: {error}") from None
    found: dict[str, dict[str, Value | Unknown]] = {}
    for card, keys in document.items():
        if _CARD.match(card) and isinstance(keys, dict):
            address = str(keys.get("PCI Bus", "")).lower()
            found[address if _ADDRESS.match(address) else card] = _signals(card, keys)
    return found


def _signals(card: str, keys: Mapping[str, object]) -> dict[str, Value | Unknown]:
    values: dict[str, Value | Unknown] = {}
    for name, candidates in _KEYS.items():
        values[name] = Unknown(f"rocm-smi shows no {candidates[0]!r} for {card}: the read failed, or the card is suspended")
        for key in candidates:
            number = _number(keys.get(key))
            if number is not None:
                values[name] = int(number) if name.endswith("_bytes") else number
                break
    return values


def _number(value: object) -> float | None:
    """rocm-smi writes numbers as text, and N/A, unknown or N/A (Secondary die) for those it has not."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e18 else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run printed."""

    stdout: str
    stderr: str
    code: int


def run(binary: str, timeout: float = 10.0) -> Answer:
    """One run. Raises SourceFault when it cannot be started or takes longer than `timeout` seconds.

    It is asked to end before it is killed: the SMI libraries keep locks in /dev/shm that a killed process leaves behind.
    """
    try:
        process = subprocess.Popen(
            [binary, *_ARGUMENTS],
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
            raise SourceFault(f"{binary} gave no answer in {timeout:g} s: the card or its driver may hang") from None
    return Answer(stdout, stderr, process.returncode)


class RocmSmi:
    """Polled; Samples of the cards, for as long as there is an AMD card and the tool."""

    name = "rocm_smi"
    interval = 1800.0
    blocking = True

    def __init__(self, roots: Roots | None = None, binary: str = "rocm-smi", timeout: float = 10.0) -> None:
        self._roots = Roots() if roots is None else roots
        self._binary, self._timeout = binary, timeout
        self._last: float | None = None

    def poll(self, at: float) -> Sequence[Reading]:
        """Run it once; nothing when the last run is under 30 s ago. Raises NotHere, SourceFault."""
        cards = [card.address for card in amd_cards(self._roots)]
        if not cards:
            raise NotHere("no card is run by the amdgpu driver, so there is nothing to ask rocm-smi for")
        binary = shutil.which(self._binary)
        if binary is None:
            raise NotHere(f"{self._binary} is not installed: sysfs is read without it")
        if self._last is not None and at - self._last < _LEAST_PAUSE:
            return []
        self._last = at
        answer = run(binary, self._timeout)
        if answer.code != 0:
            first = (answer.stderr or answer.stdout).strip().partition("\n")[0]
            raise SourceFault(f"{binary} ended with exit code {answer.code}: {first[:200]}")
        readings: list[Reading] = []
        for name, values in parse(answer.stdout).items():
            # without an address a card can be told apart only when there is one
            address = name if name in cards else cards[0] if len(cards) == 1 and _CARD.match(name) else ""
            if address:
                readings.append(Samples(at, self.name, Entity("gpu", address), values))
        return readings
