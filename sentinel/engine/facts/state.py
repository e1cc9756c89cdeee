"""The engine's state: facts, windows, events, runs of servers, and which sources are watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sentinel.engine.facts.catalogue import CATALOGUE
from sentinel.engine.facts.event_log import EventLog
from sentinel.engine.facts.store import Fact, FactStore
from sentinel.engine.facts.window import Window
from sentinel.model.cuts import Cuts
from sentinel.model.entity import HOST, Entity, Unknown, Value
from sentinel.model.event import EventDef
from sentinel.model.reading import Event
from sentinel.model.rule import WindowDef

#: Lines that a server prints before the line by which its start is known (warnings of the argument parser, driver errors)
#: belong to that start. Measured on the recordings: at most 0.05 s; a whole batch of old lines carries one time.
_BEFORE_START = 5.0
#: The same where the kernel says when the process began; it counts in hundredths of a second, and from a boot in whole ones.
_BEFORE_PROCESS = 0.5


@dataclass(slots=True)
class Run:
    """The present run of a server."""

    start: float
    pid: int = 0
    #: the process was seen, so `start` is the kernel's own figure
    exact: bool = False
    gone: bool = False
    #: when the process was last known to run or seen to have ended
    gone_at: float = 0.0
    #: the log's server.state when the process was seen to have ended, and when that was read
    state_before: tuple[Value, float] | None = None
    #: its process is looked at once a second, so that its end is known without its log
    watched: bool = False
    #: its log began it; that of the run before was watched, so that its process will be found if it lives
    awaited: bool = False
    #: when the process before it was seen to have ended, before this one began: what was printed until then is that one's
    free_since: float = float("-inf")

    @property
    def since(self) -> float:
        """What happened before is not of this run."""
        return max(self.start - _BEFORE_PROCESS, self.free_since) if self.exact else self.start - _BEFORE_START

    def free_before(self, start: float) -> float:
        """`free_since` of the run that begins at `start` after this one."""
        last = self.gone_at if self.gone else self.free_since
        # A scan that saw the end after the next had begun says nothing of when in between it was.
        return last if last < start else float("-inf")


class EngineState:
    """Implements rules.evaluate.World, which rule evaluation reads."""

    def __init__(self, event_defs: Mapping[str, EventDef], cuts: Cuts | None = None) -> None:
        #: what was cut or refused of what came from outside; no verdict depends on it
        self.cuts = Cuts() if cuts is None else cuts
        self.facts = FactStore(self.cuts)
        self.log = EventLog(self.owner, self.cuts)
        self.runs: dict[Entity, Run] = {}
        #: log sources that were read, by entity
        self.heard: set[tuple[Entity, str]] = set()
        self._windows: dict[tuple[Entity, str, float], Window] = {}
        self._wanted: dict[str, set[float]] = {}
        self._event_defs = event_defs

    def use(self, event_defs: Mapping[str, EventDef], windows: Iterable[WindowDef]) -> None:
        """Switch to another rule set: keep the windows that are still used."""
        self._event_defs = event_defs
        self._wanted = {}
        for window in windows:
            self._wanted.setdefault(window.signal, set()).add(window.over)
        self._windows = {k: w for k, w in self._windows.items() if k[2] in self._wanted.get(k[1], set())}

    def put(self, entity: Entity, signal: str, value: Value | Unknown, at: float, source: str) -> bool:
        """Store a value; True if that can change a verdict."""
        changed = self.facts.put(entity, signal, value, at, source)
        overs = self._wanted.get(signal)
        if overs and isinstance(value, int | float):
            for over in overs:
                key = (entity, signal, over)
                if key not in self._windows:
                    self._windows[key] = Window(over)
                self._windows[key].add(at, float(value))
            return True
        return changed

    def knows(self, entity: Entity) -> bool:
        """It has a run or facts, not events alone."""
        return entity in self.runs or bool(self.facts.of(entity))

    def owner(self, entity: Entity) -> str:
        """The user whose server it is, as far as that is known; a router's child is its router's."""
        user = self.facts.last(entity, "server.user")
        if user is None and "[" in entity.name:
            user = self.facts.last(Entity(entity.scope, entity.name.rpartition("[")[0]), "server.user")
        return str(user.value) if user is not None else entity.name

    def is_by_hand(self, entity: Entity) -> bool:
        """A server that has ended and that nothing starts again: it was in no unit and no container, and no front end held it."""
        run = self.runs.get(entity)
        last = [self.facts.last(entity, signal) for signal in ("server.unit", "server.container", "server.front_end")]
        return run is not None and run.gone and all(fact is not None and not fact.value for fact in last)

    # --- what rules may ask ---

    def fact(self, entity: Entity, signal: str, at: float) -> Fact | None:
        """A fresh fact, or None."""
        return self.facts.get(entity, signal, at)

    def facts_of(self, entity: Entity) -> Mapping[str, Fact]:
        """All facts, including expired ones."""
        return self.facts.of(entity)

    def why_missing(self, entity: Entity, signal: str, at: float) -> Unknown:
        """Why there is no value, and what would provide it."""
        return self.facts.why_missing(entity, signal, at)

    def window(self, entity: Entity, window: WindowDef, at: float) -> float | None:
        """A window reduced to a number."""
        kept = self._windows.get((entity, window.signal, window.over))
        return kept.take(window.take, at) if kept is not None else None

    def samples(self, entity: Entity, window: WindowDef, at: float) -> tuple[int, float | None]:
        """How many samples a window holds, and when the newest was taken; None where there is none."""
        kept = self._windows.get((entity, window.signal, window.over))
        return kept.held(at) if kept is not None else (0, None)

    def happened(self, entity: Entity, event: str, since: float) -> tuple[int, Event | None]:
        """How often since then, and the last."""
        return self.log.since(entity, event, since)

    def oldest(self, entity: Entity, event: str, since: float) -> float:
        """When the first of those was that happened since then; -inf if that is not certain."""
        return self.log.oldest(entity, event, since)

    def run_start(self, entity: Entity) -> float:
        """When the server's present run began; -inf for entities without runs."""
        run = self.runs.get(entity)
        return float("-inf") if run is None else run.since

    def observed(self, entity: Entity, event: str) -> Unknown | None:
        """None if the absence of this event is meaningful, else why it is not."""
        definition = self._event_defs.get(event)
        kind = definition.source if definition is not None else ""
        if kind == "llama-server":
            readable = self.facts.last(entity, "server.log_readable")
            read = (entity, kind) in self.heard if readable is None else readable.value is True
            if read:
                return None
            where = self.facts.last(entity, "server.log_where")
            if where is not None and where.value:
                return Unknown(f"its log is not read: {where.value}")
            return Unknown("its log is not read", CATALOGUE["server.log_readable"].provide)
        if kind == "kernel":
            readable = self.facts.last(HOST, "host.kernel_log_readable")
            if (HOST, kind) in self.heard or (readable is not None and readable.value is True):
                return None
            why = self.facts.last(HOST, "host.kernel_log_why")
            if why is not None and why.value:
                return Unknown(str(why.value))
            return self.facts.why_missing(HOST, "host.kernel_log_readable", float("inf"))
        return None

    def still(self, entity: Entity, events: Iterable[str]) -> EngineState:
        """What is known of an entity now, whatever is read later; of each of these events only the last."""
        kept = EngineState(self._event_defs)
        kept.facts = self.facts.still((entity, HOST))
        kept.log = self.log.still(entity, events)
        kept.heard = self.heard & {(entity, "llama-server"), (HOST, "kernel")}
        if (run := self.runs.get(entity)) is not None:
            kept.runs[entity] = replace(run)
        return kept

    def rename(self, old: Entity, new: Entity) -> set[str]:
        """Two names turn out to be one entity: move the old one's state to the new one. Returns the signals moved."""
        self.heard |= {(new, kind) for entity, kind in self.heard if entity == old}
        moved = self.facts.rename(old, new)
        self.log.rename(old, new)
        self.remove(old)
        return moved

    def remove(self, entity: Entity) -> None:
        """Drop an entity."""
        self.facts.remove(entity)
        self.log.remove(entity)
        self.runs.pop(entity, None)
        self.heard = {pair for pair in self.heard if pair[0] != entity}
        self._windows = {key: window for key, window in self._windows.items() if key[0] != entity}

    # --- checkpoint ---

    def dump(self) -> dict[str, Any]:
        """Plain data for a checkpoint. Windows start empty after a restart."""
        return {
            "facts": self.facts.dump(),
            "events": self.log.dump(),
            "runs": [_row(e, r) for e, r in self.runs.items()],
        }

    def dump_of(self, entity: Entity) -> dict[str, Any]:
        """The part of `dump` about one entity."""
        run = self.runs.get(entity)
        return {
            "facts": self.facts.dump_of(entity),
            "events": self.log.dump_of(entity),
            "runs": [] if run is None else [_row(entity, run)],
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Restore what `dump` returned."""
        self.facts.load(data.get("facts", []))
        self.log.load(data.get("events", []))
        for scope, name, start, pid, exact, gone, gone_at in data.get("runs", []):
            self.runs[Entity(scope, name)] = Run(start, pid, exact, gone, gone_at)

    def snapshot(self) -> dict[str, Any]:
        """What `dump` leaves out: it need not survive a restart, but a replay would differ without it."""
        return {
            **self.facts.dump_gaps(),
            "last_words": [[e.scope, e.name, *r.state_before] for e, r in self.runs.items() if r.state_before is not None],
            "watched": sorted([e.scope, e.name] for e, r in self.runs.items() if r.watched),
            "awaited": sorted([e.scope, e.name] for e, r in self.runs.items() if r.awaited),
            "free_since": [[e.scope, e.name, r.free_since] for e, r in self.runs.items() if r.free_since != float("-inf")],
            "heard": sorted([e.scope, e.name, kind] for e, kind in self.heard),
            "windows": [[e.scope, e.name, signal, over, w.dump()] for (e, signal, over), w in self._windows.items()],
        }

    def resume(self, data: Mapping[str, Any]) -> None:
        """Restore what `snapshot` returned, after `load`."""
        self.facts.load_gaps(data["entities"], data["unknown"])
        for scope, name in data.get("watched") or []:
            self.runs[Entity(scope, name)].watched = True
        for scope, name in data.get("awaited") or []:
            self.runs[Entity(scope, name)].awaited = True
        for scope, name, at in data.get("free_since") or []:
            self.runs[Entity(scope, name)].free_since = at
        for scope, name, said, at in data["last_words"]:
            self.runs[Entity(scope, name)].state_before = (said, at)
        self.heard = {(Entity(scope, name), kind) for scope, name, kind in data["heard"]}
        for scope, name, signal, over, samples in data["windows"]:
            if over in self._wanted.get(signal, ()):
                window = self._windows[(Entity(scope, name), signal, over)] = Window(over)
                for at, value in samples:
                    window.add(at, value)


def _row(entity: Entity, run: Run) -> list[Any]:
    return [entity.scope, entity.name, run.start, run.pid, run.exact, run.gone, run.gone_at]
