"""What a channel sends and when: bursts, quiet hours, failures, restarts at any point. Nothing is lost, nothing comes twice."""

from __future__ import annotations

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.notify.plan import MOST_IN_ONE, Item, Policy, Queue, Sending

POLICY = Policy(group_wait=5, group_interval=30, first_pause=5, longest_pause=600)


def queue(*items: Item, sending: Sending | None = None, policy: Policy = POLICY) -> Queue:
    return Queue(policy, items, sending)


def test_a_burst_becomes_one_message_five_seconds_after_its_first_alert() -> None:
    one = queue(*(Item(n, urgent=True, taken=n / 10) for n in range(1, 40)))

    assert one.next(5.0, quiet=False) is None
    assert one.next(5.1, quiet=False) == Sending(tuple(range(1, 40)))


def test_the_next_message_waits_for_half_a_minute() -> None:
    one = queue(Item(1, urgent=True, taken=0))
    assert one.next(5.0, quiet=False)
    assert one.delivered(6.0) == (1,)
    one.put(Item(2, urgent=True, taken=7))

    assert one.due(quiet=False) == 36.0
    assert one.next(36.0, quiet=False) == Sending((2,))


def test_while_a_try_is_under_way_there_is_no_other() -> None:
    one = queue(Item(1, urgent=True, taken=0))
    assert one.next(5.0, quiet=False)
    one.put(Item(2, urgent=True, taken=6))

    assert one.next(1000.0, quiet=False) is None
    assert one.due(quiet=False) is None


def test_in_quiet_hours_only_what_is_urgent_is_sent_and_the_rest_is_a_digest_at_their_end() -> None:
    one = queue(
        Item(1, urgent=False, taken=0, held=True), Item(2, urgent=True, taken=1), Item(3, urgent=False, taken=2, held=True)
    )

    assert one.next(10.0, quiet=True) == Sending((2,))
    assert one.delivered(11.0) == (2,)
    assert one.next(5000.0, quiet=True) is None
    assert one.next(5000.0, quiet=False) == Sending((1, 3), digest=True)


def test_what_failed_before_quiet_hours_is_not_tried_in_them() -> None:
    one = queue(Item(1, urgent=False, taken=0))
    assert one.next(5.0, quiet=False)
    one.unsure(6.0)

    assert one.due(quiet=True) is None
    assert one.due(quiet=False) == 11.0


def test_pauses_double_up_to_ten_minutes_and_a_delivery_ends_them() -> None:
    one, now, pauses = queue(Item(1, urgent=True, taken=0)), 5.0, []
    for _ in range(10):
        assert one.next(now, quiet=False)
        one.refused(now)
        due = one.due(quiet=False)
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert one.next(now, quiet=False)
    one.delivered(now)
    one.put(Item(2, urgent=True, taken=now))
    assert one.due(quiet=False) == now + 30


def test_a_receiver_may_ask_for_a_longer_pause_within_reason() -> None:
    one = queue(Item(1, urgent=True, taken=0))
    for asked, given_ in ((120.0, 120.0), (99999.0, 600.0)):
        at = one.due(quiet=False)
        assert at is not None
        assert one.next(at, quiet=False)
        one.refused(at, asked)
        assert one.due(quiet=False) == at + given_


def test_what_was_refused_goes_out_together_with_what_came_since() -> None:
    """After an outage of an hour: one message, not hundreds."""
    one = queue(Item(1, urgent=True, taken=0))
    assert one.next(5.0, quiet=False)
    assert one.refused(6.0) is None
    one.put(Item(2, urgent=True, taken=7))

    assert one.next(12.0, quiet=False) == Sending((1, 2))


def test_what_may_have_arrived_goes_out_as_it_was() -> None:
    one = queue(Item(1, urgent=True, taken=0))
    assert one.next(5.0, quiet=False)
    assert one.unsure(6.0) == Sending((1,), repeat=True)
    one.put(Item(2, urgent=True, taken=7))
    assert one.next(11.0, quiet=False) == Sending((1,), repeat=True)
    # Refused this time, which says nothing of the first try.
    assert one.refused(12.0) == Sending((1,), repeat=True)
    assert one.next(30.0, quiet=False) == Sending((1,), repeat=True)


def test_what_is_too_old_and_the_oldest_of_too_much_are_given_up() -> None:
    one = queue(*(Item(n, urgent=True, taken=float(n)) for n in range(1, 11)), policy=Policy(keep=100, most=8))

    assert one.overdue(50.0) == (1, 2)
    assert one.overdue(104.5) == (3, 4)
    assert len(one) == 6


def test_what_is_left_of_a_message_after_some_of_it_was_given_up_is_another_message() -> None:
    one = queue(Item(1, urgent=True, taken=0), Item(2, urgent=True, taken=50), policy=Policy(keep=100))
    assert one.next(60.0, quiet=False) == Sending((1, 2))
    one.unsure(61.0)

    assert one.overdue(120.0) == (1,)
    assert one.sending is None
    assert one.next(120.0, quiet=False) == Sending((2,))


def test_a_message_is_bounded() -> None:
    one = queue(*(Item(n, urgent=True, taken=0) for n in range(1, 501)))
    first = one.next(5.0, quiet=False)
    assert first is not None
    assert first.numbers == tuple(range(1, MOST_IN_ONE + 1))


def test_a_receiver_that_refuses_a_message_for_its_size_gets_smaller_ones() -> None:
    """Else a burst beyond what a chat takes would be refused for a day, and then given up."""
    one = queue(*(Item(n, urgent=True, taken=0) for n in range(1, 9)))
    tried: list[int] = []
    taken: list[int] = []
    now = 5.0
    while len(one):
        sending = one.next(now, quiet=False)
        assert sending is not None
        tried.append(len(sending.numbers))
        if len(sending.numbers) > 2:
            one.refused(now, too_large=True)
        else:
            taken += one.delivered(now)
        now += 1000
    assert tried == [8, 4, 2, 3, 1, 2, 3, 1, 2]
    assert taken == list(range(1, 9))


def test_what_is_refused_for_its_size_is_not_tried_again_as_it_was() -> None:
    """A proxy that only closes the connection may stand before what says why."""
    one = queue(*(Item(n, urgent=True, taken=0) for n in range(1, 5)))
    assert one.next(5.0, quiet=False)
    one.unsure(6.0)
    assert one.next(100.0, quiet=False) == Sending((1, 2, 3, 4), repeat=True)
    assert one.refused(101.0, too_large=True) is None
    assert one.next(1000.0, quiet=False) == Sending((1, 2))


def test_a_message_whose_alerts_are_gone_is_not_resumed() -> None:
    assert queue(sending=Sending((7,), repeat=True)).next(100.0, quiet=False) is None


class Receiver:
    """The other end, and the disk: what a channel must not lose is what was put."""

    def __init__(self) -> None:
        self.disk: dict[int, Item] = {}
        self.under_way: Sending | None = None
        self.messages: list[tuple[int, ...]] = []
        self.now = 0.0
        self.quiet = False
        self.put = 0
        self.queue = Queue(POLICY)

    def restart(self) -> None:
        """SIGKILL, and the next run: what was under way may have arrived."""
        under_way = self.under_way and Sending(self.under_way.numbers, self.under_way.digest, repeat=True)
        items = [Item(i.number, i.urgent, self.now, i.held) for i in self.disk.values()]
        self.queue = Queue(POLICY, items, under_way)

    def turn(self, how: str) -> None:
        """Send what is due next; `how` it ends."""
        due = self.queue.due(quiet=self.quiet)
        self.now = self.now if due is None else max(self.now, due)
        sending = self.queue.next(self.now, quiet=self.quiet)
        if sending is None:
            return
        self.under_way = sending
        if how == "killed before":
            self.restart()
            return
        if how in ("delivered", "unsure, arrived", "killed after"):
            self.messages.append(sending.numbers)
        if how == "killed after":
            self.restart()
        elif how == "delivered":
            for number in self.queue.delivered(self.now):
                del self.disk[number]
            self.under_way = None
        elif how == "refused":
            self.under_way = self.queue.refused(self.now)
        else:
            self.under_way = self.queue.unsure(self.now)


ENDS = ("delivered", "refused", "unsure, arrived", "unsure, not arrived", "killed before", "killed after")
PUT = st.tuples(st.just("put"), st.sampled_from((1, 2, 3, 300)), st.booleans())
TURN = st.tuples(st.just("turn"), st.sampled_from(ENDS), st.none())
#: Mostly alerts and tries: what goes wrong is a matter of their order.
STEPS = st.one_of(
    *(PUT, PUT, PUT, TURN, TURN, TURN, TURN, TURN),
    st.tuples(st.just("wait"), st.floats(0, 700), st.none()),
    st.tuples(st.just("quiet"), st.booleans(), st.none()),
    st.tuples(st.just("kill"), st.none(), st.none()),
)


@settings(max_examples=examples(300))
@given(st.lists(STEPS, min_size=5, max_size=60))
def test_nothing_is_lost_and_nothing_comes_twice_but_the_same_message(steps: list[tuple[str, object, object]]) -> None:
    """Storms, failures of every kind, kills at any point; then the receiver works and all quiet hours are over."""
    it = Receiver()
    for what, first, second in steps:
        if what == "put":
            for _ in range(int(str(first))):
                it.put += 1
                item = Item(it.put, urgent=bool(second), taken=it.now, held=it.quiet and not second)
                it.disk[item.number] = item
                it.queue.put(item)
        elif what == "wait":
            it.now += float(str(first))
        elif what == "quiet":
            it.quiet = bool(first)
        elif what == "turn":
            it.turn(str(first))
        else:
            it.restart()
    it.quiet = False
    while it.queue.due(quiet=False) is not None:
        it.turn("delivered")

    assert it.disk == {}
    different = set(it.messages)
    reported = [number for message in different for number in message]
    assert sorted(reported) == list(range(1, it.put + 1))


@settings(max_examples=examples(100))
@given(st.lists(st.floats(0, 20), min_size=1, max_size=80))
def test_a_working_receiver_has_every_alert_within_35_seconds(pauses: list[float]) -> None:
    """Five to group and thirty since the message before, however fast they come."""
    it, late = Receiver(), 0.0
    taken: dict[int, float] = {}
    for pause in pauses:
        until = it.now + pause
        while (due := it.queue.due(quiet=False)) is not None and due <= until:
            it.turn("delivered")
            late = max(late, *(it.now - taken[n] for n in it.messages[-1]))
        it.now = until
        it.put += 1
        item = Item(it.put, urgent=True, taken=it.now)
        taken[it.put] = it.now
        it.disk[it.put] = item
        it.queue.put(item)

    assert late <= 35.0
