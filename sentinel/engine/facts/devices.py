"""The GPUs that a server's log names, joined: which of them holds weights, and which should hold none. Pure.

The lines come one by one: the backend's own list (with `uma` for integrated graphics), llama.cpp's list, the devices the model is
placed on, and how much of it lies where. The table is kept as one text among the facts, so that it is in the checkpoint and is
dropped with the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sentinel.model.entity import Unknown, Value
from sentinel.model.input_limits import MOST_DEVICES

TABLE = "server.gpu_table"
BACKENDS = "server.backends_loaded"
#: lines that contribute to the table
TAKEN = frozenset(
    {"gpu_device", "device_list", "device_listed", "device_used", "gpu_weights", "gpu_error_place", "backend_loaded"}
    | {"buffer_alloc_failed", "weights_alloc_failed"}
)

#: Not GPUs, although llama.cpp lists them as devices.
_NO_GPU = re.compile(r"(?:CPU|BLAS|AMX|HBM|ZenDNN|KleidiAI|RPC)")
_NAME = re.compile(r"[A-Za-z]+(?P<number>\d+)\Z")
#: Driver names of integrated graphics. AMD: the bare name, three digits with an M (610M, 680M, 780M, 890M), 8040S to 8060S, Vega
#: with its count of units; their chips. Intel: UHD, Iris, HD, and Graphics without the letter and number of a discrete GPU.
_INTEGRATED = re.compile(
    r"Radeon(?:\(TM\)|™)? (?:Graphics|\d{3}M|80\d0S|Vega (?:[1-9]|1[01]))\b"
    r"|RADV (?:RAVEN|PICASSO|RENOIR|LUCIENNE|CEZANNE|BARCELO|REMBRANDT|RAPHAEL|MENDOCINO|PHOENIX|HAWK|STRIX|KRACKAN)"
    r"|gfx(?:90[2c]|103[56]|1103|115\d)\b"
    r"|Intel.*\b(?:UHD|Iris|HD)\b|Intel\(R\) (?:Arc\(TM\) )?(?:Graphics|1[34]0[TV])\b",
    re.IGNORECASE,
)
#: Mesa also gives the bare name to discrete GPUs that it does not know yet; the chip name distinguishes them.
_CARD = re.compile(r"NAVI|gfx(?:10[13][0-4]|110[0-2]|12\d\d)\b", re.IGNORECASE)
#: Vulkan drivers that are the processor, and give all of the RAM as their memory.
_SOFTWARE = re.compile(r"llvmpipe|SwiftShader", re.IGNORECASE)
#: Below this a device holds a context and no layers. Bytes.
_HOLDS = 64 << 20
#: A GPU with less than a quarter of the largest one's memory, and less than this, slows the others more than it helps.
_SMALL = 5 << 30


@dataclass(frozen=True, slots=True)
class LoggedDevice:
    """A GPU as far as the log has named it; sizes in bytes, 0 if not printed. `free`: before the load; -1 if not printed."""

    description: str = ""
    integrated: bool = False
    memory: int = 0
    weights: int = 0
    free: int = -1


def learn(event: str, fields: Mapping[str, Value], before: Mapping[str, Value]) -> dict[str, Value | Unknown]:
    """Facts from a line of TAKEN. `before`: the values of TABLE and BACKENDS, if there are any."""
    if event == "backend_loaded":
        names = [name for name in str(before.get(BACKENDS, "")).split(",") if name]
        name = str(fields["backend"])
        # A process prints each once: the second time it is another process.
        return {BACKENDS: ",".join([*([] if name in names else names), name][:MOST_DEVICES])}
    if event == "device_list":
        return {} if TABLE in before else {TABLE: write({})}
    if event == "device_listed" and fields["device"] == "CPU" and TABLE not in before:
        # The last row of a list whose beginning is not in this log: the rows before it may have been GPUs.
        return {}
    table = read(str(before.get(TABLE, "")))
    if event == "gpu_device" and _used(table):
        table = {}
    if event == "gpu_error_place":
        return _blamed(table, fields)
    if event in ("buffer_alloc_failed", "weights_alloc_failed"):
        return _refused(table, fields)
    changed = _with(table, event, fields)
    if changed is None:
        return {}
    if event == "gpu_device":
        # Which of them are used, and whether the list is complete, comes later.
        return {TABLE: write(changed)}
    return {TABLE: write(changed)} | _derived(changed)


def before_start(last: Mapping[str, Value]) -> frozenset[str]:
    """Signals that belong to the run whose first line is here: backends name their devices before it is printed."""
    table = last.get(TABLE)
    return frozenset({TABLE, BACKENDS}) if table is None or not _used(read(str(table))) else frozenset()


def _used(table: Mapping[str, LoggedDevice]) -> bool:
    return any(device.weights for device in table.values())


def read(text: str) -> dict[str, LoggedDevice]:
    """Parse the stored table; malformed text gives an empty table."""
    try:
        rows = json.loads(text) if text else {}
        return {str(name): LoggedDevice(str(row[0]), bool(row[1]), *map(int, row[2:5])) for name, row in rows.items()}
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}


def write(table: Mapping[str, LoggedDevice]) -> str:
    """The table as one text."""
    rows = {name: [d.description, int(d.integrated), d.memory, d.weights, d.free] for name, d in table.items()}
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _with(table: dict[str, LoggedDevice], event: str, fields: Mapping[str, Value]) -> dict[str, LoggedDevice] | None:
    """The table with what one line says of one device; None if it is not a GPU of this machine."""
    if event == "gpu_device":
        name = f"{_api(fields)}{fields['number']}"
    else:
        name = str(fields["device"])
    if event == "device_listed" and name == "CPU":
        # The last row of the list: ignored if no other row came before it.
        return table
    if _NO_GPU.match(name) or not _NAME.match(name) or (name not in table and len(table) >= MOST_DEVICES):
        return None
    known = table.get(name, LoggedDevice())
    description = str(fields.get("description", "")).strip()[:80]
    code = str(fields.get("code", ""))
    if description and code.startswith("gfx") and code not in description:
        description = f"{description}, {code}"
    if len(description) < len(known.description):
        description = known.description
    if "uma" in fields:
        integrated = fields["uma"] == 1
    elif name.startswith("Vulkan") and known.description:
        # The driver's own flag, or what the name showed before.
        integrated = known.integrated
    else:
        integrated = _INTEGRATED.search(description) is not None and _CARD.search(description) is None
    memory = max(known.memory, _size(fields.get("memory")), _size(fields.get("total")))
    weights = max(known.weights, _size(fields.get("size"))) if event == "gpu_weights" else known.weights
    free = _size(fields["free"]) if "free" in fields else known.free
    found = replace(known, description=description, integrated=integrated, memory=memory, weights=weights, free=free)
    return {**table, name: found}


def _api(fields: Mapping[str, Value]) -> str:
    """The prefix that llama.cpp puts before the number: ggml-cuda.cu prints one list for ROCm and CUDA."""
    if "uma" in fields:
        return "Vulkan"
    text = f"{fields.get('code', '')} {fields.get('description', '')}"
    return "ROCm" if re.search(r"gfx|AMD|Radeon|Instinct", text) else "CUDA"


def _size(value: Value | None) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _derived(table: Mapping[str, LoggedDevice]) -> dict[str, Value | Unknown]:
    """The signals that rules read, from the table."""
    gpus = {name: device for name, device in table.items() if not _SOFTWARE.search(device.description)}
    holding = {name: device for name, device in gpus.items() if device.weights >= _HOLDS}
    real = {name: device for name, device in holding.items() if not device.integrated}
    largest = max((device.memory for device in gpus.values() if not device.integrated), default=0)
    small = {
        name: device
        for name, device in real.items()
        if 0 < device.memory < _SMALL and 4 * device.memory <= largest and any(o.memory == largest for o in real.values())
    }
    integrated = {name: device for name, device in holding.items() if device.integrated} if real else {}
    unwanted = integrated or small
    wanted = {name: device for name, device in real.items() if name not in unwanted}
    values: dict[str, Value | Unknown] = {
        "server.gpus_listed": len(table),
        "server.gpus_integrated": bool(table) and all(device.integrated for device in table.values()),
        "server.gpu_unwanted": ", ".join(f"{name} ({device.description})" for name, device in unwanted.items()),
        "server.gpu_unwanted_integrated": bool(integrated),
        "server.gpu_unwanted_bytes": sum(device.weights for device in unwanted.values()),
        "server.gpu_wanted": ",".join(wanted),
        "server.gpu_wanted_numbers": ",".join(_NAME.match(name)["number"] for name in wanted if _NAME.match(name)),  # type: ignore[index]
    }
    room = sum(device.memory for device in wanted.values())
    if unwanted and all(device.memory for device in wanted.values()):
        # A twelfth for the cache and the compute buffers.
        values["server.gpu_fits_without"] = 1.08 * sum(device.weights for device in holding.values()) < room
    return values


def _blamed(table: Mapping[str, LoggedDevice], fields: Mapping[str, Value]) -> dict[str, Value | Unknown]:
    """The device on which the GPU runtime failed; it prints only a number, of one runtime at a time."""
    number = fields.get("device")
    rows = {
        name: device
        for name, device in table.items()
        if (match := _NAME.match(name)) and match["number"] == str(number) and name.startswith(("ROCm", "CUDA", "MUSA"))
    }
    if len(rows) != 1:
        return {}
    name, device = next(iter(rows.items()))
    others = [other for other, row in table.items() if other != name and not row.integrated and other[:4] == name[:4]]
    return {
        "server.gpu_error_device": f"{name} ({device.description})",
        "server.gpu_error_integrated": device.integrated and bool(others),
        "server.gpu_error_odd": bool(others) and all(table[other].description != device.description for other in others),
        "server.gpu_wanted": ",".join(others),
        "server.gpu_wanted_numbers": ",".join(_NAME.match(other)["number"] for other in others if _NAME.match(other)),  # type: ignore[index]
    }


def _refused(table: Mapping[str, LoggedDevice], fields: Mapping[str, Value]) -> dict[str, Value | Unknown]:
    """The device that refused a buffer, with what the log gave as free there before the load."""
    if "device" not in fields:
        return {}
    name = str(fields["device"])
    device = table.get(name, LoggedDevice())
    unsaid = Unknown(f"the log does not say how much was free on {name:.40}")
    return {
        "server.refused_device": name,
        "server.refused_device_free_bytes": device.free if device.free >= 0 else unsaid,
        "server.refused_device_total_bytes": device.memory or unsaid,
    }
