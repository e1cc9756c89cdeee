"""Who may be connected, and whose turn it is, however many users want all of it."""

from __future__ import annotations

import asyncio
from collections import Counter

from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streams import limited

from sentinel.api.places import ClientPlace, Places
from sentinel.api.turns import Turns

_USERS = st.integers(2000, 2040)


@settings(max_examples=examples(100), deadline=None)
@given(comes=st.lists(st.tuples(_USERS, st.booleans()), max_size=150))
@example(comes=[(2000 + number // 16, True) for number in range(150)])
@example(comes=[(2000 + number % 40, False) for number in range(150)])
def test_whoever_holds_the_places_another_user_gets_one(comes: list[tuple[int, bool]]) -> None:
    """Five users had all of 32 connections, 40 with one each too. Whoever has few loses none while somebody has more."""
    places = Places(share=16, in_all=64, kept=4)
    ended: list[int] = []
    for moment, (user, waits) in enumerate(comes):
        since = float(moment) if waits else None
        before = Counter(one.whose for one in places.held)
        gone = len(ended)
        places.take(ClientPlace(user, waits_since=lambda since=since: since, end=lambda user=user: ended.append(user)))  # type: ignore[misc]
        assert all(before[one] >= before[user] + 2 for one in ended[gone:])
        held = Counter(one.whose for one in places.held)
        assert len(places) <= 64
        assert max(held.values()) <= 16
    assert {user for user, _ in comes} <= {one.whose for one in places.held}

    assert places.take(ClientPlace(1000))
    for _ in range(4):
        places.take(ClientPlace(0, kept=True))
    assert sum(one.kept for one in places.held) == 4


def test_of_answers_that_nobody_reads_the_oldest_of_whoever_has_most_is_ended() -> None:
    """Sixteen users with 8 MB each were 128 MB. One who reads a little slowly loses nothing to them."""
    ended: list[str] = []

    def reading(user: int, since: float | None, unread: int) -> ClientPlace:
        return ClientPlace(user, waits_since=lambda: since, end=lambda: ended.append(f"{user}:{since}"), unread=unread)

    places = Places(share=16, in_all=64, kept=4)
    for place in (reading(1, 1.0, 10), reading(2, 3.0, 60), reading(2, 2.0, 60), reading(3, None, 70), reading(4, 4.0, 70)):
        assert places.take(place)
    places.free(200)
    assert ended == ["2:2.0", "4:4.0"]
    places.free(50)
    assert ended == ["2:2.0", "4:4.0", "2:3.0", "1:1.0"]


def test_who_asks_once_waits_for_one_answer() -> None:
    """Of ten users with ten questions each, by what their answers took; and nobody is forgotten, those who left included."""

    async def claims() -> None:
        turns, order = Turns(), list[int]()

        async def ask(user: int, seconds: float) -> None:
            async with turns.of(user, seconds):
                order.append(user)
                await asyncio.sleep(0.001)

        crowd = [asyncio.create_task(ask(2000 + number % 10, 1.0)) for number in range(100)]
        await asyncio.sleep(0)
        crowd[15].cancel()
        late = asyncio.create_task(ask(1000, 0.01))
        await late
        assert 1000 in order[:2]
        await asyncio.gather(*crowd, return_exceptions=True)
        assert Counter(order) == {1000: 1, 2005: 9, **{2000 + number: 10 for number in range(10) if number != 5}}

    limited(claims)
