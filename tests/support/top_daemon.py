"""A daemon for `sentinel top` that says what a test wants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sentinel.cli.recent_series import Values
from sentinel.cli.top.poll import Snapshot

GIB = 1 << 30


def server(number: int, **different: Any) -> dict[str, Any]:
    """A server that works, as the status has it."""
    return {
        "name": f"127.0.0.1:{8080 + number}", "called": f"gemma-3-{number}b, port {8080 + number}", "pid": 4000 + number,
        "user": "ada", "state": "ready", "running": True, "process_seen": True, "is_router": False, "log_readable": True,
        "model_bytes": 5 * GIB, "gpu_memory_bytes": 4 * GIB, "gpu_vram_total_bytes": 16 * GIB, "gpu_layers_asked": "99",
        "ctx_per_slot": 4096, "slots": 2, "generation_tps": 70.6, "prompt_tps": 812.0, "slot_fill": None, "slots_busy": None,
        "load_share": 1.0, "rss_bytes": 3 * GIB, "firm_bytes": 2 * GIB, "memory_left_bytes": 7 * GIB, "memory_left_where": "",
        "need_bytes": 1 * GIB,
        "contexts": [{"slot": 0, "tokens": 1200, "busy": True}, {"slot": 1, "tokens": 4000, "busy": False}],
    } | different  # fmt: skip


def alert(number: int, rule: str = "cpu-fallback", severity: str = "critical", **different: Any) -> dict[str, Any]:
    """An open alert about one of them."""
    name = f"127.0.0.1:{8080 + number}"
    return {
        "rule": rule, "severity": severity, "entity": {"scope": "server", "name": name},
        "called": f"gemma-3-{number}b, port {8080 + number}", "since": "2026-11-29T12:00:00.000Z",
        "summary": f"{name} answers from the CPU although -ngl 99 asks for the GPU",
        "cause": {"id": "no-backend", "text": "this build has no GPU backend", "confidence": "high"},
        "fixes": [{"do": "Install a build with one", "command": "apt install llama", "risk": "", "verify": ""}],
        "evidence": [], "title": "", "effects": [],
    } | different  # fmt: skip


class Said:
    """What the daemon says; a test changes it."""

    def __init__(self, servers: Sequence[Mapping[str, Any]] = (), alerts: Sequence[Mapping[str, Any]] = ()) -> None:
        self.servers = servers
        self.alerts = alerts
        self.fault = ""
        self.series: dict[tuple[str, str], Values] = {
            (one["name"], f"server.{what}_tps"): [None if n % 7 == 0 else 50 + 20 * math.sin(n / 5) for n in range(60)]
            for one in servers
            for what in ("generation", "prompt")
        }
        self.seconds_left: dict[str, float] = {}
        #: what was asked of it
        self.asked: list[tuple[str, ...]] = []
        self.answer = "line 1\nline 2"

    def look(self) -> Snapshot:
        """The present state."""
        gpu = {
            "address": "0000:03:00.0", "name": "Radeon RX 7900 XTX", "vram_used_bytes": 15 * GIB, "vram_total_bytes": 24 * GIB,
            "busy_percent": 97.0, "power_watts": 301.2, "temp_edge_celsius": 71.0,
        }  # fmt: skip
        host = {"mem_total_bytes": 64 * GIB, "mem_available_bytes": 20 * GIB}
        status = {"servers": self.servers, "alerts": self.alerts, "host": host, "gpus": [gpu]}
        return Snapshot(1.0, self.fault, status, self.series, self.seconds_left)

    def silence(self, rule: str, name: str, duration: str) -> str:
        """Silence a rule."""
        self.asked.append(("silence", rule, name, duration))
        return f"Silenced {rule}"

    def verb(self, *words: str) -> str:
        """What a command prints."""
        self.asked.append(words)
        return self.answer
