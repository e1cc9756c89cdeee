"""Lets the hold times of pending alerts elapse where a log ends. Pure."""

from __future__ import annotations

from sentinel.engine.alerts.lifecycle import NEVER
from sentinel.engine.engine import Engine
from sentinel.model.alert import Transition
from sentinel.model.reading import Tick

#: Seconds between steps while no alert is pending. A log with 70 ends takes 2.2 s of CPU, with a step for each second 3.9 s.
_COARSE = 10


def run_out(engine: Engine, at: float) -> list[Transition]:
    """Let hold times elapse: the log ended, the condition did not. Quiet times do not: what came after is unknown."""
    out: list[Transition] = []
    last = int(longest(engine))
    until, pending = NEVER, True

    def after(second: int) -> int:
        # What fires for the age of an event does so within seconds; later only a pending alert may fire.
        return second + 1 if second < _COARSE or pending else min(second + _COARSE, last)

    second = after(0)
    while second <= last:
        # The last step before a change counts, too: what ends says what it said then.
        if second < last and at + after(second) < until:
            engine.skip(at + second)
        else:
            out += [t for t in engine.step(Tick(at + second)) if t.state == "firing"]
            until = engine.worklist.unchanged_until()
            pending = any(record.state == "pending" for record in engine.book.open())
        second = after(second) if second < last else last + 1
    return out


def longest(engine: Engine) -> float:
    """Seconds after which no alert is pending any more."""
    return int(max((r.rule.hold for r in engine.ruleset.rules.values()), default=0.0) + engine.inhibition.longest) + 1.0
