"""Turns by what each user had: time as data, seconds of the daemon's."""

from __future__ import annotations

import asyncio
import time

import pytest

from sentinel.api.turns import LOOP_TURNS, Turns


@pytest.mark.parametrize("longer", [1.0, 2.5, 20.0])
def test_a_question_that_takes_longer_has_its_turn_too(longer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once another user has had as much: before, it waited for as long as that user asked, if it took more than twice as long."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    order: list[int] = []

    async def ask(turns: Turns, user: int, seconds: float) -> None:
        nonlocal now
        async with turns.of(user, seconds):
            order.append(user)
            now += seconds
            await asyncio.sleep(0)

    async def ask_again_and_again(turns: Turns) -> None:
        while 2 not in order and len(order) < 100:
            await ask(turns, 1, 1.0)

    async def claims() -> None:
        turns = Turns()
        crowd = [asyncio.create_task(ask_again_and_again(turns)) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.gather(ask(turns, 2, longer), *crowd)

    asyncio.run(claims())
    assert 2 in order
    assert order.index(2) <= longer + 2


def test_who_connects_while_a_crowd_waits_has_the_next_turn() -> None:
    """Its request is read after turns of the loop that its connection takes. Before, each was one more answer to wait for."""
    order: list[int] = []

    async def ask(turns: Turns, user: int, seconds: float) -> None:
        async with turns.of(user, seconds):
            order.append(user)
            await asyncio.sleep(0)

    async def claims() -> None:
        turns = Turns()
        crowd = [asyncio.create_task(ask(turns, user, 1.0)) for user in range(2000, 2020)]
        while not order:
            await asyncio.sleep(0)
        for _ in range(LOOP_TURNS):
            await asyncio.sleep(0)
        await asyncio.gather(ask(turns, 1000, 0.01), *crowd)

    asyncio.run(claims())
    assert order.index(1000) <= 2
