"""Whom an event is about: a kernel record names a pid, systemd names a unit, a router's child names a port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sentinel.facts.beliefs import Beliefs
from sentinel.facts.oom_report import PARTS, OomReport
from sentinel.model.labels import Entity, Unknown, Value
from sentinel.model.reading import Event
from sentinel.model.rule import WindowDef

#: How long a process that ended is still remembered by its pid. The kernel's record of a kill comes within milliseconds,
#: but a stalled machine delivers late. Seconds.
_REMEMBER = 600.0
#: Names under which llama-server is installed; the kernel cuts a name to 15 characters (TASK_COMM_LEN).
_COMMS = ("llama-server", "llama-cpp-serve")
#: Facts of the moment that explain a kill, copied into the event: the process is gone when somebody asks.
_AT_DEATH = {
    "server_state": "server.state",
    "load_share": "server.load_share",
    "model_bytes": "server.model_bytes",
    "locked_bytes": "server.locked_bytes",
    "rss_bytes": "server.rss_bytes",
    "mlock_requested": "server.mlock_requested",
    "memory_left": "server.memory_left_bytes",
    "fitting_flags": "server.fitting_flags",
    "fitting_drops": "server.fitting_drops",
    "fitting_why": "server.fitting_why",
}
#: What it grew by in the minute before, as last sampled.
GROWTH = (
    WindowDef("grown_anon", "server.rss_anon_bytes", 60.0, "delta"),
    WindowDef("grown_file", "server.rss_file_bytes", 60.0, "delta"),
    WindowDef("grown_locked", "server.locked_bytes", 60.0, "delta"),
)
#: Growth below this explains nothing. Bytes.
_GREW = 16 << 20


_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")


def _unit(group: Value | None) -> str:
    """The service that a control group belongs to, empty for none: the innermost, for a user's manager is one as well."""
    parts = group.split("/") if isinstance(group, str) else []
    return next((part for part in reversed(parts) if _UNIT.fullmatch(part) and not part.startswith("user@")), "")


@dataclass(slots=True)
class _Known:
    entity: Entity
    start: float
    gone_at: float | None = None


class Attribution:
    """Joins events to servers by pid, unit and port."""

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._pids: dict[int, _Known] = {}
        self._ports: dict[int, Entity] = {}
        #: children of routers whose process is not known yet, by port
        self._nameless: dict[int, Entity] = {}
        #: what a server was doing when its process ended
        self._state_before: dict[Entity, str] = {}
        self._report = OomReport()

    def found(self, entity: Entity, pid: int, start: float, values: Mapping[str, Value | Unknown]) -> None:
        """A server's process is known."""
        self._pids[pid] = _Known(entity, start)
        port = values.get("server.port")
        if isinstance(port, int):
            self._ports[port] = entity

    def gone(self, entity: Entity, pid: int, at: float) -> None:
        """A server's process has ended; it is remembered for a while."""
        known = self._pids.get(pid)
        if known is not None and known.entity == entity:
            known.gone_at = at
            # A kill may be told after the end: the state before it is what a reader wants.
            state = self._beliefs.facts.last(entity, "server.state")
            if state is not None:
                self._state_before[entity] = str(state.value)
        for old in [p for p, k in self._pids.items() if k.gone_at is not None and at - k.gone_at > _REMEMBER]:
            del self._pids[old]

    def of_child(self, parent: Entity, port: int | None) -> Entity:
        """A router prints its children's lines with their port in front."""
        if port is None:
            return parent
        known = self._ports.get(port)
        if known is not None:
            return known
        return self._nameless.setdefault(port, Entity("server", f"{parent.name}[{port}]"))

    def adopt(self, values: Mapping[str, Value | Unknown]) -> Entity | None:
        """The makeshift name under which a child's lines came before its process was found, if there is one."""
        port = values.get("server.port")
        return self._nameless.pop(port, None) if isinstance(port, int) else None

    def note(self, event: Event) -> None:
        """Every event, before it is asked whom it is about: the parts of a report name nobody by themselves."""
        if event.name in PARTS:
            self._report.note(event)

    def attribute(self, event: Event) -> Event:
        """The event with the server it concerns as its entity, or unchanged."""
        if event.name == "oom_killed":
            told = self._report.explain(event)
            return self._killed(replace(event, fields={**told, **event.fields}))
        if event.name == "earlyoom_killed":
            return self._killed(event)
        if event.name == "oomd_killed" and event.entity.scope == "host":
            return self._of_group(event)
        unit = event.fields.get("unit")
        if event.entity.scope == "host" and isinstance(unit, str) and unit:
            owner = Entity("server", unit)
            if owner in self._beliefs.runs:
                return self._enriched(event, owner)
        return event

    def _killed(self, event: Event) -> Event:
        pid = event.fields.get("pid")
        comm = event.fields.get("comm")
        if isinstance(pid, int):
            known = self._pids.get(pid)
            # The same number may have been another process before: a kill older than the process is not its own.
            if known is not None and event.at >= known.start - 1.0:
                return self._enriched(event, known.entity)
        if not isinstance(comm, str) or not comm.startswith(_COMMS):
            return event
        owner = self._in_group(event.fields.get("victim_group"))
        if owner is not None:
            # A server that was killed before it was seen: what is believed under its name is of an earlier process.
            return replace(event, entity=owner)
        if event.entity.scope == "server":
            return self._enriched(event, event.entity)
        group = event.fields.get("victim_group")
        unit = _unit(group)
        nameless = [e for e, run in self._beliefs.runs.items() if not run.pid]
        candidates = [e for e in nameless if self._may_be(e, unit if isinstance(group, str) else None)]
        if len(candidates) == 1:
            return self._enriched(event, candidates[0])
        return replace(event, entity=Entity("server", unit or f"{comm}[{pid}]"))

    def _may_be(self, server: Entity, unit: str | None) -> bool:
        """A server without a known process may be the one that was killed in `unit`; empty: in none, None: not known."""
        if unit is not None and _UNIT.fullmatch(server.name) and server.name != unit:
            return False
        # One whose log never said anything, or said that it had ended, had no process that could be killed.
        state = self._beliefs.facts.last(server, "server.state")
        return state is not None and state.value not in ("exited", "failed")

    def _of_group(self, event: Event) -> Event:
        owner = self._in_group(event.fields.get("cgroup"))
        return event if owner is None else self._enriched(event, owner)

    def _in_group(self, path: Value | None) -> Entity | None:
        """The server whose control group this is, or one below it. The root group is nobody's."""
        if not isinstance(path, str) or not path.strip("/"):
            return None
        for entity in self._beliefs.runs:
            group = self._beliefs.facts.last(entity, "server.cgroup")
            if group is not None and isinstance(group.value, str) and (group.value + "/").startswith(path.rstrip("/") + "/"):
                return entity
        return None

    def _enriched(self, event: Event, owner: Entity) -> Event:
        fields = dict(event.fields)
        for field, signal in _AT_DEATH.items():
            fact = self._beliefs.facts.last(owner, signal)
            if fact is not None:
                fields[field] = fact.value
        if fields.get("server_state") == "exited":
            before = self._state_before.get(owner)
            if before is None:
                fields.pop("server_state")
            else:
                fields["server_state"] = before
        for window in GROWTH:
            grown = self._beliefs.window(owner, window, event.at)
            if grown is not None and grown >= _GREW:
                fields[window.name] = int(grown)
        return replace(event, entity=owner, fields=fields)

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "pids": [[pid, k.entity.scope, k.entity.name, k.start, k.gone_at] for pid, k in self._pids.items()],
            "ports": [[port, e.scope, e.name] for port, e in self._ports.items()],
            "nameless": [[port, e.scope, e.name] for port, e in self._nameless.items()],
            "report": self._report.dump(),
            "states": [[e.scope, e.name, state] for e, state in self._state_before.items()],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take back what `dump` gave."""
        self._pids = {pid: _Known(Entity(scope, name), start, gone) for pid, scope, name, start, gone in data["pids"]}
        self._ports = {port: Entity(scope, name) for port, scope, name in data["ports"]}
        self._nameless = {port: Entity(scope, name) for port, scope, name in data["nameless"]}
        self._state_before = {Entity(scope, name): state for scope, name, state in data["states"]}
        self._report.load(data["report"])
