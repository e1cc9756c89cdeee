"""Joins the kernel's lines about a GPU into one incident: the event ``gpu_incident`` with its state.

A reset of amdgpu takes up to half a minute and prints a dozen lines, of which "GPU reset succeeded, trying to resume" is not the
end: the end is "GPU reset(n) succeeded!" or a failure (amdgpu_device_gpu_recover, drivers/gpu/drm/amd/amdgpu/amdgpu_device.c).
The present incident is the last ``gpu_incident`` of the GPU, so a checkpoint holds it like any other event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from sentinel.engine.facts.state import EngineState
from sentinel.model.entity import HOST, Entity, Value
from sentinel.model.event import EventDef
from sentinel.model.reading import Event

#: States of a GPU. ``trouble``: firmware does not answer, which may pass; ``hung``: a queue timed out; ``resetting`` and
#: ``resuming``: a reset in progress; ``queue-reset``: a reset of one queue; ``recovered``: a reset of the GPU that succeeded;
#: ``failed``: one that did not; ``lost``: the GPU left the bus; ``removed``: it was unplugged; ``overheated``: the machine is
#: about to switch itself off because of it; ``faulted``: a program on the GPU touched memory it does not have.
INCIDENT = EventDef(
    name="gpu_incident",
    source="kernel",
    patterns=(),
    fields={
        "state": "text",
        "what": "text",
        "ring": "text",
        "comm": "text",
        "pid": "int",
        "reset_source": "text",
        "vram_lost": "flag",
        "code": "int",
        "servers": "text",
        "unit": "text",
        "driver": "text",
        "server_ended": "flag",
    },
    help=(
        "The story of a card's hang or reset so far, made from the kernel's lines and udev's events: state is trouble, "
        "faulted, hung, resetting, resuming, queue-reset, recovered, failed, lost, removed, overheated or ok; servers are those "
        "that hold memory on it; server_ended says that the server itself told of the error that ended its work."
    ),
)
#: The part of an incident that hit a llama-server: the driver ended its work.
WORK_ENDED = EventDef(
    name="gpu_work_ended",
    # Read together with the server's own lines: without a kernel log nothing is known of it, and the server's lines count alone.
    source="llama-server",
    patterns=(),
    fields={"state": "text", "what": "text", "ring": "text", "comm": "text", "pid": "int", "driver": "text", "code": "int"},
    help=(
        "A GPU's driver ended this server's work, made from the kernel's lines that name its process: state is hung (a queue "
        "timed out), queue-reset (the driver ended the work, the card goes on), faulted (a page fault), or that of the whole "
        "card where it was reset or is gone."
    ),
)

_ADDRESS = re.compile(r"(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.([0-7]))?\Z")
_DRIVER = re.compile(r"^(?:(?:amdgpu|xe|i915) [0-9a-f:.]+: )?(?:amdgpu: )?(?:\[drm\] )?(?:\*ERROR\* )?")
#: A line that names no GPU belongs to the GPU named this shortly before. Seconds; a reset takes up to half a minute.
_SAME_STORY = 120.0
#: A reset takes up to half a minute; the driver's own timeouts add up to a few minutes where it fails. Seconds.
_LONGEST_RESET = 600.0
_CALM = ("", "ok", "trouble", "recovered", "queue-reset", "faulted")
#: States of one program's work, not of the GPU.
_WORK = ("hung", "queue-reset", "faulted")
#: States of a GPU that was reset or is gone, with all that was on it.
_RESET = ("resetting", "resuming", "recovered", "failed", "lost")
#: Seconds from the kernel's lines to the server's own message that its work on the GPU was ended: a driver's timeout and more.
_ENDINGS = frozenset({"gpu_error", "gpu_fault", "gpu_lost_serving"})
_TOGETHER = 60.0
#: A fault can be the start of a reset for this long. Seconds.
_FAULT_COUNTS = 120.0
_DRIVER_NAME = re.compile(r"\b(amdgpu|xe|i915)\b")
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


class GpuIncidents:
    """Assigns the kernel's records to their GPU and builds the incident."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._named: tuple[Entity, float] | None = None

    def dump(self) -> list[str | float] | None:
        """The GPU named last and when, for a checkpoint."""
        return None if self._named is None else [self._named[0].name, self._named[1]]

    def load(self, named: tuple[str, float] | None) -> None:
        """Restore what `dump` returned."""
        self._named = None if named is None else (Entity("gpu", named[0]), named[1])

    def place(self, event: Event) -> Event:
        """The event with its GPU as entity; unchanged if it is not about a GPU."""
        if event.entity.scope != "host" or not event.name.startswith(("gpu_", "nvidia_")):
            return event
        address = _ADDRESS.match(str(event.fields.get("pci", "")).lower())
        if address is not None:
            card = Entity("gpu", f"{address[1]}.{address[2] or '0'}")
            self._named = (card, event.at)
            return replace(event, entity=card)
        return replace(event, entity=self._nameless(event.at))

    def _nameless(self, at: float) -> Entity:
        if self._named is not None and at - self._named[1] <= _SAME_STORY:
            return self._named[0]
        known = [entity for entity in self._state.facts.entities() if entity.scope == "gpu" and self._is_amd(entity)]
        # older kernels name no GPU; with several it is unknown which
        return known[0] if len(known) == 1 else Entity("gpu", "amdgpu")

    def _is_amd(self, entity: Entity) -> bool:
        vendor = self._state.facts.last(entity, "gpu.vendor")
        return vendor is not None and vendor.value == "amd"

    def incident(self, event: Event) -> Event | None:
        """The incident with this event added; None if it adds nothing."""
        if event.entity.scope == "server":
            return self._told_by_server(event) if event.name in _ENDINGS else None
        if event.entity.scope != "gpu":
            return None
        _, last = self._state.happened(event.entity, INCIDENT.name, float("-inf"))
        before = dict(last.fields) if last is not None else {}
        lasts = {"resetting": _LONGEST_RESET, "resuming": _LONGEST_RESET, "faulted": _FAULT_COUNTS}.get(str(before.get("state")))
        if last is not None and lasts is not None and event.at - last.at > lasts:
            # its end was not seen
            before = {}
        after = advance(before, event)
        if after is None or after == before:
            return None
        after |= self._users(event.entity, before if _goes_on(before) else {})
        if (name := _driver(event)) is not None:
            after["driver"] = name
        if _of_a_server(after) and self._heard_of_an_end(event.at):
            after["server_ended"] = True
        return Event(event.at, INCIDENT.name, event.entity, after, event.source, event.line, event.n)

    def work_ended(self, incident: Event) -> list[Event]:
        """The incident as events of the servers whose work it ended, or as one event that waits for its server."""
        told = incident.fields
        named = str(told.get("comm", "")).startswith("llama-")
        users = [name for name in str(told.get("servers", "")).split(", ") if name] if told.get("state") in _RESET else []
        if not users and not (named and told.get("state") in (*_WORK, *_RESET)):
            return []
        fields = {name: told[name] for name in WORK_ENDED.fields if name in told}
        owners = [Entity("server", name) for name in users] or [HOST]
        return [
            Event(incident.at, WORK_ENDED.name, owner, fields, incident.source, incident.line, incident.n) for owner in owners
        ]

    def _told_by_server(self, event: Event) -> Event | None:
        """The GPU incident that ended a server's work just before, now that the server reports it."""
        for card in sorted(self._state.log.entities({INCIDENT.name}), key=lambda e: e.name):
            _, last = self._state.happened(card, INCIDENT.name, event.at - _TOGETHER)
            if last is not None and _of_a_server(last.fields) and "server_ended" not in last.fields:
                fields = {**last.fields, "server_ended": True}
                return Event(last.at, INCIDENT.name, card, fields, last.source, last.line, last.n)
        return None

    def _heard_of_an_end(self, at: float) -> bool:
        return any(
            self._state.happened(entity, name, at - _TOGETHER)[0] > 0
            for entity in self._state.runs
            if entity.scope == "server"
            for name in _ENDINGS
        )

    def _users(self, card: Entity, before: Mapping[str, Value]) -> dict[str, Value]:
        """Servers that hold memory on the GPU, including those that died in this incident; empty if not known."""
        users = {name for name in str(before.get("servers", "")).split(", ") if name}
        units = set()
        runs = {entity: run for entity, run in self._state.runs.items() if entity.scope == "server"}
        held = {e: self._state.facts.last(e, "server.gpu_cards") for e, run in runs.items() if not run.gone}
        for entity, cards in held.items():
            if cards is not None and card.name in str(cards.value).split(","):
                users.add(entity.name)
                unit = self._state.facts.last(entity, "server.unit")
                units.add(str(unit.value) if unit is not None else "")
        # no server was ever seen, so nothing was sampled yet
        if not users and "servers" not in before and (not runs or None in held.values()):
            return {}
        unit_name = units.pop() if len(users) == 1 and len(units) == 1 else str(before.get("unit", "")) if len(users) == 1 else ""
        return {"servers": ", ".join(sorted(users)), "unit": unit_name}


def _goes_on(before: Mapping[str, Value]) -> bool:
    return before.get("state", "") not in _CALM or before.get("state") in ("trouble", "faulted")


def _driver(event: Event) -> str | None:
    """The driver that printed the line, by name."""
    if event.name == "nvidia_xid":
        return "nvidia"
    named = _DRIVER_NAME.search(event.line)
    return None if named is None else named[1]


def _of_a_server(story: Mapping[str, Value]) -> bool:
    """A llama-server's own work on the GPU was ended, and the GPU is healthy."""
    return story.get("state") in _WORK and str(story.get("comm", "")).startswith("llama-")


def advance(before: Mapping[str, Value], event: Event) -> dict[str, Value] | None:
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
            kept = {k: before[k] for k in ("ring", "comm", "pid", "servers", "unit") if k in before and _goes_on(before)}
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
            return {**before, "state": "removed", "what": "the card was removed from the bus"}
        case "gpu_added":
            return {"state": "ok", "what": "the card is there again"} if state else None
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
    return {**before, "state": "failed", "what": f"the driver gave the card up (device wedged: {recovery or 'needs recovery'})"}


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
