"""Which temperature limits throttle an AMD GPU, from the binary table ``gpu_metrics``.

Layout: struct gpu_metrics_v1_3 in drivers/gpu/drm/amd/include/kgd_pp_interface.h (Linux 5.14; RDNA1 and later; its successors
keep the offsets). Bits: SMU_THROTTLER_*_BIT in drivers/gpu/drm/amd/pm/swsmu/inc/amdgpu_smu.h.
"""

from __future__ import annotations

import struct
from pathlib import Path

from sentinel.model.entity import Unknown
from sentinel.sources.fs import read_bytes, unread

_HEADER = struct.Struct("<HBB")
_V1_3 = (1, 3)
_SIZE = 120
_STATUS = struct.Struct("<Q")
_STATUS_AT = 112
#: Bits 32 to 47 are temperatures. Power and current limits are normal operation and are ignored.
_SPOTS = {
    32: "gpu", 33: "core", 34: "memory", 35: "edge", 36: "hotspot", 37: "soc", 38: "vr-gfx", 39: "vr-soc", 40: "vr-memory",
    41: "vr-memory", 42: "liquid", 43: "liquid", 44: "vr-hot", 45: "vr-hot", 46: "prochot-cpu", 47: "prochot-gpu",
}  # fmt: skip
#: a table that was never filled in
_NEVER = (1 << 64) - 1


def thermal_limits(path: Path) -> str | Unknown:
    """Sensors whose limit is active, comma separated, empty if none is. One SMU query: not for a suspended GPU."""
    try:
        table = read_bytes(path, 4096)
    except OSError as error:
        return unread(path, error)
    return parse(table)


def parse(table: bytes) -> str | Unknown:
    """Decode the table; Unknown for layouts without these bits (APUs, Instinct, before Linux 5.14)."""
    if len(table) < _HEADER.size:
        return Unknown("gpu_metrics is empty")
    size, form, content = _HEADER.unpack_from(table)
    if (form, content) != _V1_3:
        return Unknown(f"gpu_metrics has layout {form}.{content}, which sentinel does not read")
    if size < _SIZE or len(table) < _SIZE:
        return Unknown(f"gpu_metrics has {min(size, len(table))} bytes, which is too short for layout 1.3")
    (status,) = _STATUS.unpack_from(table, _STATUS_AT)
    if status == _NEVER:
        return Unknown("the firmware does not fill in which limits are active")
    return ",".join(dict.fromkeys(name for bit, name in _SPOTS.items() if status >> bit & 1))
