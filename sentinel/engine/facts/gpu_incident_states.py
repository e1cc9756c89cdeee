"""What each kernel line about a GPU makes of its incident: a state machine over plain fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sentinel.model.entity import Value
from sentinel.model.reading import Event

_DRIVER = re.compile(r"^(?:(?:amdgpu|xe|i915) [0-9a-f:.]+: )?(?:amdgpu: )?(?:\[drm\] )?(?:\*ERROR\* )?")
_CALM = ("", "ok", "trouble", "recovered", "queue-reset", "faulted")
#: States of one program's work, not of the GPU.
WORK = ("hung", "queue-reset", "faulted")
#: States of a GPU that was reset or is gone, with all that was on it.
RESET = ("resetting", "resuming", "recovered", "failed", "lost")
#: enum amdgpu_reset_src, drivers/gpu/drm/amd/amdgpu/amdgpu_reset.h
_RESET_SOURCES = {
    "1": "a job timed out",
    "2": "an uncorrectable memory error (RAS)",
    "3": "the scheduler firmware (MES) did not answer",
    "4": "the compute scheduler (HWS) hung",
}
#: NVIDIA's catalogue of Xid errors; those caused by a program (13, 31, 43, 45) end the program and leave the GPU healthy.
_XIDS: Mapping[int, tuple[str, str]] = {
    8: ("queue-reset", "the driver's watchdog ended work that made no progress for too long (Xid 8)"),
    48: ("failed", "a double-bit memory error that cannot be corrected (Xid 48)"),
    62: ("failed", "the GPU's micro-controller halted (Xid 62)"),
    79: ("lost", "the GPU has fallen off the bus (Xid 79)"),
    95: ("failed", "an uncontained memory error (Xid 95)"),
    119: ("failed", "the GPU's firmware (GSP) does not answer (Xid 119)"),
    120: ("failed", "an error in the GPU's firmware (GSP, Xid 120)"),
    154: ("failed", "the driver asks for a recovery action (Xid 154)"),
}


def advance(before: Mapping[str, Value], event: Event) -> dict[str, Value] | None:  # noqa: C901 - a table, one arm an event
    """Fields of the incident after `event`; None if the event is not part of one. Pure: `before` are the fields so far."""
    state = str(before.get("state", ""))
    fields = event.fields
    match event.name:
        case "gpu_trouble":
            process = {key: before[key] for key in ("comm", "pid") if state == "faulted" and key in before}
            return {**process, "state": "trouble", "what": _said(event)} if state in _CALM else None
        case "gpu_page_fault":
            if state not in _CALM:
                return None
            kept = before if state == "faulted" else {}
            process = {key: v[key] for key in ("comm", "pid") for v in (kept, fields) if key in v}
            return {**process, "state": "faulted", "what": "a program on it touched memory that it does not have (page fault)"}
        case "gpu_engine_reset":
            return {"state": "trouble", "what": _said(event)} if state in ("", "ok", "recovered") else None
        case "gpu_job_ended":
            if state not in (*_CALM, "hung"):
                return None
            process = {key: fields[key] for key in ("comm", "pid") if key in fields}
            what = "the driver ended work that hung or took too long, and reset that engine"
            return {**process, "state": "queue-reset", "what": what}
        case "gpu_ring_timeout":
            if state not in (*_CALM, "hung"):
                # the other queues time out while the GPU is reset, and those of a dead GPU for ever
                return None
            return {"state": "hung", "what": f"queue {fields.get('ring', '')} timed out", "ring": fields.get("ring", "")}
        case "gpu_hang_process":
            if state not in ("hung", "faulted") or "pid" in before:
                return None
            return {**before, **{key: fields[key] for key in ("comm", "pid") if key in fields}}
        case "gpu_reset_begin":
            kept = {k: before[k] for k in ("ring", "comm", "pid", "servers", "unit") if k in before and goes_on(before)}
            source = _RESET_SOURCES.get(str(fields.get("reset_source", "")))
            return {
                **kept,
                "state": "resetting",
                "what": str(before["what"]) if state == "hung" else source or "the driver resets it",
                "vram_lost": False,
                **({"reset_source": source} if source else {}),
            }
        case "gpu_vram_lost":
            return {**before, "vram_lost": True} if state else None
        case "gpu_reset_resuming":
            return {**before, "state": "resuming"} if state == "resetting" else None
        case "gpu_queue_reset_done":
            return {**before, "state": "queue-reset"} if state == "hung" else None
        case "gpu_reset_done":
            return {**before, "state": "recovered"} if state in ("resetting", "resuming") else None
        case "gpu_reset_failed":
            return _failed(before, _said(event))
        case "gpu_wedged":
            return _wedged(before, str(fields.get("recovery", "")))
        case "gpu_overheated":
            return (
                None if state == "overheated" else {"state": "overheated", "what": "it is over its highest temperature (SW CTF)"}
            )
        case "nvidia_xid":
            return _xid(before, fields)
        case "gpu_removed":
            return {**before, "state": "removed", "what": "the GPU was removed from the bus"}
        case "gpu_added":
            return {"state": "ok", "what": "the GPU is there again"} if state else None
    return None


def _said(event: Event) -> str:
    """The driver's message without the names in front, which differ by version."""
    return _DRIVER.sub("", event.line)


def _failed(before: Mapping[str, Value], why: str) -> dict[str, Value] | None:
    lost = "lost from bus" in why or "ret = -19" in why
    if before.get("state") == "lost" or (before.get("state") == "failed" and not lost):
        # the driver keeps complaining about a dead GPU
        return None
    return {**before, "state": "lost" if lost else "failed", "what": why}


def _wedged(before: Mapping[str, Value], recovery: str) -> dict[str, Value] | None:
    """``none`` means that a reset was enough; else it names what is needed (Documentation/gpu/drm-uapi.rst, device wedging)."""
    state = before.get("state")
    if "none" in recovery.split(",") or "recovered" in recovery:
        ended = {"hung": "queue-reset", "resetting": "recovered", "resuming": "recovered"}.get(str(state))
        return {**before, "state": ended} if ended else None
    if state in ("failed", "lost"):
        return None
    return {**before, "state": "failed", "what": f"the driver gave the GPU up (device wedged: {recovery or 'needs recovery'})"}


def _xid(before: Mapping[str, Value], fields: Mapping[str, Value]) -> dict[str, Value] | None:
    code = fields.get("code")
    known = _XIDS.get(code) if isinstance(code, int) else None
    if known is None or not isinstance(code, int):
        return None
    if code == 154 and str(fields.get("why", "")).rstrip().endswith("to 0x0 (None)"):
        return {"state": "recovered", "what": "the driver needs no recovery action any more (Xid 154)", "code": code}
    if before.get("state") == "lost" or (code == 154 and before.get("state") in ("failed", "hung")):
        # later lines are less specific than the first
        return None
    story: dict[str, Value] = {"state": known[0], "what": known[1], "code": code}
    return story | {key: fields[key] for key in ("comm", "pid") if key in fields}


def goes_on(before: Mapping[str, Value]) -> bool:
    """The incident so far is not over: what comes next belongs to it."""
    return before.get("state", "") not in _CALM or before.get("state") in ("trouble", "faulted")


def of_a_server(story: Mapping[str, Value]) -> bool:
    """A llama-server's own work on the GPU was ended, and the GPU is healthy."""
    return story.get("state") in WORK and str(story.get("comm", "")).startswith("llama-")
