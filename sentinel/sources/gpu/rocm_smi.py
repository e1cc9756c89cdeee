"""rocm-smi or amd-smi as a slow cross-check of sysfs: every half hour, because each run costs 95 ms of CPU and 27 MB (5.2.3).
If sysfs shows no GPU although ROCm's device file exists, it runs every 40 to 55 seconds instead.

Keys and their meaning changed with every ROCm release; values are text; exit code 0 proves nothing (rocm_smi.py forces it).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence

from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Reading, Samples
from sentinel.sources.base import NotHere
from sentinel.sources.fs import Roots, read_text
from sentinel.sources.gpu import amd_smi
from sentinel.sources.gpu.amdgpu import AmdDevice, amd_gpus
from sentinel.sources.gpu.smi_tool import address, ask, document, number
from sentinel.sources.gpu_nodes import kfd_node

_ARGUMENTS = ("--showbus", "--showid", "--showuse", "--showpower", "--showmeminfo", "vram", "gtt", "--json")
_CARD = re.compile(r"card\d+\Z")
#: keys by signal, newest first; one of them is present unless the read failed
_KEYS: Mapping[str, tuple[str, ...]] = {
    "gpu.smi_vram_total_bytes": ("VRAM Total Memory (B)",),
    "gpu.smi_vram_used_bytes": ("VRAM Total Used Memory (B)",),
    "gpu.smi_busy_percent": ("GPU use (%)",),
    "gpu.smi_power_watts": ("Average Graphics Package Power (W)", "Current Socket Graphics Package Power (W)"),
}
_BUSY = ("gpu.smi_busy_percent",)
#: More frequent runs would load the SMU; its maintainers say the tool is not a monitor.
_LEAST_PAUSE = 30.0
#: Between runs when nothing else reads the GPUs; sampled values have a max age of a minute.
_ALONE_PAUSE = 40.0


def parse(stdout: str) -> dict[str, dict[str, Value | Unknown]]:
    """Signals by PCI address, or by rocm-smi's own ``cardN`` if it shows none (its N is not the kernel's).

    Warnings ahead of the JSON are skipped. Raises NotHere for an empty answer, SourceFault for one that is not JSON.
    """
    answer = document(stdout, "rocm-smi", "{")
    found: dict[str, dict[str, Value | Unknown]] = {}
    for card, keys in answer.items():
        if _CARD.match(card) and isinstance(keys, dict):
            found[address(keys.get("PCI Bus", "")) or card] = _signals(card, keys)
    return found


def _signals(card: str, keys: Mapping[str, object]) -> dict[str, Value | Unknown]:
    values: dict[str, Value | Unknown] = {}
    for name, candidates in _KEYS.items():
        values[name] = Unknown(f"rocm-smi shows no {candidates[0]!r} for {card}: the read failed, or the GPU is suspended")
        for key in candidates:
            found = number(keys.get(key))
            if found is not None:
                values[name] = int(found) if name.endswith("_bytes") else found
                break
    if values["gpu.smi_busy_percent"] == 0 and all(isinstance(v, Unknown) for n, v in values.items() if n not in _BUSY):
        # A suspended GPU reads as idle, and nothing else of it can be read (RX 6600, rocm-smi 6.x).
        values["gpu.smi_busy_percent"] = Unknown(f"rocm-smi shows 0 % for {card} and nothing else: the GPU is suspended")
    return values


class RocmSmi:
    """Polled; Samples of the GPUs, as long as there is an AMD GPU and one of the tools."""

    name = "rocm_smi"
    #: How often to check whether a run is due.
    interval = 15.0
    blocking = True

    def __init__(
        self,
        roots: Roots | None = None,
        binary: str = "rocm-smi",
        timeout: float = 10.0,
        *,
        pause: float = 1800.0,
        other: str = "amd-smi",
    ) -> None:
        self._roots = Roots() if roots is None else roots
        self._binary, self._other, self._timeout, self._pause = binary, other, timeout, pause
        self._last: float | None = None

    def poll(self, at: float) -> Sequence[Reading]:
        """Run it once; nothing if the last run is recent or a GPU is suspended. Raises NotHere, SourceFault."""
        known = amd_gpus(self._roots)
        if not known and not kfd_node(self._roots).exists():
            raise NotHere("no GPU is run by the amdgpu driver, so there is nothing to ask rocm-smi for")
        rocm, amd = shutil.which(self._binary), shutil.which(self._other)
        if rocm is None and amd is None:
            raise NotHere(f"{self._binary} and {self._other} are not installed: sysfs is read without them")
        pause = max(self._pause if known else _ALONE_PAUSE, _LEAST_PAUSE)
        if self._last is not None and at - self._last < pause:
            return []
        if any(_asleep(gpu) for gpu in known):
            # the tools would wake it
            return []
        self._last = at
        if rocm is not None:
            found = parse(ask(rocm, _ARGUMENTS, self._timeout))
        else:
            # two runs within the time limit of one
            found = amd_smi.read(str(amd), self._timeout / 2)
        readings: list[Reading] = []
        gpus = [one.address for one in known]
        for name, values in found.items():
            # without an address a GPU can be identified only if it is the only one
            gpu = name if name in gpus or (not gpus and address(name)) else gpus[0] if _single(gpus, name) else ""
            if gpu:
                readings.append(Samples(at, self.name, Entity("gpu", gpu), values if gpus else _alone(values)))
        return readings


def _single(gpus: Sequence[str], name: str) -> bool:
    return len(gpus) == 1 and not address(name)


def _asleep(gpu: AmdDevice) -> bool:
    try:
        return read_text(gpu.device / "power/runtime_status", 64) in ("suspended", "suspending")
    except OSError:
        return False


def _alone(values: Mapping[str, Value | Unknown]) -> dict[str, Value | Unknown]:
    """The same under the signal names of the sysfs source, which reads nothing here."""
    return {**values, "gpu.vendor": "amd"} | {name.replace(".smi_", "."): value for name, value in values.items()}
