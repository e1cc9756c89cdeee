"""Who asks for series: one question of a user at a time, however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sentinel.api.routes import Request
from sentinel.api.series_handlers import Plotting
from sentinel.history.series import Series


def test_questions_of_one_user_are_answered_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that comes when a turn has ended and the next has not begun; another user does not wait for them."""
    plotting = Plotting(Series(None), lambda: 1_796_000_000.0)
    busy: dict[int, int] = {1: 0, 2: 0}
    most: dict[int, int] = {1: 0, 2: 0}
    both = 0

    async def answer(query: Mapping[str, str], _signal: str) -> Mapping[str, Any]:
        nonlocal both
        user = int(query["points"])
        busy[user] += 1
        most[user] = max(most[user], busy[user])
        both += all(busy.values())
        await asyncio.sleep(0)
        busy[user] -= 1
        return {}

    async def ask(user: int) -> None:
        for _ in range(20):
            await plotting.series(Request(query={"points": str(user)}, uid=user))

    async def all_of_them() -> None:
        await asyncio.gather(*(ask(user) for user in (1, 1, 1, 2)))

    monkeypatch.setattr(plotting, "_answer", answer)
    asyncio.run(all_of_them())
    assert most == {1: 1, 2: 1}
    assert both > 0
    assert plotting._turns == {}
