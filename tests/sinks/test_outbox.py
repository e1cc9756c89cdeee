"""The outbox: order is kept, nothing is lost, and a sink that is down costs neither time nor memory."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_transitions import FIRING, firing, resolved

from sentinel.history import History
from sentinel.model.alert import Transition
from sentinel.sinks import Outbox, SinkDown
from sentinel.sinks.outbox import next_pause


class Recorder:
    """A sink that fails on command."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.up = True
        self.tries = 0
        self.got: list[str] = []
        self.keys: list[str] = []

    def deliver(self, transition: Transition, key: str) -> None:
        self.tries += 1
        if not self.up:
            raise SinkDown("it is down")
        self.got.append(transition.summary)
        self.keys.append(key)

    def delivered(self, keys: Collection[str], since: float | None) -> frozenset[str]:
        return frozenset(keys) & frozenset(self.keys)


def put(outbox: Outbox, history: History, *transitions: Transition) -> None:
    for number, transition in zip(history.commit(transitions), transitions, strict=True):
        outbox.put(number, transition)


def numbers(first: int, last: int) -> list[str]:
    return [f"number {number}" for number in range(first, last)]


def test_only_news_is_delivered() -> None:
    """Pending ones and the end of what was only pending are for the history."""
    sink, history = Recorder(), History(None)
    outbox = Outbox([sink], history)
    quiet = [firing(1, state="pending", previous="inactive"), resolved(previous="pending")]
    put(outbox, history, *quiet, firing(2), resolved(summary="end"))
    outbox.flush(0.0)

    assert sink.got == ["number 2", "end"]
    assert outbox.next_flush() is None


def test_a_sink_that_is_down_is_tried_with_growing_pauses() -> None:
    """0.5 s, 1 s, 2 s and so on up to a minute; afterwards all arrive in order."""
    sink, history = Recorder(), History(None)
    outbox = Outbox([sink], history)
    sink.up = False
    put(outbox, history, *(firing(number) for number in range(5)))
    times = [0.0]
    for _ in range(10):
        outbox.flush(times[-1])
        due = outbox.next_flush()
        assert due is not None
        outbox.flush(due - 0.01)
        times.append(due)

    assert sink.tries == 10
    assert outbox.down() == {"recorder": "it is down"}
    assert [round(later - earlier, 3) for earlier, later in pairwise(times)] == [
        0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60,
    ]  # fmt: skip
    sink.up = True
    outbox.flush(times[-1])
    assert sink.got == numbers(0, 5)
    assert (outbox.down(), outbox.next_flush()) == ({}, None)


def test_one_sink_does_not_wait_for_another() -> None:
    """Each has its own queue."""
    down, well, history = Recorder("down"), Recorder("well"), History(None)
    outbox = Outbox([down, well], history)
    down.up = False
    put(outbox, history, firing(1))
    outbox.flush(0.0)

    assert (down.got, well.got) == ([], ["number 1"])
    assert (outbox.waiting("down"), outbox.waiting("well")) == (1, 0)


def test_memory_is_bounded_and_nothing_is_lost(tmp_path: Path) -> None:
    """What does not fit waits in the database, and comes in order."""
    sink, history = Recorder(), History(tmp_path / "history.db")
    outbox = Outbox([sink], history, limit=10)
    outbox.flush(0.0)
    sink.up = False
    put(outbox, history, *(firing(number) for number in range(35)))
    outbox.flush(0.0)
    assert outbox.waiting("recorder") == 10

    sink.up = True
    put(outbox, history, firing(35))
    outbox.flush(1.0)
    put(outbox, history, firing(36))
    outbox.flush(2.0)

    assert sink.got == numbers(0, 37)


def test_what_an_earlier_run_left_is_delivered_first(tmp_path: Path) -> None:
    """A daemon that died while journald was away tells after its restart, once."""
    sink, history = Recorder(), History(tmp_path / "history.db")
    outbox = Outbox([sink], history)
    put(outbox, history, firing(0), firing(1))
    outbox.flush(0.0)
    sink.up = False
    put(outbox, history, firing(2), firing(3))
    outbox.flush(0.0)
    history.close()

    later, history = Recorder(), History(tmp_path / "history.db")
    outbox = Outbox([later], history)
    put(outbox, history, firing(4))
    outbox.flush(0.0)

    assert later.got == numbers(2, 5)


@given(st.lists(st.one_of(st.integers(1, 7), st.booleans(), st.floats(0.1, 100.0)), max_size=40), st.integers(1, 9))
def test_order_holds_whatever_happens(steps: list[int | bool | float], limit: int) -> None:
    """Batches, outages and flushes in any order: at the end all were delivered, each once, in order."""
    sink, history = Recorder(), History(None)
    outbox = Outbox([sink], history, limit)
    now, told = 0.0, 0
    for step in steps:
        if isinstance(step, bool):
            sink.up = step
        elif isinstance(step, int):
            put(outbox, history, *(firing(number) for number in range(told, told + step)))
            told += step
        else:
            now += step
            outbox.flush(now)
    sink.up = True
    for _ in range(2):
        now += 61.0
        outbox.flush(now)

    assert sink.got == numbers(0, told)
    assert outbox.next_flush() is None


def test_a_pause_is_never_longer_than_a_minute() -> None:
    """Also after a weekend without journald."""
    assert next_pause(10**9) == 60.0
    assert next_pause(1) == 0.5


def test_a_flush_is_bounded() -> None:
    """Thousands that waited do not stop the daemon's loop; the next flush is due at once."""
    sink, history = Recorder(), History(None)
    outbox = Outbox([sink], history)
    put(outbox, history, *([FIRING] * 1000))
    outbox.flush(5.0)
    due = outbox.next_flush()

    assert len(sink.got) < 1000
    assert due is not None
    assert due <= 5.0


class _KilledBetween(Exception):
    """The daemon is gone: what follows the sink's answer does not happen."""


class _Killed(Recorder):
    """Takes a transition, and the daemon is killed before it can mark it."""

    def deliver(self, transition: Transition, key: str) -> None:
        super().deliver(transition, key)
        if len(self.got) == 3:
            raise _KilledBetween


def test_what_was_reported_just_before_a_kill_is_not_reported_again(tmp_path: Path) -> None:
    sink = _Killed("journald")
    history = History(tmp_path / "history.sqlite")
    outbox = Outbox([sink], history)
    put(outbox, history, *(firing(number) for number in range(5)))
    with pytest.raises(_KilledBetween):
        outbox.flush(0.0)

    history = History(tmp_path / "history.sqlite")
    assert [transition.summary for _, transition in history.undelivered("journald")] == numbers(2, 5)
    Outbox([sink], history).flush(0.0)

    assert sink.got == numbers(0, 5)


def test_a_sink_that_does_not_remember_is_notified_again_and_nothing_is_lost(tmp_path: Path) -> None:
    first = _Killed("journald")
    history = History(tmp_path / "history.sqlite")
    outbox = Outbox([first], history)
    put(outbox, history, *(firing(number) for number in range(5)))
    with pytest.raises(_KilledBetween):
        outbox.flush(0.0)

    second = Recorder("journald")
    Outbox([second], History(tmp_path / "history.sqlite")).flush(0.0)

    assert second.got == numbers(2, 5)
    # the same transition has the same key, so that a reader can tell
    assert second.keys[0] == first.keys[2]


def test_two_histories_give_no_transition_the_same_key(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        sink, history = Recorder(), History(tmp_path / name)
        outbox = Outbox([sink], history)
        put(outbox, history, firing(1))
        outbox.flush(0.0)
        keys += sink.keys
    assert len(set(keys)) == 2
