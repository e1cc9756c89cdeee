"""How readings change the state: facts from values and patterns, and when older facts become void. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sentinel.engine.facts import devices
from sentinel.engine.facts.attribution import Attribution
from sentinel.engine.facts.baselines import EVENTS as SPEED_EVENTS
from sentinel.engine.facts.baselines import Baselines
from sentinel.engine.facts.state import EngineState, Run
from sentinel.engine.log.claims import Matched
from sentinel.llama.flags import accepted, nearest, spelled
from sentinel.model.builds import BuildRange
from sentinel.model.entity import Entity, Unknown, Value
from sentinel.model.event import EventDef
from sentinel.model.reading import WATCH, ClaimedLines, LogLines, ServerFound, ServerGone
from sentinel.model.signal import SignalOrigin

_LAST_WORDS = ("stopping", "failed")
#: Processes are looked for once a second: one that its log began and that was not found by then has ended. Seconds.
_FOUND_WITHIN = 5.0
#: The library prints this in every load, llama-server's own too: draft models, and builds whose ready line is hidden.
_LIBRARY_LOADS = "library_loading"
#: A server's name and supervisor, which its next process shares with the last.
_LASTING = frozenset(
    {
        "server.unit",
        "server.user_unit",
        "server.container",
        "server.user",
        "server.host",
        "server.port",
        "server.front_end",
    }
)


class Updater:
    """Updates the engine's state. `healthy(entity)`: nothing known makes it slow. `touched(signal, entity)` is called for each
    change, `renewed(entity)` for a new run or an end, `renamed(old, new)` for a server that had a provisional name."""

    def __init__(
        self,
        state: EngineState,
        attribution: Attribution,
        baselines: Baselines,
        healthy: Callable[[Entity], bool],
        touched: Callable[[str, Entity], None],
        renewed: Callable[[Entity], None],
        renamed: Callable[[Entity, Entity], None],
    ) -> None:
        self._state = state
        self._attribution = attribution
        self._baselines = baselines
        self._healthy = healthy
        self._touched = touched
        self._renewed = renewed
        self._renamed = renamed
        #: children of routers whose failures are over: the same preset serves under another name
        self.over: list[Entity] = []

    def line(
        self, definition: EventDef, match: Matched, entity: Entity, reading: LogLines | ClaimedLines, happened: float
    ) -> None:
        """Store the facts that a pattern sets. A fact dates from its reading, not from the line: it was known from then on."""
        if entity.scope != "server" and not (definition.sets or definition.const or definition.adds):
            return
        for signal in definition.forgets:
            if self._state.facts.drop(entity, signal):
                self._touched(signal, entity)
        values: dict[str, Value | Unknown] = {}
        if definition.const:
            values |= self._constants(definition, entity, reading, happened)
        if definition.sets or definition.adds:
            values |= self._captured(definition, match.fields, entity)
        if entity.scope == "server" and definition.source == "llama-server":
            self._narrow(entity, definition.patterns[match.pattern_index].builds, values)
            if definition.name in devices.TAKEN:
                values |= devices.learn(definition.name, match.fields, self._last(entity, (devices.TABLE, devices.BACKENDS)))
        if definition.name == "argument_rejected":
            values |= _about(str(match.fields.get("what", "")))
        if definition.name == "router_child" and entity.scope == "server":
            self._spawned(entity, match.fields, reading)
        if definition.name in SPEED_EVENTS and entity.scope == "server":
            live = not reading.backlog
            values |= self._baselines.line(
                definition.name, match.fields, entity, reading.at, live=live, healthy=lambda: self._healthy(entity)
            )
        if values:
            self.values(entity, values, reading.at, reading.source)

    def _constants(
        self, definition: EventDef, entity: Entity, reading: LogLines | ClaimedLines, happened: float
    ) -> dict[str, Value]:
        """What the event says by itself."""
        values = dict(definition.const)
        run = self._state.runs.get(entity)
        state = values.get("server.state")
        before = self._state.facts.last(entity, "server.state")
        if state is not None and before is not None and before.source == reading.source and before.at > reading.at:
            # A line that waited for its author to be known: what the same log said since then is the state. A server that slept
            # half a second after a quick restart was loading for ever.
            del values["server.state"]
            state = None
        if state is not None and run is not None and _is_over(run, state, happened):
            # Its process is known to have ended; the last lines of its log are read after that, and of a start that lived for
            # 0.1 s all of them: from a container's log, over HTTP, on a busy machine.
            del values["server.state"]
        if definition.name == _LIBRARY_LOADS and "server.state" in values and not self._only_the_library_says(entity):
            del values["server.state"]
        return values

    def _captured(self, definition: EventDef, fields: Mapping[str, Value], entity: Entity) -> dict[str, Value]:
        """What the fields of the line say."""
        values = {signal: fields[name] for signal, name in definition.sets.items() if name in fields}
        for signal, name in definition.adds.items():
            more = fields.get(name)
            if isinstance(more, int | float) and not isinstance(more, bool):
                old = self._state.facts.last(entity, signal)
                base = old.value if old is not None and isinstance(old.value, int | float) else 0
                if abs(base + more) < 1 << 62:
                    # A larger number is not usable in a rule.
                    values[signal] = base + more
        return values

    def _only_the_library_says(self, entity: Entity) -> bool:
        """No line of llama-server itself gave the state in this run. Ollama's own runner prints none, load after load."""
        last = self._last(entity, ("server.state", "server.front_end"))
        return "server.state" not in last or last.get("server.front_end") == "ollama"

    def _last(self, entity: Entity, signals: tuple[str, ...]) -> dict[str, Value]:
        """The values learned before, however old."""
        found = {signal: self._state.facts.last(entity, signal) for signal in signals}
        return {signal: fact.value for signal, fact in found.items() if fact is not None}

    def _spawned(self, router: Entity, fields: Mapping[str, Value], reading: LogLines | ClaimedLines) -> None:
        """A router starts a child. The previous child for the same preset had another port and so another name: the facts from
        its log would stay for ever."""
        port = fields.get("port")
        child = self._attribution.children.of_line(router, port) if isinstance(port, int) else None
        if child is None:
            return
        of = {"server.preset": str(fields.get("name", "")), "server.router": router.name}
        facts = self._state.facts
        for earlier in [*facts.entities()]:
            if earlier != child and all((old := facts.last(earlier, s)) is not None and old.value == v for s, v in of.items()):
                self._forget(earlier, ("log",))
                self._baselines.renewed(earlier)
                self._attribution.children.follows(child, earlier)
                for signal in of:
                    facts.drop(earlier, signal)
                    self._touched(signal, earlier)
        self.values(child, of, reading.at, reading.source)

    def _narrow(self, entity: Entity, builds: BuildRange, values: dict[str, Value | Unknown]) -> None:
        """Each pattern was seen in a range of builds; together they bound the server's build."""
        if builds.low is not None:
            low = self._state.facts.last(entity, "server.build_low")
            if low is None or int(low.value) < builds.low:
                values["server.build_low"] = builds.low
        if builds.high is not None:
            high = self._state.facts.last(entity, "server.build_high")
            if high is None or int(high.value) > builds.high:
                values["server.build_high"] = builds.high

    def run_started(self, entity: Entity, at: float, read_at: float) -> None:
        """The log of a server begins a new run: facts learned from the log of the previous run are dropped."""
        run = self._state.runs.get(entity)
        if run is None:
            self._state.runs[entity] = Run(at)
        elif not run.exact or at - run.start > 10.0 or (run.gone and at > run.gone_at):
            if run.gone:
                # The new process was not scanned yet: the previous one's command line does not apply to it.
                self._forget(entity, ("process", "model"), but=_LASTING)
            watched, awaited = run.watched and not run.gone, run.watched or run.awaited
            self._state.runs[entity] = Run(at, run.pid, watched=watched, awaited=awaited, free_since=run.free_before(at))
        kept = devices.before_start(self._last(entity, (devices.TABLE,)))
        if (run := self._state.runs[entity]).gone and at <= run.gone_at:
            # The first line of a start of 0.1 s, read after its end: it is over all the same.
            kept |= {"server.state"}
        self._forget(entity, ("log",), but=kept)
        self._baselines.renewed(entity)
        if read_at >= at:
            self._renewed(entity)

    def values(self, entity: Entity, values: Mapping[str, Value | Unknown], at: float, source: str) -> None:
        """Store values that were read together."""
        for signal, value in values.items():
            if self._state.put(entity, signal, value, at, source):
                self._touched(signal, entity)
        if values.get("server.state") == "ready":
            self.over += self._attribution.children.served(entity)

    def found(self, reading: ServerFound) -> None:
        """A process is known; facts of an earlier one under the same name are dropped."""
        entity = reading.entity
        run = self._state.runs.get(entity)
        if run is None or run.pid != reading.pid or abs(run.start - reading.start_time) > 1.0 or run.gone:
            self._forget(entity, ("process", "model"))
            # Log lines wake the daemon, processes are scanned for: lines of the new run may have come before this reading.
            self._forget(entity, ("log",), before=reading.start_time)
            if run is not None and run.gone:
                self._bring_back(run, reading)
        begun = Run(reading.start_time, reading.pid, exact=True, watched=reading.source == WATCH)
        if run is not None:
            begun.free_since = run.free_before(reading.start_time)
        self._state.runs[entity] = begun
        if (makeshift := self._attribution.children.adopt(entity, reading.values)) is not None:
            # A router printed the child's lines before its process was scanned.
            self._baselines.renewed(makeshift)
            for signal in sorted(self._state.rename(makeshift, entity)):
                self._touched(signal, entity)
            self._renamed(makeshift, entity)
        self._attribution.found(entity, reading.pid, reading.start_time, reading.values)
        self.values(entity, {"server.pid": reading.pid, "server.start_time": reading.start_time}, reading.at, reading.source)
        self.values(entity, reading.values, reading.at, reading.source)
        self._renewed(entity)

    def ends_run(self, reading: ServerFound | ServerGone) -> bool:
        """The process that is known of the server has ended."""
        run = self._state.runs.get(reading.entity)
        if isinstance(reading, ServerGone):
            return run is not None and run.pid == reading.pid
        return run is not None and (run.pid != reading.pid or abs(run.start - reading.start_time) > 1.0)

    def gone(self, reading: ServerGone) -> None:
        """A process has ended; its facts stay until another takes its name."""
        run = self._state.runs.get(reading.entity)
        if run is None or run.pid != reading.pid:
            return
        state = self._state.facts.last(reading.entity, "server.state")
        run.gone, run.gone_at = True, reading.at
        # What `_bring_back` put there was not said by this process.
        run.state_before = None if state is None or state.source == reading.source else (state.value, state.at)
        self._attribution.gone(reading.entity, reading.pid, reading.at)
        self.values(reading.entity, {"server.state": "exited"}, reading.at, reading.source)
        self._renewed(reading.entity)

    def not_found(self, at: float) -> None:
        """A run that its log began, and whose process nobody found, was over before anybody looked."""
        for entity, run in self._state.runs.items():
            if run.awaited and not run.exact and not run.gone and at - run.start > _FOUND_WITHIN:
                run.gone, run.gone_at = True, at
                self.values(entity, {"server.state": "exited"}, at, WATCH)
                self._renewed(entity)

    def _bring_back(self, old: Run, reading: ServerFound) -> None:
        """After a quick restart the new process may be ready before one scan finds the old one gone and the new one there:
        restore what its log reported until then, which the end of the old process overwrote."""
        state = self._state.facts.last(reading.entity, "server.state")
        if state is None or state.value != "exited":
            return
        before = old.state_before
        # The last words of the old one may be read after the new one began: in the log they come first.
        if before is not None and before[1] >= reading.start_time and before[0] not in _LAST_WORDS:
            self.values(reading.entity, {"server.state": before[0]}, reading.at, reading.source)
        elif self._state.facts.drop(reading.entity, "server.state"):
            self._touched("server.state", reading.entity)

    def _forget(
        self,
        entity: Entity,
        origins: tuple[SignalOrigin, ...],
        before: float | None = None,
        but: frozenset[str] = frozenset(),
    ) -> None:
        # Sorted: the order of a set of strings differs between processes, and the order of verdicts must not depend on that.
        for signal in sorted(self._state.facts.forget(entity, origins, before, but)):
            self._touched(signal, entity)


def _about(flag: str) -> dict[str, Value | Unknown]:
    """Facts about a refused flag: the first and last build that take it, and its nearest spelling."""
    builds = accepted(spelled(flag))
    if builds is None:
        none = Unknown(f"no build of llama.cpp that sentinel knows takes {flag:.60}")
        return {"server.refused_flag_from": none, "server.refused_flag_to": none, "server.refused_flag_near": nearest(flag)}
    still = Unknown("the newest build that sentinel knows takes it")
    return {
        "server.refused_flag_from": builds.low or 0,
        "server.refused_flag_to": still if builds.high is None else builds.high,
        "server.refused_flag_near": "",
    }


def _is_over(run: Run, state: Value, happened: float) -> bool:
    """The state that a line reports is of a process that has ended: the present one, or the one before it."""
    if run.gone and (state in _LAST_WORDS or happened <= run.gone_at):
        return True
    return run.exact and happened < run.since
