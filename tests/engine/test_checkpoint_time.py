"""State that goes over to another calendar, or over a time in which nobody looked: timers go on, nothing fires by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from switch_rules import SERVER, Story, Switch, rules

from sentinel.api.event_stream import Broadcaster
from sentinel.daemon.clock import Clock
from sentinel.daemon.consumer import Consumer
from sentinel.daemon.inbox import Inbox
from sentinel.daemon.log_followers import Logs
from sentinel.engine.checkpoint_time import postpone, rebase, rebase_silences, set_by
from sentinel.history import History
from sentinel.model.reading import Samples, Tick
from sentinel.rulefiles.testing.readings import EPOCH
from sentinel.sinks import Outbox

#: A number that holds until it is read again, and so outlives any pause.
SLOW = Switch("slow", "server.ctx_requested", hold="60s", keep_firing_for="60s")
DAY = 86400.0


def carried(story: Story, change: Any) -> Story:
    """Another engine with the state as a checkpoint on disk would give it back, changed."""
    after = Story(*story.switches.values())
    after.engine.load(change(json.loads(json.dumps(story.engine.dump()))))
    return after


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_a_hold_goes_on_where_it_stood_when_the_clock_was_set(seconds: float) -> None:
    story = Story(SLOW)
    story.turn(0, slow=True)
    story.until(1, 40)
    after = carried(story, lambda state: rebase(state, seconds))
    after.until(seconds + 41, seconds + 59)
    assert after.told() == []
    after.until(seconds + 60, seconds + 70)
    assert after.told() == [(seconds + 60, "slow", "firing")]


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_an_open_alert_and_its_keep_go_on_too(seconds: float) -> None:
    story = Story(SLOW)
    story.turn(0, slow=True)
    story.until(1, 60)
    story.turn(70, slow=False)
    story.until(71, 100)
    after = carried(story, lambda state: rebase(state, seconds))
    (record,) = after.engine.book.open()
    assert (record.state, record.life.since) == ("firing", EPOCH + 60 + seconds)
    after.until(seconds + 101, seconds + 140)
    assert after.told() == [(seconds + 130, "slow", "resolved")]


def test_a_silence_of_an_hour_lasts_an_hour() -> None:
    story = Story(SLOW)
    story.engine.silences.add("slow", "", EPOCH, 3600, "maintenance", "root")
    after = Story(SLOW)
    after.engine.silences.load(rebase_silences(story.engine.silences.dump(), -DAY))
    (silence,) = after.engine.silences.all()
    assert (silence.at, silence.until) == (EPOCH - DAY, EPOCH - DAY + 3600)


def test_time_in_which_nobody_looked_does_not_count_as_a_hold() -> None:
    """Suspended for eight hours a second after it began, a condition of a minute has not been seen for a minute."""
    story = Story(SLOW)
    story.turn(0, slow=True)
    story.until(1, 20)
    after = carried(story, lambda state: postpone(state, 28_800))
    after.until(28_821, 28_859)
    assert after.told() == []
    after.until(28_860, 28_870)
    assert after.told() == [(28_860, "slow", "firing")]


def test_an_alert_does_not_end_by_itself_while_nobody_looks() -> None:
    story = Story(SLOW)
    story.turn(0, slow=True)
    story.until(1, 61)
    story.turn(70, slow=False)
    story.until(71, 80)
    after = carried(story, lambda state: postpone(state, 28_800))
    after.until(28_881, 28_929)
    assert after.told() == []
    after.until(28_930, 28_940)
    assert after.told() == [(28_930, "slow", "resolved")]


def test_how_far_the_clock_was_set_is_known_from_the_clock_of_the_boot() -> None:
    saved = {"at": 1000.0, "since_boot": 50.0, "boot_id": "b"}
    assert set_by(saved, 1010.0, 60.0, "b") == 0.0
    assert set_by(saved, 1011.5, 60.0, "b") == 0.0, "two readings and NTP's slewing are not one moment"
    assert set_by(saved, 1010.0 + DAY, 60.0, "b") == DAY
    assert set_by(saved, 1010.0 - DAY, 60.0, "b") == -DAY
    # After another boot a later time is how long the machine was off; an earlier one cannot be.
    assert set_by(saved, 1000.0 + DAY, 5.0, "c") == 0.0
    assert set_by(saved, 400.0, 5.0, "c") == -600.0
    assert set_by(saved | {"boot_id": ""}, 1000.0 + DAY, 5.0, "") == 0.0


class World:
    """A machine whose clocks a test moves, and one daemon's consumer after the other on it."""

    def __init__(self, folder: Path) -> None:
        self.wall, self.boot, self.awake = EPOCH, 50.0, 50.0
        self._history = folder / "history.sqlite"
        (folder / "boot_id").write_text("b\n")
        self._boot_id = folder / "boot_id"

    def pass_by(self, seconds: float) -> None:
        self.wall, self.boot, self.awake = self.wall + seconds, self.boot + seconds, self.awake + seconds

    def consumer(self) -> tuple[Consumer, Inbox, Clock]:
        clock = Clock(lambda: self.wall, lambda: self.boot, self._boot_id, lambda: self.awake)
        inbox, history = Inbox(), History(self._history)
        logs = SimpleNamespace(positions={}, cursors={}, in_midst=set(), restore=lambda _positions, _cursors: None)
        outbox = Outbox([], history)
        ready = Consumer(rules(SLOW), inbox, history, outbox, Broadcaster(), cast(Logs, logs), clock, lambda: None)
        ready.restore()
        return ready, inbox, clock


async def _take(consumer: Consumer) -> bool:
    """Whether the consumer has ended by itself once it had taken what there was."""
    task = asyncio.create_task(consumer.run())
    for _ in range(10):
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return ended


@pytest.mark.parametrize("what", ["set back", "set ahead", "asleep"])
def test_a_clock_that_was_set_or_a_machine_that_slept_ends_the_run_and_the_next_goes_on(tmp_path: Path, what: str) -> None:
    """What came after it is not judged in the old calendar."""

    async def story() -> None:
        world = World(tmp_path)
        consumer, inbox, clock = world.consumer()
        inbox.offer(Samples(clock.now(), "test", SERVER, {"server.ctx_requested": 1}))
        assert not await _take(consumer)
        for _ in range(20):
            world.pass_by(1.0)
            inbox.offer(Tick(clock.now()))
        assert not await _take(consumer)

        if what == "asleep":
            world.wall, world.boot = world.wall + DAY, world.boot + DAY
        else:
            world.wall += DAY if what == "set ahead" else -DAY
        inbox.offer(Tick(clock.now()))
        assert await _take(consumer)
        assert [r.state for r in consumer.engine.book.open()] == ["pending"]
        consumer.close()

        consumer, inbox, clock = world.consumer()
        (record,) = consumer.engine.book.open()
        assert record.state == "pending"
        assert clock.now() - record.life.since == pytest.approx(20.0)
        for _ in range(39):
            world.pass_by(1.0)
            inbox.offer(Tick(clock.now()))
        await _take(consumer)
        assert [r.state for r in consumer.engine.book.open()] == ["pending"]
        world.pass_by(2.0)
        inbox.offer(Tick(clock.now()))
        await _take(consumer)
        assert [r.state for r in consumer.engine.book.open()] == ["firing"]

    asyncio.run(story())
