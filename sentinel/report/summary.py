"""All of a machine in two dozen flat values: what home dashboards can show without a program of their own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.model.text import counted
from sentinel.report.alerts import alerts, is_loud
from sentinel.terminal.glance import used_memory

#: In order of what they cost whoever looks.
_WORST = ("critical", "warning")


def summary(status: Mapping[str, Any], fault: str, host: str) -> dict[str, Any]:
    """`state` is critical, warning, ok or unknown; `text` says it in a sentence. What is not known is null."""
    if fault:
        empty = dict.fromkeys(("servers", "alerts", "critical", "warning", "silenced", "alert", "cause", "fix", "command"))
        return {"host": host, "state": "unknown", "text": fault, **empty, **_numbers({})}
    found, _ = alerts(status["alerts"], ())
    loud = [one for one in found if is_loud(one)]
    first = loud[0] if loud else None
    running = [server for server in status["servers"] if server["running"]]
    said = f"{counted(len(running), 'server')}, no alert" if first is None else first.summary
    more = f" (and {len(loud) - 1} more)" if len(loud) > 1 else ""
    fix = first.fixes[0] if first is not None and first.fixes else None
    return {
        "host": host,
        "state": first.severity if first is not None else "ok",
        "text": said + more,
        "servers": len(running),
        "alerts": len(loud),
        **{severity: sum(one.severity == severity for one in loud) for severity in _WORST},
        "silenced": sum(one.open and one.silenced for one in found),
        "alert": first.rule if first is not None else "",
        "cause": first.cause if first is not None else "",
        "fix": fix.do if fix is not None else "",
        "command": fix.command if fix is not None else "",
        **_numbers(status),
    }


def _numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    used, total = used_memory(status.get("host", {}))
    speeds = [s["generation_tps"] for s in status.get("servers", ()) if s["running"] and s.get("generation_tps") is not None]
    busy = [s["slots_busy"] for s in status.get("servers", ()) if s["running"] and s.get("slots_busy") is not None]
    gpus = [g for g in status.get("gpus", ()) if g.get("vram_used_bytes") is not None and g.get("vram_total_bytes")]
    heat = [g["temp_edge_celsius"] for g in status.get("gpus", ()) if g.get("temp_edge_celsius") is not None]
    return {
        "tokens_per_second": round(sum(speeds), 1) if speeds else None,
        "slots_busy": sum(busy) if busy else None,
        "memory_percent": round(100 * used / total, 1) if used is not None and total else None,
        "gpu_memory_percent": round(100 * max(g["vram_used_bytes"] / g["vram_total_bytes"] for g in gpus), 1) if gpus else None,
        "gpu_celsius": max(heat, default=None),
    }
