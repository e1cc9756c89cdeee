"""amd-smi's JSON: a list of GPUs in ROCm 6, wrapped in an object with ``gpu_data`` in 7; GPUs are identified by number.

Leaves are {"value", "unit"}, a bare number or the text N/A; whole blocks can be N/A too (amdsmi_cli/amdsmi_commands.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sentinel.model.entity import Unknown, Value
from sentinel.sources.gpu.smi_tool import address, ask, document, number

_METRICS = ("metric", "--mem-usage", "--usage", "--power", "--json")
#: signal -> block and key
_KEYS: Mapping[str, tuple[str, str]] = {
    "gpu.smi_vram_total_bytes": ("mem_usage", "total_vram"),
    "gpu.smi_vram_used_bytes": ("mem_usage", "used_vram"),
    "gpu.smi_busy_percent": ("usage", "gfx_activity"),
    "gpu.smi_power_watts": ("power", "socket_power"),
}
#: MB is MiB here: 196288 "MB" are an MI300X's 205 GB
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def read(binary: str, timeout: float) -> dict[str, dict[str, Value | Unknown]]:
    """Signals by PCI address. Two runs: the metrics identify a GPU by number only. Raises NotHere, SourceFault."""
    names = addresses(ask(binary, ("list", "--json"), timeout))
    return metrics(ask(binary, _METRICS, timeout), names)


def addresses(stdout: str) -> dict[int, str]:
    """PCI addresses by amd-smi's number of the GPU, from ``amd-smi list --json``."""
    return {number_: bdf for number_, gpu in _gpus(stdout) if (bdf := address(gpu.get("bdf", "")))}


def metrics(stdout: str, names: Mapping[int, str]) -> dict[str, dict[str, Value | Unknown]]:
    """Signals by PCI address, or by ``cardN`` if the list lacks the GPU. Raises NotHere, SourceFault."""
    found: dict[str, dict[str, Value | Unknown]] = {}
    for number_, gpu in _gpus(stdout):
        found[names.get(number_, f"card{number_}")] = {signal: _leaf(gpu, *keys) for signal, keys in _KEYS.items()}
    return found


def _gpus(stdout: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    answer = document(stdout, "amd-smi", "[{")
    rows = answer.get("gpu_data", []) if isinstance(answer, dict) else answer
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("gpu"), int):
            yield row["gpu"], row


def _leaf(gpu: Mapping[str, Any], block: str, key: str) -> Value | Unknown:
    inner = gpu.get(block)
    leaf = inner.get(key) if isinstance(inner, dict) else inner
    value, unit = (leaf.get("value"), leaf.get("unit", "")) if isinstance(leaf, dict) else (leaf, "")
    found = number(value)
    if found is None:
        return Unknown(f"amd-smi shows no {block}.{key}: this GPU does not offer it, or it sleeps")
    if key.endswith("vram"):
        scale = _UNITS.get(str(unit), 1 << 20 if not unit else 0)
        return (
            int(found * scale)
            if scale
            else Unknown(f"amd-smi shows {block}.{key} in {str(unit)[:20]!r}, which is no unit of memory")
        )
    return found
