"""A transition as the engine makes them, for tests of everything that delivers, stores or shows one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sentinel.model.alert import Cause, CheckResult, Fix, LineEvidence, Transition, fingerprint
from sentinel.model.entity import Entity
from sentinel.model.json_form import iso, transition_to_dict

SERVER = Entity("server", "llama-server.service")

FIRING = Transition(
    at=1795449912.345,
    rule="cpu-fallback",
    state="firing",
    previous="pending",
    reason="hold-elapsed",
    severity="critical",
    entity=SERVER,
    fingerprint=fingerprint("cpu-fallback", SERVER),
    summary="llama-server.service: 0 of 47 requested layers are on a GPU",
    cause=Cause("backend-init-failed", "ROCm did not start: no ROCm-capable device is detected.", "high"),
    fixes=(
        Fix(
            "Give the service's user access to the GPU nodes and restart it",
            "sudo usermod -aG render,video llama && sudo systemctl restart llama-server.service",
            "restarts the server",
            "sentinel why cpu-fallback",
        ),
        Fix("Run it as a user that may\nopen /dev/kfd", "sudo systemctl edit llama-server.service"),
    ),
    evidence=(
        CheckResult("gpu_asked", True, {"server.gpu_layers_requested": 47}),
        CheckResult("none_on_gpu", True, {"server.gpu_memory_bytes": 3145728.0}),
        LineEvidence("ggml_cuda_init: failed to initialize ROCm: no ROCm-capable device is detected", "server.log", 41),
    ),
    message_id="0123456789abcdef" * 2,
    title="llama-server runs on the CPU although GPU layers were asked for",
    since=1795449812.0,
    pid=4711,
    documentation="https://example.org/rules/cpu-fallback",
)


def firing(number: int = 0, **changes: Any) -> Transition:
    """A firing transition; `number` makes it tellable from others by its summary."""
    return replace(FIRING, summary=f"number {number}", at=1795449912.0 + number, **changes)


def resolved(**changes: Any) -> Transition:
    """The end of the alert."""
    return replace(FIRING, **{"state": "resolved", "previous": "firing", "reason": "cleared", **changes})


def as_shown(transition: Transition) -> dict[str, Any]:
    """The JSON form with which it is shown on a terminal."""
    return transition_to_dict(transition) | {"since": iso(transition.since)}
