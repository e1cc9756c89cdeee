"""A refusal that does not say whose fault it is (500, 404): one alert that is refused is found by what the receiver takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.notify.plan import Item, Policy, Queue, Sending

POLICY = Policy(group_wait=5, group_interval=30, first_pause=5, longest_pause=600)
HOUR, DAY = 3600.0, 86400.0


class Lab:
    """A channel, its disk, and a receiver of which a function says whether it takes a message at a time."""

    def __init__(self, takes: Callable[[tuple[int, ...], float], bool]) -> None:
        self.takes = takes
        self.queue = Queue(POLICY)
        self.now = 0.0
        self.came: dict[int, float] = {}
        self.messages: list[tuple[int, ...]] = []
        self.tries = 0
        self.worst = 0

    def put(self, number: int, mark: str | None = None) -> None:
        self.queue.put(Item(number, urgent=True, taken=self.now, mark=f"m{number}" if mark is None else mark))

    def run(self, until: float) -> None:
        """Everything that is due until then."""
        while (due := self.queue.due(quiet=False)) is not None and due <= until:
            self.now = max(self.now, due)
            sending = self.queue.next(self.now, quiet=False)
            assert sending is not None
            self.tries += 1
            if self.takes(sending.numbers, self.now):
                for number in self.queue.delivered(self.now):
                    assert number not in self.came, "twice"
                    self.came[number] = self.now
                self.messages.append(sending.numbers)
            else:
                self.queue.refused(self.now, answered=True)
            self.worst = max(self.worst, len(self.queue.aside))
        self.now = until


def poison(*bad: int) -> Callable[[tuple[int, ...], float], bool]:
    return lambda numbers, now: not set(numbers) & set(bad)


def lab(count: int, takes: Callable[[tuple[int, ...], float], bool]) -> Lab:
    one = Lab(takes)
    for number in range(1, count + 1):
        one.put(number)
    return one


@pytest.mark.parametrize("bad", [1, 2, 77, 200])
def test_one_of_200_is_found_in_minutes_and_the_others_come_in_their_order(bad: int) -> None:
    one = lab(200, poison(bad))
    one.run(600.0)
    # The last one shows itself when another has come.
    one.put(201)
    one.run(660.0)

    assert one.queue.aside == {bad}
    came = [number for message in one.messages for number in message]
    assert sorted(came) == [n for n in range(1, 202) if n != bad]
    # One alone shows that the receiver works: it may overtake what is at fault, and nothing else.
    assert came == sorted(came)


def test_the_only_alert_is_not_blamed_before_another_has_come_and_that_one_is_not_held_up() -> None:
    """Before: the second waited for as long as the first was refused, which was a day."""
    one = lab(1, poison(1))
    one.run(HOUR)
    assert not one.queue.aside

    for number in (2, 3):
        one.put(number)
        one.run(one.now + 120.0)
        assert one.came[number] <= one.now - 60.0
    assert one.queue.aside == {1}


def test_it_is_tried_again_and_comes_when_the_receiver_is_mended() -> None:
    one = lab(5, poison(3))
    one.run(HOUR)
    before = one.tries
    one.run(2 * HOUR)
    assert 5 <= one.tries - before <= 7
    one.takes = poison()
    one.run(one.now + 700.0)

    assert sorted(one.came) == [1, 2, 3, 4, 5]
    assert not one.queue.aside


def test_in_an_outage_of_an_hour_nothing_is_blamed_and_then_all_comes_in_two_messages() -> None:
    one = lab(100, lambda numbers, now: now >= HOUR)
    one.run(HOUR)
    assert one.tries < 16
    one.run(HOUR + 700.0)

    assert one.worst == 0
    assert sorted(one.came) == list(range(1, 101))
    assert len(one.messages) <= 2


def test_an_outage_while_the_one_at_fault_is_looked_for_is_an_outage() -> None:
    """It works until it has taken one, then not for an hour."""
    one = lab(100, lambda numbers, now: 50 not in numbers and not 40 <= now < HOUR)
    one.run(HOUR)
    assert one.worst == 0
    one.run(HOUR + 1800.0)

    assert one.queue.aside == {50}
    assert len(one.came) == 99


def test_the_end_of_an_alert_does_not_come_before_its_begin() -> None:
    """The first is refused alone; the next try is another alert's, not the end of the same."""
    one = Lab(poison(1))
    for number, mark in ((1, "a"), (2, "a"), (3, "b")):
        one.put(number, mark)
    one.run(600.0)
    assert one.messages == [(3,)]

    # What shows that the first is at fault frees its end, after which it is no news.
    one.put(4)
    one.run(700.0)
    assert one.messages == [(3,), (4,), (2,)]
    assert len(one.queue) == 0


def test_no_answer_is_no_evidence() -> None:
    """A refused connection, a time-out: all wait together."""
    queue = Queue(POLICY, [Item(n, urgent=True, taken=0.0, mark=f"m{n}") for n in range(1, 9)])
    now = 5.0
    for _ in range(12):
        assert queue.next(now, quiet=False) == Sending(tuple(range(1, 9)))
        queue.refused(now)
        now += 700.0


def test_a_pause_that_the_receiver_asks_for_is_kept_when_another_alert_comes() -> None:
    queue, now = Queue(POLICY, [Item(1, urgent=True, taken=0.0, mark="a")]), 5.0
    for _ in range(9):
        assert queue.next(now, quiet=False)
        queue.refused(now, 500.0, answered=True)
        due = queue.due(quiet=False)
        assert due is not None
        now, last = due, now
    queue.put(Item(2, urgent=True, taken=last + 1.0, mark="b"))
    assert queue.due(quiet=False) == last + 500.0


@settings(max_examples=examples(200))
@given(
    st.integers(2, 40),
    st.sets(st.integers(1, 40), max_size=4),
    st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 3000)), max_size=4),
    st.lists(st.floats(0, 900), max_size=40),
)
def test_whatever_is_at_fault_and_however_often_the_receiver_is_down_the_others_come_once(
    count: int, bad: set[int], outages: list[tuple[float, float]], pauses: list[float]
) -> None:
    """Time is data: alerts at any pace, outages at any time, up to four alerts that are refused."""

    def takes(numbers: tuple[int, ...], now: float) -> bool:
        return not bad & set(numbers) and not any(begin <= now < begin + length for begin, length in outages)

    one = Lab(takes)
    for number in range(1, count + 1):
        one.put(number)
        one.run(one.now + (pauses[number - 1] if number <= len(pauses) else 0.0))
    working = [n for n in range(1, count + 1) if n not in bad]
    # Everything is over; one alert more arrives now and then, as on any machine.
    one.run(max(one.now, 7000.0))
    for extra in range(101, 107):
        one.put(extra)
        one.run(one.now + 1800.0)

    assert [n for n in working if n not in one.came] == []
    assert one.queue.aside <= bad
    # Once mended, these come as well.
    bad.clear()
    one.run(one.now + HOUR)
    assert sorted(n for n in one.came if n <= 100) == list(range(1, count + 1))
