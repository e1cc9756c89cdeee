"""The only consumer of the inbox: steps the engine, commits its transitions, and notifies the sinks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from sentinel.api.event_stream import Broadcaster
from sentinel.api.turns import LOOP_TURNS
from sentinel.daemon.clock import Clock
from sentinel.daemon.inbox import Inbox, QueuedReading
from sentinel.daemon.log_followers import Logs
from sentinel.engine.alerts.silences import Silence
from sentinel.engine.checkpoint_time import SHORT, postpone, rebase, rebase_silences, set_by
from sentinel.engine.engine import Engine
from sentinel.engine.operator import RESTARTS
from sentinel.engine.rules.ruleset import RuleSet
from sentinel.files.machine import host_name
from sentinel.history import History
from sentinel.model.alert import Transition
from sentinel.model.cuts import Cuts
from sentinel.model.entity import Entity
from sentinel.model.json_form import transition_to_dict
from sentinel.model.reading import Event, Tick
from sentinel.model.text import escape
from sentinel.recording.flight_recorder import FlightRecorder
from sentinel.sinks import Outbox

#: A busy server prints all the time; what a less frequent checkpoint loses is read from the log again. Seconds.
_CHECKPOINT_EVERY = 5.0
#: The longest that the engine holds the event loop while the inbox has more; a batch of a log file takes 10 to 20 ms. Without
#: this limit a flood of 200,000 lines delayed requests on the socket by 3.6 s. Seconds.
_SLICE = 0.01
#: Key of what is saved of one entity. A checkpoint writes those that changed: with all that was known in each, 100 transitions a
#: second of 1,500 servers wrote 900 MB/s.
_PART = "entity:"
#: What a file that was damaged, or edited by hand, may raise.
_BROKEN = (
    msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
#: Reasons of the transitions that answer a person, or `sentinel cure`.
_DECIDED = ("acknowledged", "forgotten", *RESTARTS.values())
log = structlog.get_logger("sentinel")


class Consumer:
    """Owns the engine. `alive` is called after each tick it processed, `started` when a log reports a server's start."""

    def __init__(
        self,
        ruleset: RuleSet,
        inbox: Inbox,
        history: History,
        outbox: Outbox,
        broadcaster: Broadcaster,
        logs: Logs,
        clock: Clock,
        alive: Callable[[], None],
        recorder: FlightRecorder | None = None,
        started: Callable[[], None] = lambda: None,
        cuts: Cuts | None = None,
    ) -> None:
        self._cuts = Cuts() if cuts is None else cuts
        self.engine = Engine(ruleset, time.perf_counter, self._cuts)
        #: transitions since the start, by rule and new state
        self.transition_counts: Counter[tuple[str, str]] = Counter()
        #: delay between the last tick and its processing, in seconds
        self.lag = 0.0
        self._inbox = inbox
        self._history = history
        self._outbox = outbox
        self._broadcaster = broadcaster
        self._logs = logs
        self._clock = clock
        self._alive = alive
        self._recorder = recorder
        self._started = started
        self._checkpointed = 0.0
        self._changed = False
        self._flush_timer: asyncio.TimerHandle | None = None
        #: baselines that changed since the last checkpoint
        self._baselines: dict[tuple[str, int], tuple[float, str] | None] = {}
        #: time of the newest tick that the engine has processed
        self._looked = clock.now()

    async def run(self) -> None:
        """Consume until cancelled, or until the clock is invalid: later readings are discarded."""
        # What an earlier run committed but did not deliver.
        self.flush()
        while True:
            transitions: list[Transition] = []
            taken = await self._inbox.take()
            if self._clock.lapse():
                return
            begun = time.perf_counter()
            for item in taken:
                transitions += self._step(item)
                if time.perf_counter() - begun > _SLICE:
                    self._deliver(transitions)
                    transitions = []
                    for _ in range(LOOP_TURNS):
                        await asyncio.sleep(0)
                    begun = time.perf_counter()
            self._deliver(transitions)

    def use(self, ruleset: RuleSet) -> None:
        """Replace the rules."""
        now = self._clock.now()
        if self._recorder is not None:
            self._recorder.rules_changed(ruleset, now)
        self._deliver(self.engine.use(ruleset, now))

    def silenced(self, silence: Silence) -> None:
        """A silence was set or expired: it is on disk before the client gets its answer."""
        self._changed = True
        now = self._clock.now()
        if self._recorder is not None:
            self._recorder.silence_changed(silence, self.engine, now)
        self._deliver(self.engine.silence(silence, now), at_once=True)

    def decided(self, event: Event) -> list[Transition]:
        """What a person decided, or `sentinel cure` for one: it is on disk before the client gets its answer."""
        transitions = self._step(QueuedReading(event))
        self._deliver(transitions, at_once=True)
        return [one for one in transitions if one.reason in _DECIDED]

    def restore(self) -> None:
        """Resume an earlier run's state, shifted to this run's clock."""
        seconds = self._restore_state()
        self._restore_baselines()
        saved = self._history.checkpoint("silences")
        if saved is None:
            return
        try:
            self.engine.silences.load(rebase_silences(msgspec.json.decode(saved), seconds))
        except _BROKEN as error:
            log.warning(f"cannot load the silences of an earlier run: {_why(error)}")

    def _restore_state(self) -> float:
        """Returns by how many seconds the wall clock was set since."""
        saved = self._history.checkpoint("state")
        if saved is None:
            return 0.0
        try:
            state: dict[str, Any] = msgspec.json.decode(saved)
            if "engine" not in state:
                state["engine"] = self._parts()
            engine, seconds = self._carried_over(state)
            self.engine.load(engine)
            self._logs.restore(state["positions"], state["cursors"])
        except _BROKEN as error:
            log.warning(f"cannot load the state of an earlier run, starting with an empty one: {_why(error)}")
            self.engine = Engine(self.engine.ruleset, time.perf_counter, self._cuts)
            return 0.0
        return seconds

    def _parts(self) -> dict[str, Any]:
        """What is saved of each entity, as `Engine.dump` returned all of it once. A part that is broken is left out."""
        whole: dict[str, Any] = {"version": 1, "facts": [], "events": [], "runs": [], "alerts": []}
        for key, value in self._history.checkpoints(_PART).items():
            try:
                part = {name: list(rows) for name, rows in msgspec.json.decode(value).items() if name in whole}
                Engine(self.engine.ruleset).load({**{name: [] for name in whole}, **part, "version": 1})
            except _BROKEN as error:
                name = escape(key.removeprefix(_PART))[:80]
                log.warning(f"cannot load what an earlier run knew of {name}, starting without it: {_why(error)}")
                continue
            for name, rows in part.items():
                whole[name] += rows
        return whole

    def _carried_over(self, state: dict[str, Any]) -> tuple[dict[str, Any], float]:
        engine: dict[str, Any] = state["engine"]
        saved = state.get("clock")
        if saved is None:
            # Written by a version that stored no time.
            return engine, 0.0
        now = self._clock.now()
        seconds = set_by(saved, now, self._clock.monotonic(), self._clock.boot_id())
        if seconds:
            log.info(f"the clock was set {'ahead' if seconds > 0 else 'back'} by {abs(seconds):.0f} s: timers and silences go on")
            engine = rebase(engine, seconds)
        blind = now - float(saved["looked"]) - seconds
        return (postpone(engine, blind) if blind > SHORT else engine), seconds

    def _restore_baselines(self) -> None:
        speeds = self.engine.baselines
        try:
            rows = [[c, depth, at, msgspec.json.decode(samples)] for c, depth, at, samples in self._history.baselines()]
            speeds.learned(rows)
        except _BROKEN as error:
            log.warning(f"cannot load the usual speeds of an earlier run, learning them again: {_why(error)}")
        speeds.on_change = self._learned

    def _learned(self, configuration: str, depth: int, row: list[Any] | None) -> None:
        self._changed = True
        self._baselines[configuration, depth] = None if row is None else (row[0], msgspec.json.encode(row[1]).decode())

    def close(self) -> None:
        """Save the state and deliver what can be delivered."""
        if self._recorder is not None:
            self._recorder.close()
        self._checkpoint([])
        self._outbox.flush(self._clock.now())

    def flush(self) -> None:
        """Deliver what is pending, and schedule the retry of a failed sink."""
        now = self._clock.now()
        self._outbox.flush(now)
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        due = self._outbox.next_flush()
        if due is not None:
            self._flush_timer = asyncio.get_running_loop().call_later(max(0.05, due - now), self.flush)

    def _step(self, item: QueuedReading) -> list[Transition]:
        reading = item.reading
        if self._recorder is not None:
            self._recorder.before(self.engine, reading.at)
        heard = self.engine.intake.starts_heard
        transitions = self.engine.step(reading, None if self._recorder is None else self._recorder.claim)
        if self.engine.intake.starts_heard != heard:
            self._started()
        if self._recorder is not None:
            self._recorder.after(reading, transitions)
        if isinstance(reading, Tick):
            self._looked = reading.at
            self.lag = max(0.0, self._clock.now() - reading.at)
            self._alive()
        if item.taken is not None:
            item.taken()
            self._changed = True
        return transitions

    def _deliver(self, transitions: list[Transition], *, at_once: bool = False) -> None:
        """Commit, then deliver: everything delivered is on disk, and everything on disk will be delivered."""
        due = at_once or (self._changed and self._clock.now() - self._checkpointed >= _CHECKPOINT_EVERY)
        if transitions or due:
            ids = self._checkpoint(transitions)
            self.transition_counts.update((t.rule, t.state) for t in transitions)
            for number, transition in zip(ids, transitions, strict=True):
                self._outbox.put(number, transition)
                self._broadcaster.publish("transition", transition_to_dict(transition, host_name()), number)
        if transitions:
            self.flush()

    def _checkpoint(self, transitions: list[Transition]) -> list[int]:
        """Commit transitions with the resulting state in one transaction; without the state while a log is partly processed."""
        self._checkpointed = self._clock.now()
        silences = {"silences": msgspec.json.encode(self.engine.silences.dump())}
        baselines, self._baselines = self._baselines, {}
        if self._logs.in_midst:
            return self._history.commit(transitions, silences, baselines)
        self._changed = False
        clock = {
            "at": self._clock.now(),
            "since_boot": self._clock.monotonic(),
            "boot_id": self._clock.boot_id(),
            "looked": self._looked,
        }
        state = {"clock": clock, "positions": self._logs.positions, "cursors": self._logs.cursors}
        parts = {f"{_PART}{entity}": self._part(entity) for entity in self.engine.changed()}
        return self._history.commit(transitions, {"state": msgspec.json.encode(state), **silences, **parts}, baselines)

    def _part(self, entity: Entity) -> bytes | None:
        part = self.engine.dump_of(entity)
        return None if part is None else msgspec.json.encode(part)


def _why(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
