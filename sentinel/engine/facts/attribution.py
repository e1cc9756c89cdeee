"""Finds the server that an event is about: a kernel record names a pid or a name, systemd a unit, a router a preset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sentinel.engine.facts.oom_report import PARTS, OomReport
from sentinel.engine.facts.router_children import RouterChildren
from sentinel.engine.facts.state import EngineState
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.reading import Event
from sentinel.model.rule import WindowDef

#: How long a process that ended is remembered by its pid. The kernel's record of a kill comes within milliseconds,
#: but a stalled machine delivers late. Seconds.
_REMEMBER = 600.0
#: systemd's word, or the kernel's in its terms, that the process of a server ended
MAIN_PROCESS_EXITED = "main_process_exited"
#: Names under which llama-server is installed; the kernel cuts a name to 15 characters (TASK_COMM_LEN).
_COMMS = ("llama-server", "llama-cpp-serve", "llamacpp-server")
#: Facts of the moment that explain a kill, copied into the event: the process is gone when somebody reads it.
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
#: Lines of a GPU's driver that name no process: attributed to a server only if there is exactly one.
_OF_THE_ONLY_SERVER = frozenset({"nvidia_uvm_loaded", "nvidia_api_mismatch", "gpu_memory_refused", "gpu_host_memory_refused"})
#: Growth in the minute before, as last sampled.
GROWTH = (
    WindowDef("grown_anon", "server.rss_anon_bytes", 60.0, "delta"),
    WindowDef("grown_file", "server.rss_file_bytes", 60.0, "delta"),
    WindowDef("grown_locked", "server.locked_bytes", 60.0, "delta"),
)
#: An event this long after an end is not about the process that ended. Seconds: clocks differ, a batch of lines has one time.
_APART = 2.0
#: Fields of a kill that come from the server, not from the record.
_OF_THE_SERVER = frozenset((*_AT_DEATH, *(window.name for window in GROWTH)))
#: Growth below this explains nothing. Bytes.
_GREW = 16 << 20


_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")


def _unit(group: Value | None) -> str:
    """The service that a control group belongs to: the innermost one, since a user's manager is a service too; empty for none."""
    parts = group.split("/") if isinstance(group, str) else []
    return next((part for part in reversed(parts) if _UNIT.fullmatch(part) and not part.startswith("user@")), "")


def _stranger(kill: Event) -> Entity:
    """The name of a server of which nothing else is known."""
    return Entity("server", f"{kill.fields.get('comm')}[{kill.fields.get('pid')}]")


@dataclass(slots=True)
class _Known:
    entity: Entity
    start: float
    gone_at: float | None = None


class Attribution:
    """Joins events to servers by pid, unit and port."""

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._pids: dict[int, _Known] = {}
        self.children = RouterChildren(state)
        #: what a server was doing when its process ended
        self._state_before: dict[Entity, str] = {}
        #: kills attributed to a server by exclusion, with their times, until that is confirmed or refuted
        self._guessed: dict[Entity, float] = {}
        self._report = OomReport()

    def found(self, entity: Entity, pid: int, start: float, values: Mapping[str, Value | Unknown]) -> None:
        """A server's process is known."""
        self._pids[pid] = _Known(entity, start)
        self.children.found(entity, values)

    def gone(self, entity: Entity, pid: int, at: float) -> None:
        """A server's process has ended; it is remembered for a while."""
        known = self._pids.get(pid)
        if known is not None and known.entity == entity:
            known.gone_at = at
            # The record of a kill may come after the end: the reader wants the state before it.
            state = self._state.facts.last(entity, "server.state")
            if state is not None:
                self._state_before[entity] = str(state.value)
        for old in [p for p, k in self._pids.items() if k.gone_at is not None and at - k.gone_at > _REMEMBER]:
            del self._pids[old]

    def forget(self, entity: Entity) -> None:
        """An entity was dropped."""
        self.children.forget(entity)
        self._state_before.pop(entity, None)
        self._guessed.pop(entity, None)

    def outlived(self, server: Entity, at: float, began: float | None = None) -> Event | None:
        """The kill that was attributed to this server by exclusion, reassigned to a stranger, if the server was seen alive some
        time after it: in a run that `began` then, or in the previous one if that is None."""
        killed = self._guessed.get(server)
        if killed is None or ((began is None or began < killed) and at <= killed + _APART):
            return None
        del self._guessed[server]
        _, kill = self._state.happened(server, "oom_killed", killed)
        if kill is None or (began is not None and began >= killed):
            return None
        own = {name: value for name, value in kill.fields.items() if name not in _OF_THE_SERVER}
        return replace(kill, entity=_stranger(kill), fields=own)

    def note(self, event: Event) -> None:
        """Takes every event before it is attributed: the parts of a report name no process by themselves."""
        if event.name in PARTS:
            self._report.note(event)

    def attribute(self, event: Event) -> Event:
        """The event with the server it concerns as its entity, or unchanged."""
        if event.name == "oom_killed":
            reported = self._report.explain(event)
            return self._killed(replace(event, fields={**reported, **event.fields}))
        if event.name == "earlyoom_killed":
            return self._killed(event)
        if event.name in _OF_THE_ONLY_SERVER:
            living = [server for server, run in self._state.runs.items() if not run.gone]
            return replace(event, entity=living[0]) if len(living) == 1 else event
        if event.name in ("process_trapped", "gpu_work_ended"):
            return event if event.entity.scope == "server" else self._ended(event)
        if event.name == "router_child_exited":
            # A router speaks for its own children only.
            mine = [e for e in self._state.facts.entities() if self._said(e, "server.router") == event.entity.name]
            children = [e for e in mine if self._said(e, "server.preset") == event.fields.get("name")]
            return replace(event, entity=children[-1]) if children else event
        if event.name == "oomd_killed" and event.entity.scope == "host":
            owner = self._in_group(event.fields.get("cgroup"))
            return event if owner is None else self._enriched(event, owner)
        unit = event.fields.get("unit")
        if event.entity.scope == "host" and isinstance(unit, str) and unit:
            owner = Entity("server", unit)
            if owner in self._state.runs:
                event = self._enriched(event, owner)
        return self._timed(event) if event.name == MAIN_PROCESS_EXITED else event

    def _timed(self, event: Event) -> Event:
        """An end, with the seconds that the process lived and its exit status as a number."""
        fields = dict(event.fields)
        status = str(fields.get("status", "")).partition("/")[0]
        if fields.get("code") == "exited" and status.isascii() and status.isdigit() and len(status) < 4:
            fields["exit"] = int(status)
        run = self._state.runs.get(event.entity)
        if run is not None and run.exact and event.at >= run.start:
            fields["lived"] = round(event.at - run.start, 1)
        return replace(event, fields=fields)

    def _killed(self, event: Event) -> Event:
        pid = event.fields.get("pid")
        comm = event.fields.get("comm")
        if isinstance(pid, int):
            known = self._pids.get(pid)
            # The pid may have been another process before, or be one since.
            if known is not None and event.at >= known.start - 1.0 and event.at <= (known.gone_at or event.at) + _APART:
                if event.name == "oom_killed":
                    known.gone_at = min(known.gone_at or event.at, event.at)
                return self._enriched(event, known.entity)
        if not isinstance(comm, str) or not (comm.startswith(_COMMS) or self._runner(comm)):
            return event
        if event.entity.scope == "server":
            return self._enriched(event, event.entity)
        group = event.fields.get("victim_group")
        unit = _unit(group)
        there = [] if group is None else [e for e in self._state.runs if self._said(e, "server.cgroup") == group]
        if len(there) == 1 and (unit or self._said(there[0], "server.container")) and not self._lives(there[0]):
            # A server that was killed before it was seen: the facts under its name are of an earlier process.
            return replace(event, entity=there[0])
        nameless = [e for e, run in self._state.runs.items() if not run.pid]
        candidates = [e for e in nameless if self._may_be(e, unit if isinstance(group, str) else None)]
        if len(candidates) == 1 and "server.pid" in self._state.facts.unknowns(candidates[0]):
            # Of a saved log: the model is in the router's child, and the router itself holds next to nothing.
            children = self.children.nameless_of(candidates[0].name)
            candidates = children if len(children) == 1 else candidates
        if len(candidates) == 1:
            if candidates[0].name != unit and event.name == "oom_killed":
                self._guessed[candidates[0]] = event.at
            return self._enriched(event, candidates[0])
        known_by_unit = unit and not there and not self._lives(Entity("server", unit))
        return replace(event, entity=Entity("server", unit) if known_by_unit else _stranger(event))

    def _ended(self, event: Event) -> Event:
        """A kernel record that names a server's process; unlike a kill it may come while the server still prints."""
        pid = event.fields.get("pid")
        known = self._pids.get(pid) if isinstance(pid, int) else None
        if known is not None and known.start - 1.0 <= event.at <= (known.gone_at or event.at) + _APART:
            return replace(event, entity=known.entity)
        if not str(event.fields.get("comm", "")).startswith(_COMMS):
            return event
        nameless = [e for e, run in self._state.runs.items() if not run.pid]
        return replace(event, entity=nameless[0]) if len(nameless) == 1 else event

    def _runner(self, comm: str) -> bool:
        """In saved logs, the process that loads a model for Ollama: before Ollama took llama-server it had a name of its own."""
        return comm.startswith("ollama") and any(
            self._said(entity, "server.front_end") == "ollama" and "server.pid" in self._state.facts.unknowns(entity)
            for entity in self._state.runs
        )

    def _lives(self, server: Entity) -> bool:
        """Its process was there at the last scan, and no record reports its end."""
        run = self._state.runs.get(server)
        if run is None or not run.pid or run.gone:
            return False
        known = self._pids.get(run.pid)
        return known is None or known.gone_at is None

    def _said(self, server: Entity, signal: str) -> Value | None:
        fact = self._state.facts.last(server, signal)
        return None if fact is None else fact.value

    def _may_be(self, server: Entity, unit: str | None) -> bool:
        """A server without a known process may be the one that was killed in `unit`; empty: in no unit, None: not known."""
        if unit is not None and _UNIT.fullmatch(server.name) and server.name != unit:
            return False
        # With files alone there is no scan for processes, and the files were given as one server's.
        only_files = "server.pid" in self._state.facts.unknowns(server)
        # A log that never said anything, or reported the end, had no process that could be killed. A saved log may have lost the
        # lines that would have shown it (docker logs --tail, journalctl --since, rotation).
        state = self._said(server, "server.state")
        if state in ("exited", "failed", "stopping") or (state is None and not only_files):
            return False
        # Processes are scanned once a second: one that has loaded and was never seen is not on this machine, or has another
        # name.
        return server.name == unit or state == "loading" or only_files

    def _in_group(self, path: Value | None) -> Entity | None:
        """The server whose control group this is, or a parent of it. The root group belongs to no server."""
        if not isinstance(path, str) or not path.strip("/"):
            return None
        for entity in self._state.runs:
            group = self._said(entity, "server.cgroup")
            if isinstance(group, str) and (group + "/").startswith(path.rstrip("/") + "/"):
                return entity
        return None

    def _enriched(self, event: Event, owner: Entity) -> Event:
        fields = dict(event.fields)
        for field, signal in _AT_DEATH.items():
            fact = self._state.facts.last(owner, signal)
            if fact is not None:
                fields[field] = fact.value
        if fields.get("server_state") == "exited":
            del fields["server_state"]
            if (before := self._state_before.get(owner)) is not None:
                fields["server_state"] = before
        for window in GROWTH:
            grown = self._state.window(owner, window, event.at)
            if grown is not None and grown >= _GREW:
                fields[window.name] = int(grown)
        return replace(event, entity=owner, fields=fields)

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "pids": [[pid, k.entity.scope, k.entity.name, k.start, k.gone_at] for pid, k in self._pids.items()],
            **self.children.dump(),
            "report": self._report.dump(),
            "states": [[e.scope, e.name, state] for e, state in self._state_before.items()],
            "guessed": [[e.scope, e.name, at] for e, at in self._guessed.items()],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned."""
        self._pids = {pid: _Known(Entity(scope, name), start, gone) for pid, scope, name, start, gone in data["pids"]}
        self._state_before = {Entity(scope, name): state for scope, name, state in data["states"]}
        self.children.load(data)
        # recordings made before these existed have none
        self._guessed = {Entity(scope, name): at for scope, name, at in data.get("guessed") or []}
        self._report.load(data["report"])
