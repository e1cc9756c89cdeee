"""Joins the kernel's lines about a GPU into one incident: the event ``gpu_incident`` with its state.

A reset of amdgpu takes up to half a minute and prints a dozen lines, of which "GPU reset succeeded, trying to resume" is not the
end: the end is "GPU reset(n) succeeded!" or a failure (amdgpu_device_gpu_recover, drivers/gpu/drm/amd/amdgpu/amdgpu_device.c).
The present incident is the last ``gpu_incident`` of the GPU, so a checkpoint holds it like any other event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from sentinel.engine.facts.gpu_incident_states import RESET, WORK, advance, goes_on, of_a_server
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
        "The story of a GPU's hang or reset so far, made from the kernel's lines and udev's events: state is trouble, "
        "faulted, hung, resetting, resuming, queue-reset, recovered, failed, lost, removed, overheated or ok; servers are those "
        "that hold memory on it; server_ended says that the server itself reported the error that ended its work."
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
        "timed out), queue-reset (the driver ended the work, the GPU goes on), faulted (a page fault), or that of the whole "
        "GPU where it was reset or is gone."
    ),
)

_ADDRESS = re.compile(r"(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2})(?:\.([0-7]))?\Z")
#: A line that names no GPU belongs to the GPU named this shortly before. Seconds; a reset takes up to half a minute.
_SAME_STORY = 120.0
#: A reset takes up to half a minute; the driver's own timeouts add up to a few minutes where it fails. Seconds.
_LONGEST_RESET = 600.0
#: The server's own messages that its work on the GPU was ended.
_ENDINGS = frozenset({"gpu_error", "gpu_fault", "gpu_lost_serving"})
#: Seconds from the kernel's lines to the server's message: a driver's timeout and more.
_TOGETHER = 60.0
#: A fault can be the start of a reset for this long. Seconds.
_FAULT_COUNTS = 120.0
_DRIVER_NAME = re.compile(r"\b(amdgpu|xe|i915)\b")


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
            gpu = Entity("gpu", f"{address[1]}.{address[2] or '0'}")
            self._named = (gpu, event.at)
            return replace(event, entity=gpu)
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
            return self._reported_by_server(event) if event.name in _ENDINGS else None
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
        after |= self._users(event.entity, before if goes_on(before) else {})
        if (name := _driver(event)) is not None:
            after["driver"] = name
        if of_a_server(after) and self._heard_of_an_end(event.at):
            after["server_ended"] = True
        return Event(event.at, INCIDENT.name, event.entity, after, event.source, event.line, event.n)

    def work_ended(self, incident: Event) -> list[Event]:
        """The incident as events of the servers whose work it ended, or as one event that waits for its server."""
        story = incident.fields
        named = str(story.get("comm", "")).startswith("llama-")
        users = [name for name in str(story.get("servers", "")).split(", ") if name] if story.get("state") in RESET else []
        if not users and not (named and story.get("state") in (*WORK, *RESET)):
            return []
        fields = {name: story[name] for name in WORK_ENDED.fields if name in story}
        owners = [Entity("server", name) for name in users] or [HOST]
        return [
            Event(incident.at, WORK_ENDED.name, owner, fields, incident.source, incident.line, incident.n) for owner in owners
        ]

    def _reported_by_server(self, event: Event) -> Event | None:
        """The GPU incident that ended a server's work just before, now that the server reports it."""
        for gpu in sorted(self._state.log.entities({INCIDENT.name}), key=lambda e: e.name):
            _, last = self._state.happened(gpu, INCIDENT.name, event.at - _TOGETHER)
            if last is not None and of_a_server(last.fields) and "server_ended" not in last.fields:
                fields = {**last.fields, "server_ended": True}
                return Event(last.at, INCIDENT.name, gpu, fields, last.source, last.line, last.n)
        return None

    def _heard_of_an_end(self, at: float) -> bool:
        return any(
            self._state.happened(entity, name, at - _TOGETHER)[0] > 0
            for entity in self._state.runs
            if entity.scope == "server"
            for name in _ENDINGS
        )

    def _users(self, gpu: Entity, before: Mapping[str, Value]) -> dict[str, Value]:
        """Servers that hold memory on the GPU, including those that died in this incident; empty if not known."""
        users = {name for name in str(before.get("servers", "")).split(", ") if name}
        units = set()
        runs = {entity: run for entity, run in self._state.runs.items() if entity.scope == "server"}
        held = {e: self._state.facts.last(e, "server.gpus") for e, run in runs.items() if not run.gone}
        for entity, gpus in held.items():
            if gpus is not None and gpu.name in str(gpus.value).split(","):
                users.add(entity.name)
                unit = self._state.facts.last(entity, "server.unit")
                units.add(str(unit.value) if unit is not None else "")
        # no server was ever seen, so nothing was sampled yet
        if not users and "servers" not in before and (not runs or None in held.values()):
            return {}
        unit_name = units.pop() if len(users) == 1 and len(units) == 1 else str(before.get("unit", "")) if len(users) == 1 else ""
        return {"servers": ", ".join(sorted(users)), "unit": unit_name}


def _driver(event: Event) -> str | None:
    """The driver that printed the line, by name."""
    if event.name == "nvidia_xid":
        return "nvidia"
    named = _DRIVER_NAME.search(event.line)
    return None if named is None else named[1]
