"""Whose turn it is: answers are made one at a time, and the next is for the user who will have had least of the daemon's time.

In the order of their coming a user who asks on sixteen connections has sixteen turns for one of everybody else's, and forty users
who ask for all signals keep one who asks for the alerts waiting for forty large answers. This is weighted fair queueing, by what
such an answer took the last time: a user who comes has had as much as whoever is served, and saves nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

from sentinel.model.shares import owner


class Turns:
    """One at a time."""

    def __init__(self) -> None:
        self._is_taken = False
        #: what the one who is served, or was last, had had before
        self._now = 0.0
        #: seconds that users have had, of those who have had more than that
        self._had: dict[int, float] = {}
        #: who waits, each turn with the seconds that it should take
        self._waiting: dict[int, deque[tuple[float, asyncio.Future[None]]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, user: int, seconds: float) -> AsyncIterator[None]:
        """A turn of this user's, which should take so long."""
        whose = owner(user)
        await self._wait(whose, seconds)
        before = max(self._had.get(whose, 0.0), self._now)
        self._now = before
        begin = time.monotonic()
        try:
            yield
        finally:
            self._had[whose] = before + time.monotonic() - begin
            self._pass_on()

    async def _wait(self, whose: int, seconds: float) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append((seconds, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # It was given the turn in the same moment.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            whose = min(self._waiting, key=lambda one: max(self._had.get(one, 0.0), self._now) + self._waiting[one][0][0])
            turns = self._waiting[whose]
            _, turn = turns.popleft()
            if not turns:
                del self._waiting[whose]
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._is_taken = False
        self._had = {whose: had for whose, had in self._had.items() if had > self._now}
