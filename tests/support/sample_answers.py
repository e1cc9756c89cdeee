"""Answers of the socket as a daemon gives them, in every state of a machine: for tests of the screens."""

from __future__ import annotations

from typing import Any

from sentinel.model.json_form import iso

#: 2026-11-23 16:05:12 UTC
NOW = 1795449912.0

_SERVER: dict[str, Any] = {
    "name": "127.0.0.1:8080", "called": "gemma-3-27b-it-Q4_K_M, port 8080", "front_end": "", "pid": 4711, "user": "llama",
    "state": "ready", "build": 10434, "build_low": 10434, "build_high": 10434, "is_router": False,
    "model_path": "/srv/models/gemma-3-27b-it-Q4_K_M.gguf", "model_bytes": 16546404992, "preflight": "fits", "preflight_why": "",
    "gpu_layers_asked": "99", "gpu_memory_bytes": 18253611008, "ctx_requested": 32768, "ctx_per_slot": 8192, "slots": 4,
    "generation_tps": 38.2, "cpu_cores": 0.9, "rss_bytes": 1932735283, "locked_bytes": 0, "log_readable": True,
    "log_where": "/var/log/llama.log", "since": iso(NOW - 7200), "process_seen": True, "running": True,
}  # fmt: skip
_GPU = {
    "address": "0000:03:00.0", "name": "Radeon RX 7900 XTX", "vram_used_bytes": 19327352832, "vram_total_bytes": 25753026560,
    "busy_percent": 87.0, "power_watts": 301.0, "temp_edge_celsius": 61.0,
}  # fmt: skip
_HOST = {"mem_available_bytes": 49392123904, "mem_total_bytes": 67430813696, "gpu_count": 1}


def server(**changes: Any) -> dict[str, Any]:
    """A server that is ready."""
    return _SERVER | changes


def alert(rule: str, summary: str, **changes: Any) -> dict[str, Any]:
    """An open alert with a cause, two fixes, a line and two sentences as its evidence."""
    name = changes.pop("name", "127.0.0.1:8080")
    return {
        "at": iso(NOW - 600), "rule": rule, "state": "firing", "previous": "firing", "reason": "standing", "severity": "critical",
        "entity": {"scope": "server", "name": name}, "fingerprint": f"{rule}-{name}",
        "summary": f"{name} {summary}".replace(" :", ":", 1),
        "cause": {"id": "x", "text": "user llama may not open /dev/kfd: it is in neither the group video nor render",
                  "confidence": "high"},
        "fixes": [
            {"do": "Add the user to the groups of the GPU's device files, then restart the server",
             "command": "sudo usermod -aG render,video llama && sudo systemctl restart llama.service",
             "risk": "restarts the server", "verify": f"sentinel why {rule} {name}"},
            {"do": "Or run it as a user that may", "command": "", "risk": "", "verify": ""},
        ],
        "evidence": [
            {"check": "gpu_asked", "value": True, "reads": {"server.gpu_layers_requested": 99}, "text": "-ngl 99 was requested"},
            {"check": "no_gpu_memory", "value": True, "reads": {"gpu_bytes": 0}, "text": "no weights are in GPU memory: 0 MiB"},
            {"check": "discovery_died", "value": False, "reads": {"search_end": ""}},
            {"line": "ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected", "n": 41,
             "source": "/var/log/llama.log"},
        ],
        "since": iso(NOW - 600), "title": "a title", "server_ended": None, "called": "gemma-3-27b-it-Q4_K_M, port 8080",
        "effects": [],
    } | changes  # fmt: skip


def _status(servers: list[dict[str, Any]], alerts: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "api_version": 1, "version": "0.1.0", "at": iso(NOW), "since": iso(NOW - 86400), "servers": servers, "gpus": [_GPU],
        "host": _HOST, "alerts": alerts, "silences": [], "blind_spots": [], "blind_spots_left_out": 0, "sources": [],
        "rules": [{"id": f"rule-{n}", "health": "ok"} for n in range(26)], "overrides": [], "cut": [], "sinks": [],
        "recorder": {"fault": ""}, "state": {"fault": ""},
    } | changes  # fmt: skip


def _three() -> list[dict[str, Any]]:
    return [
        alert("cpu-fallback", "runs on the CPU: -ngl 99 was asked for, and nothing of the model is on a GPU"),
        alert("context-collapse", ": its context falls short: a slot has 512 tokens", severity="warning", name="llama.service",
              called="Qwen3-30B-A3B-Q4_K_M, port 8081", since=iso(NOW - 90000)),
        alert("routing-noise", ": advisory, not a fault: this mixture has experts below 3 bits", severity="info",
              name="llama.service", called="Qwen3-30B-A3B-Q4_K_M, port 8081", silenced="3"),
    ]  # fmt: skip


_UNIT = {"name": "llama.service", "called": "Qwen3-30B-A3B-Q4_K_M, port 8081", "ctx_per_slot": 512, "slots": 8}
_SILENCE = {
    "id": "3", "rule": "routing-noise", "entity": None, "at": iso(NOW - 60), "until": iso(NOW + 7200), "reason": "known",
    "author": "root",
}  # fmt: skip
_SPOT = {
    "entity": "llama.service", "missing": ["server.log_verbosity"], "why": "", "reason": "not read yet",
    "remedy": "start llama-server with -lv 4 (LLAMA_ARG_LOG_VERBOSITY=4)", "rules": ["prompt-reprocessing", "context-collapse"],
}  # fmt: skip

#: by state, the answer of /v1/status
STATES: dict[str, dict[str, Any]] = {
    "empty": _status([], [], gpus=[], host=_HOST | {"gpu_count": 0}),
    "loading": _status(
        [server(state="loading", ctx_per_slot=None, slots=None, ctx_requested=0, generation_tps=None, gpu_memory_bytes=2147483648,
                preflight="tight", preflight_why="7.1 GiB of GPU memory are free, and 6.9 GiB to 7.4 GiB are needed")],
        [],
    ),
    "healthy": _status([server(), server(**_UNIT)], []),
    "three-alerts": _status(
        [server(gpu_memory_bytes=0, generation_tps=4.1, preflight="fails"), server(**_UNIT),
         server(name="127.0.0.1:8090", called="old, port 8090", running=False)],
        _three(), silences=[_SILENCE], blind_spots=[_SPOT],
        sources=[
            {"name": "nvml", "health": "failed", "why": "the driver does not answer; look at dmesg", "remedy": "look at dmesg"}
        ],
    ),
    "forty-servers": _status(
        [server(name=f"127.0.0.1:{8000 + n}", called=f"model-{n:02}-Q4_K_M, port {8000 + n}", generation_tps=float(n))
         for n in range(40)],
        [alert("requests-failing", "is up, and every request ends with an error", name="127.0.0.1:8007",
               called="model-07-Q4_K_M, port 8007")],
    ),
}  # fmt: skip


def history() -> list[dict[str, Any]]:
    """What was: an alert that is over, one that flapped into view before, one that is open, and one that never fired."""
    one = alert("cpu-fallback", "runs on the CPU: -ngl 99 was asked for")
    other = alert("start-failed", "did not start: port 8080 on 127.0.0.1 could not be bound", name="llama.service", called="")
    pending = alert("memory-thrash", "reads its model again and again", state="pending", previous="inactive")
    return [
        {**other, "at": iso(NOW - 90000), "state": "resolved", "previous": "firing", "reason": "server-gone"},
        {**one, "at": iso(NOW - 3000), "state": "pending", "previous": "inactive"},
        {**one, "at": iso(NOW - 2990), "previous": "pending", "reason": "hold-elapsed"},
        {**one, "at": iso(NOW - 2000), "reason": "cause-found"},
        {**one, "at": iso(NOW - 1000), "state": "resolved", "previous": "firing", "reason": "condition-cleared"},
        {**pending, "at": iso(NOW - 900)},
        {**one, "at": iso(NOW - 600), "previous": "pending", "reason": "hold-elapsed"},
    ]


def why() -> dict[str, Any]:
    """A rule that fires for one server, is quiet for the second and cannot say of the third."""
    base: dict[str, Any] = {"since": None, "operands": [], "checks": [], "gaps": [], "missing": {}, "silent": {}, "alert": None}
    firing = alert("cpu-fallback", "runs on the CPU")
    checks = [
        {"check": "gpu_asked", "value": True, "text": "-ngl 99 was requested",
         "reads": [{"name": "server.gpu_layers_requested", "value": 99, "age": 20.0, "source": "process"}]},
        {"check": "ready", "value": True, "reads": []},
    ]  # fmt: skip
    return {
        "rule": "cpu-fallback", "title": "llama-server runs on the CPU although GPU layers were asked for",
        "severity": "critical", "scope": "server", "when": "", "unhealthy": "",
        "subjects": [
            base | {"entity": "127.0.0.1:8080", "called": firing["called"], "verdict": "match", "state": "firing",
                    "since": firing["since"], "checks": checks, "alert": firing},
            base | {"entity": "llama.service", "called": _UNIT["called"], "verdict": "no-match", "state": "inactive",
                    "operands": [{"expression": "gpu_asked", "value": False}, {"expression": "!meant_for_cpu", "value": False}]},
            base | {"entity": "127.0.0.1:8099", "called": "", "verdict": "unknown", "state": "inactive",
                    "gaps": [{"reason": "its log is not read", "remedy": "start llama-server with --log-file FILE",
                              "signals": ["server.state", "event backend_init_failed"]}]},
        ],
    }  # fmt: skip
