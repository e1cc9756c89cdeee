"""Storms, failures and kills at any point, with the state in its real file: all that is streamed arrives once under one key."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_transitions import FIRING

from sentinel.api.follow import Heard, Standing
from sentinel.model.json_form import iso, transition_to_dict
from sentinel.notify import build
from sentinel.notify.channel import Now, Result
from sentinel.notify.choice import Filter
from sentinel.notify.message import Message
from sentinel.notify.outcome import DELIVERED, Outcome
from sentinel.notify.plan import Policy
from sentinel.notify.quiet import Quiet
from sentinel.notify.settings import Channel, Config
from sentinel.notify.store import Store

ALERT = transition_to_dict(FIRING)
#: Each change is synced, a thousand of them in this test: a disk takes half a minute for what memory takes at once.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class AtOnce:
    """In place of a channel's thread: a try ends before the loop goes on, and its result waits in the inbox."""

    def __init__(self, name: str, inbox: queue.Queue[Any]) -> None:
        self._name, self._inbox = name, inbox

    def start(self, job: Callable[[], Outcome]) -> None:
        self._inbox.put(Result(self._name, job()))


class Receiver:
    """Takes, refuses, or says nothing after it took or did not take."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.messages: dict[str, list[tuple[str, str, str]]] = {}
        self.keys: list[str] = []

    def send(self, message: Message) -> Outcome:
        if self.mode in ("ok", "taken in silence"):
            reported = [(a["fingerprint"], a["state"], a["at"]) for a in message.alerts]
            assert self.messages.setdefault(message.key, reported) == reported
            self.keys.append(message.key)
        return {"ok": DELIVERED, "refuses": Outcome("refused", "no")}.get(self.mode, Outcome("unsure", "silence"))


class World:
    """A daemon's history, and `sentinel notify` that reads it; it may be killed after any turn of its loop."""

    def __init__(self, folder: Path, before: int) -> None:
        self.folder = folder
        self.history: list[dict[str, Any]] = []
        self.open: dict[str, dict[str, Any]] = {}
        self.receiver = Receiver()
        self.now = 0.0
        for mark in range(before):
            self.happens(mark)
        self.start()
        # From here on nothing may be lost: the list of what is open is on disk.
        self.turn()

    def happens(self, mark: int) -> None:
        """An alert begins, or ends."""
        name = f"f{mark}"
        state, previous = ("resolved", "firing") if name in self.open else ("firing", "pending")
        at = iso(1795449912.0 + len(self.history))
        change = {**ALERT, "fingerprint": name, "state": state, "previous": previous, "at": at}
        self.history.append(change)
        if state == "firing":
            self.open[name] = change
        else:
            del self.open[name]

    def start(self) -> None:
        channel = Channel(
            name="c", kind="command", chosen=Filter(), policy=Policy(group_wait=1, group_interval=1, first_pause=1),
            quiet=Quiet(), urgent=frozenset(),
        )  # fmt: skip
        self.store = Store(self.folder)
        config = Config(Path("x"), "host", "", "", (channel,))
        self.service = build.service(config, self.store, lambda *_: None, lambda _: self.receiver)
        self.service._clock = lambda: Now(self.now, self.now)
        for line in self.service.lines:
            line.restore(Now(self.now, self.now))
        self.read = int(self.store.meta("cursor").partition("-")[2] or -1)
        if self.read < 0:
            self.read = len(self.history)
            at = iso(1795449912.0 + self.read - 0.5) or ""
            self.service.inbox.put(Standing(f"e-{self.read}", at, [{**a, "since": a["at"]} for a in self.open.values()]))

    def kill(self) -> None:
        self.store.close()
        self.start()

    def turn(self) -> None:
        """A second later the follower puts what it has read, and the loop turns once."""
        self.now += 1
        for change in self.history[self.read : self.read + 3]:
            self.read += 1
            self.service.inbox.put(Heard(f"e-{self.read}", change))
        self.service.turn(at_most=0)


HAPPENS, TURN, KILL = (
    st.tuples(st.just("happens"), st.integers(0, 3)),
    st.tuples(st.just("turn"), st.just(1)),
    st.just(("kill", 0)),
)
STEPS = st.one_of(
    *(HAPPENS, HAPPENS, HAPPENS, TURN, TURN, TURN, TURN, KILL),
    st.tuples(st.just("wait"), st.just(700)),
    st.tuples(st.just("mode"), st.sampled_from(("ok", "ok", "refuses", "taken in silence", "silence"))),
)


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, 3), st.lists(STEPS, min_size=30, max_size=80))
def test_all_that_the_stream_has_arrives_once_and_in_order(before: int, steps: list[tuple[str, Any]]) -> None:
    """`before`: alerts that fire already when it is started for the first time."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=MEMORY) as name:
        patch.setattr("sentinel.notify.channel.Worker", AtOnce)
        world = World(Path(name), before)
        first = list(world.history)
        for what, value in steps:
            if what == "happens":
                world.happens(value)
            elif what == "turn":
                world.turn()
            elif what == "wait":
                world.now += value
            elif what == "mode":
                world.receiver.mode = value
            else:
                world.kill()
        world.receiver.mode = "ok"
        for _ in range(200):
            world.now += 700
            world.turn()
        waiting = len(world.service.lines[0]._queue)
        world.store.close()

    reported = [one for key in dict.fromkeys(world.receiver.keys) for one in world.receiver.messages[key]]
    expected = [(a["fingerprint"], a["state"], a["at"]) for a in [*first, *world.history[before:]]]
    assert waiting == 0
    assert reported == expected
