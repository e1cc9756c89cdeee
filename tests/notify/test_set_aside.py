"""An alert that a receiver refuses for what is in it: it holds up no other, is not lost, and is true when it comes."""

from __future__ import annotations

from itertools import pairwise

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.notify.plan import Item, Policy, Queue, Sending

POLICY = Policy(group_wait=5, group_interval=30, first_pause=5, longest_pause=600)
HOUR, DAY = 3600.0, 86400.0


def waiting(count: int, policy: Policy = POLICY) -> Queue:
    return Queue(policy, [Item(n, urgent=True, taken=0.0, mark=f"m{n}") for n in range(1, count + 1)])


def run(one: Queue, refused: set[int], until: float, *, now: float = 0.0) -> tuple[list[tuple[int, ...]], float]:
    """What is delivered until then, by a receiver that refuses these; and when the last came."""
    taken: list[tuple[int, ...]] = []
    last = now
    while (due := one.due(quiet=False)) is not None and due <= until:
        now = max(now, due)
        sending = one.next(now, quiet=False)
        assert sending is not None
        if refused.isdisjoint(sending.numbers):
            one.delivered(now)
            taken.append(sending.numbers)
            last = now
        else:
            one.refused(now, too_large=True)
    return taken, last


def test_of_200_alerts_with_one_that_is_refused_the_others_are_there_in_minutes() -> None:
    one = waiting(200)
    taken, last = run(one, {77}, HOUR / 2)

    assert sorted(n for message in taken for n in message) == [n for n in range(1, 201) if n != 77]
    assert one.aside == {77}
    # Before: never, until the alert was given up after a day.
    assert last < 600.0


def test_it_is_tried_alone_each_hour_and_delivered_once_the_receiver_takes_it() -> None:
    one = waiting(2)
    assert run(one, {1}, HOUR / 2)[0] == [(2,)]
    tries: list[float] = []
    while len(tries) < 3:
        due = one.due(quiet=False)
        assert due is not None
        assert one.next(due, quiet=False) == Sending((1,))
        one.refused(due, too_large=True)
        tries.append(due)
    assert [round(b - a) for a, b in pairwise(tries)] == [HOUR, HOUR]

    assert run(one, set(), DAY)[0] == [(1,)]
    assert (len(one), len(one.aside)) == (0, 0)


def test_after_a_day_it_is_given_up_which_is_reported_as_lost() -> None:
    one = waiting(2)
    run(one, {1}, HOUR)
    assert one.overdue(DAY + 1.0) == (1,)
    assert not one.aside
    assert one.due(quiet=False) is None


def test_what_comes_later_of_the_same_alert_supersedes_it() -> None:
    """That it fires must not arrive after its end."""
    one = waiting(1)
    run(one, {1}, HOUR / 2)
    one.put(Item(2, urgent=True, taken=HOUR / 2, mark="m1"))
    one.put(Item(3, urgent=True, taken=HOUR / 2, mark="m3"))

    due = one.due(quiet=False)
    assert due is not None
    assert one.next(due, quiet=False) == Sending((2, 3))
    assert one.delivered(due) == (2, 3, 1)
    assert one.due(quiet=False) is None


def test_a_receiver_that_refuses_everything_is_asked_ever_less_and_nothing_is_lost() -> None:
    """A template that it does not take: once that is mended, all come at once."""
    one = waiting(300)
    asked = 0
    now = 0.0
    while (due := one.due(quiet=False)) is not None and due <= HOUR:
        now = due
        assert one.next(now, quiet=False) is not None
        one.refused(now, too_large=True)
        asked += 1
    assert asked < 40
    assert len(one) == 300

    taken, last = run(one, set(), DAY, now=now)
    assert sorted(n for message in taken for n in message) == list(range(1, 301))
    assert last < now + 1800.0


def test_in_quiet_hours_it_is_not_tried_unless_it_is_urgent() -> None:
    one = Queue(POLICY, [Item(1, urgent=False, taken=0.0)])
    run(one, {1}, HOUR / 2)
    assert one.due(quiet=True) is None
    assert one.due(quiet=False) is not None


def test_an_outage_while_it_is_tried_again_is_an_outage() -> None:
    one = waiting(1)
    run(one, {1}, HOUR / 2)
    due = one.due(quiet=False)
    assert due is not None
    assert one.next(due, quiet=False)
    one.refused(due)
    one.put(Item(2, urgent=True, taken=due, mark="m2"))

    assert run(one, set(), due + 100.0, now=due)[0] == [(2,), (1,)]
    assert len(one) == 0


@settings(max_examples=examples(200))
@given(
    st.integers(1, 60),
    st.sets(st.integers(1, 60), max_size=6),
    st.lists(st.sampled_from(("ok", "ok", "ok", "down", "unsure", "restart")), max_size=40),
)
def test_whatever_is_refused_and_whatever_fails_beside_each_alert_comes_once(count: int, bad: set[int], ends: list[str]) -> None:
    """Then the receiver works, but for what it refuses; then it is mended."""
    disk = {n: Item(n, urgent=True, taken=0.0, mark=f"m{n}") for n in range(1, count + 1)}
    one, now = Queue(POLICY, disk.values()), 0.0
    taken: list[int] = []
    refused = bad & disk.keys()

    def turn(how: str) -> None:
        nonlocal one, now
        due = one.due(quiet=False)
        if due is None:
            return
        now = max(now, due)
        sending = one.next(now, quiet=False)
        assert sending is not None
        if how == "restart":
            one = Queue(POLICY, disk.values(), Sending(sending.numbers, repeat=True))
        elif how in ("down", "unsure"):
            (one.refused if how == "down" else one.unsure)(now)
        elif refused.isdisjoint(sending.numbers):
            for number in one.delivered(now):
                taken.append(number)
                del disk[number]
        else:
            one.refused(now, too_large=True)

    for how in ends:
        turn(how)
    for _ in range(20 * count + 50):
        turn("ok")
    assert disk.keys() == one.aside == refused
    refused = set()
    while one.due(quiet=False) is not None:
        turn("ok")
    assert sorted(taken) == list(range(1, count + 1))
