"""A day of a machine as its daemon answers: for tests of the page, and of what a browser makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sample_answers import NOW, STATES, history

from sentinel.engine.inspect.plotted import PLOTTED
from sentinel.model.json_form import iso
from sentinel.report.of_daemon import POINTS, Collected

DAY = 86_400.0
GIB = float(1 << 30)
STEP = 300

#: What the values of a signal look like over a day; `x` goes from 0 to 1.
_CURVES: dict[str, Callable[[float], float | None]] = {
    "server.load_share": lambda x: min(1.0, x * 20),
    "server.generation_tps": lambda x: None if math.sin(60 * x) < 0 else (38 if x < 0.96 else 4) + 3 * math.sin(90 * x),
    "server.prompt_tps": lambda x: None if math.sin(60 * x) < 0 else (900 if x < 0.96 else 60) * (1 + 0.1 * math.sin(70 * x)),
    "server.slots_busy": lambda x: float(round(2 + 2 * math.sin(60 * x))),
    "server.slot_fill": lambda x: (8 * x) % 1.0,
    "server.rss_bytes": lambda x: (1.8 + 2 * x) * GIB,
    "server.gpu_memory_bytes": lambda x: 17.2 * GIB if x < 0.96 else 0.0,
    "server.memory_left_bytes": lambda x: (46 - 3 * x) * GIB,
    "server.quality_divergence": lambda x: 0.0001 * x,
    "gpu.vram_used_bytes": lambda x: 17.9 * GIB if x < 0.96 else 0.6 * GIB,
    "gpu.gtt_used_bytes": lambda x: 0.2 * GIB,
    "gpu.busy_percent": lambda x: 80 + 15 * math.sin(50 * x) if x < 0.96 else 0.0,
    "gpu.power_watts": lambda x: 280 + 40 * math.sin(50 * x) if x < 0.96 else 21.0,
    "gpu.temp_edge_celsius": lambda x: 60 + 8 * math.sin(40 * x) if x < 0.96 else 38.0,
    "host.mem_available_bytes": lambda x: (46 - 4 * x) * GIB,
    "host.swap_free_bytes": lambda x: 8 * GIB,
}


def series(scope: str, name: str, points: int = 288, *, begin: float = NOW - DAY) -> dict[str, Any]:
    """The answer of `/v1/series` about one entity."""
    rows = []
    for signal in PLOTTED[scope]:  # type: ignore[index]
        mean = [_CURVES[signal](n / points) for n in range(points)]
        top = 1.0 if signal in ("server.load_share", "server.slot_fill") else 100.0 if signal == "gpu.busy_percent" else math.inf
        rows.append(
            {
                "entity": {"scope": scope, "name": name}, "signal": signal, "unit": "", "mean": mean,
                "min": [None if v is None else v * 0.93 for v in mean],
                "max": [None if v is None else min(v * 1.04, top) for v in mean],
            }
        )  # fmt: skip
    return {"at": iso(NOW), "begin": iso(begin), "step": STEP, "series": rows}


def collected(state: str = "three-alerts", **changes: Any) -> Collected:
    """The last day in one of the states of `sample_answers`, in UTC."""
    status = STATES[state]
    entities = [("server", one["name"]) for one in status["servers"] if one["running"]]
    entities += [("gpu", one["address"]) for one in status["gpus"]]
    made = Collected(
        made=NOW,
        begin=NOW - DAY,
        offset=0,
        zone="UTC",
        machine="tannhauser",
        status=status,
        transitions=history(),
        series={key: series(*key) for key in [*entities, ("host", "host")]},
        commands={"127.0.0.1:8080": "llama-server -m /srv/models/gemma-3-27b-it-Q4_K_M.gguf -ngl 99 -c 32768 --port 8080"},
    )
    return replace(made, **changes)


assert POINTS >= 288, "a day of steps of five minutes"
