"""The event stream goes on where a client was, over a real socket and a real history file, also with another daemon."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_transitions import firing
from streams import limited

from sentinel.api.client import Stream
from sentinel.api.event_stream import Broadcaster, Past
from sentinel.api.server import ApiServer
from sentinel.api.socket import listen
from sentinel.history import History
from sentinel.model.json_form import transition_to_dict


class Life:
    """One life of a daemon, as far as its events go."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.events = Broadcaster(Past(history.epoch, history.last_id, self._published))

    def _published(self, number: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        return [(one, transition_to_dict(transition)) for one, transition in self.history.following(number, limit)]

    def tell(self, numbers: Iterable[int]) -> None:
        """As the consumer does: commit, then publish."""
        transitions = [firing(number) for number in numbers]
        for one, transition in zip(self.history.commit(transitions), transitions, strict=True):
            self.events.publish("transition", transition_to_dict(transition), one)


@asynccontextmanager
async def life(folder: Path) -> AsyncIterator[Life]:
    history = History(folder / "history.sqlite")
    one = Life(history)
    listener = listen(folder / "s")
    server = ApiServer({}, one.events, on_bug=lambda error: pytest.fail(repr(error)))
    await server.start(listener.socket)
    try:
        yield one
    finally:
        await server.close()
        listener.close()
        history.close()


class Listening:
    """A client on a thread: reads until it has `count` transitions, then goes, or until the stream ends."""

    def __init__(self, folder: Path, last_event_id: str = "", count: int = 1_000_000) -> None:
        self.stream = Stream([folder / "s"], last_event_id)
        self.count = count
        self.names: list[str] = []
        self.seen: list[int] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for name, data in self.stream:
            self.names.append(name)
            if name == "transition":
                self.seen.append(int(data["summary"].removeprefix("number ")))
            if len(self.seen) >= self.count:
                return

    async def end(self) -> None:
        await asyncio.to_thread(self._thread.join, 20)
        assert not self._thread.is_alive()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within 20 s")


def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_happens(tmp_path: Path) -> None:
    """Several pages of the history and the live events behind them: each once, in order."""

    async def claims() -> None:
        async with life(tmp_path) as daemon:
            before = Listening(tmp_path, count=3)
            await until(lambda: "hello" in before.names)
            daemon.tell(range(3))
            await before.end()
            daemon.tell(range(3, 140))
            after = Listening(tmp_path, before.stream.last_event_id, count=150)
            await until(lambda: len(daemon.events) == 1)
            daemon.tell(range(140, 153))
            await after.end()
            assert before.seen == [0, 1, 2]
            assert after.seen == list(range(3, 153))
            assert after.names[0] == "hello"
            assert set(after.names) == {"hello", "transition"}

    limited(claims)


def test_it_goes_on_with_the_next_daemon(tmp_path: Path) -> None:
    """What was reported between the last event and the end, and by the new daemon before the client was there."""

    async def claims() -> None:
        async with life(tmp_path) as daemon:
            client = Listening(tmp_path, count=2)
            await until(lambda: "hello" in client.names)
            daemon.tell(range(2))
            await client.end()
            daemon.tell([2])
        async with life(tmp_path) as daemon:
            daemon.tell([3])
            again = Listening(tmp_path, client.stream.last_event_id, count=3)
            await until(lambda: len(again.seen) == 2)
            daemon.tell([4])
            await again.end()
            assert again.seen == [2, 3, 4]

    limited(claims)


def test_who_heard_only_hello_misses_nothing_either(tmp_path: Path) -> None:
    async def claims() -> None:
        async with life(tmp_path) as daemon:
            daemon.tell(range(5))
            client = Listening(tmp_path)
            await until(lambda: "hello" in client.names)
            daemon.events.close()
            await client.end()
            assert client.seen == []
            daemon.tell([5])
            again = Listening(tmp_path, client.stream.last_event_id, count=1)
            await again.end()
            assert again.seen == [5]

    limited(claims)


@pytest.mark.parametrize("given_id", ["0-99999", "nonsense", "0-1", "--", "1", "0-" + "9" * 60, "é-1"])
def test_an_id_of_another_history_is_reported_as_a_gap(tmp_path: Path, given_id: str) -> None:
    """And from there on it is well: the gap has an id of its own."""

    async def claims() -> None:
        async with life(tmp_path) as daemon:
            daemon.tell(range(3))
            client = Listening(tmp_path, given_id, count=1)
            await until(lambda: "gap" in client.names)
            daemon.tell([3])
            await client.end()
            assert (client.names, client.seen) == (["hello", "gap", "transition"], [3])
            assert client.stream.last_event_id == f"{daemon.history.epoch}-4"

    limited(claims)


def test_a_number_that_was_not_given_out_yet_is_a_gap(tmp_path: Path) -> None:
    """The disk lost what was reported last; the numbers are given out again."""

    async def claims() -> None:
        async with life(tmp_path) as daemon:
            daemon.tell(range(3))
            client = Listening(tmp_path, f"{daemon.history.epoch}-7")
            await until(lambda: "gap" in client.names)
            daemon.events.close()
            await client.end()
            assert client.seen == []

    limited(claims)


def test_what_is_not_kept_any_more_is_reported_as_a_gap(tmp_path: Path) -> None:
    """Before what is kept, which comes then."""

    async def claims() -> None:
        async with life(tmp_path) as daemon:
            daemon.tell(range(10))
            daemon.history.prune(firing(9).at or 0.0, rows=4)
            epoch = daemon.history.epoch
            pruned = Listening(tmp_path, f"{epoch}-3", count=4)
            await pruned.end()
            assert (pruned.names[:2], pruned.seen) == (["hello", "gap"], [6, 7, 8, 9])
            kept = Listening(tmp_path, f"{epoch}-7", count=3)
            await kept.end()
            assert (kept.names[1], kept.seen) == ("transition", [7, 8, 9])
            daemon.history.prune(firing(9).at or 0.0, rows=0)
            nothing = Listening(tmp_path, f"{epoch}-7")
            await until(lambda: "gap" in nothing.names)
            daemon.events.close()
            await nothing.end()

    limited(claims)


def test_a_history_that_is_set_aside_begins_another_row_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    first = History(path)
    epoch = first.epoch
    assert first.epoch == epoch
    first.close()
    assert History(path).epoch == epoch
    path.write_bytes(b"no database" * 1000)
    (tmp_path / "history.sqlite-wal").unlink(missing_ok=True)
    assert History(path).epoch != epoch


@settings(max_examples=examples(150), deadline=None)
@given(
    steps=st.lists(st.one_of(st.integers(0, 5), st.just("drop"), st.just("restart")), max_size=25),
    page=st.integers(1, 4),
)
def test_whatever_the_order_of_drops_restarts_and_events_each_comes_once(steps: list[int | str], page: int) -> None:
    """A client that is cut, and a daemon that is restarted, at any moment between events."""
    history = History(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentinel.api.event_stream._PAGE", page)
        one = Life(history)
        seen: list[str] = []
        told, last = 0, ""
        subscription = one.events.subscribe()
        for step in [*steps, "drop"]:
            if step == "restart":
                one = Life(history)
            if step in ("drop", "restart"):
                # Only what came through before the cut was seen.
                for part in subscription.missed:
                    last = _taken(part, seen) or last
                subscription = one.events.subscribe(last)
            else:
                one.tell(range(told, told + int(step)))
                told += int(step)
        for part in subscription.missed:
            _taken(part, seen)
    assert seen == [f"number {number}" for number in range(told)]


def _taken(part: bytes, seen: list[str]) -> str:
    fields = dict(line.split(": ", 1) for line in part.decode().strip().splitlines())
    if fields["event"] == "transition":
        seen.append(fields["data"].split('"summary": "')[1].split('"')[0])
    assert fields["event"] != "gap"
    return fields.get("id", "")
