"""Whose turn it is: answers are made one at a time, and the next is for the user who will have had least of the daemon's time.

In the order of their coming a user who asks on sixteen connections has sixteen turns for one of everybody else's, and forty users
who ask for all signals keep one who asks for the alerts waiting for forty large answers. This is weighted fair queueing, by what
such an answer took the last time: a user who comes has had as much as whoever is served, and saves nothing up. It is settled when
the question comes, not when the next turn is given: else one that takes more than twice as long as another user's never has its
turn while that user goes on asking (20 s and more for the page, measured).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

from sentinel.model.shares import owner

#: Turns of the event loop that a request takes from its connection to where it waits for its own, and as a rule to its answer.
#: With one between two large answers of a crowd, another user waited for eight of these: 1.2 s (`make attacks`, readers).
LOOP_TURNS = 8


class Turns:
    """One at a time."""

    def __init__(self) -> None:
        self._is_taken = False
        #: what the one who is served, or was last, had had before
        self._now = 0.0
        #: seconds that users have had, of those who have had more than that
        self._had: dict[int, float] = {}
        #: for each question that waits: `_now` when it came, the seconds that its answer should take, and the turn
        self._waiting: dict[int, deque[tuple[float, float, asyncio.Future[None]]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, user: int, seconds: float) -> AsyncIterator[None]:
        """A turn of this user's, which should take so long."""
        whose = owner(user)
        came = self._now
        await self._wait(whose, came, seconds)
        before = self._had_before(whose, came)
        self._now = max(self._now, before)
        begin = time.monotonic()
        try:
            yield
        finally:
            self._had[whose] = before + time.monotonic() - begin
            self._end(LOOP_TURNS if self._waiting else 0)

    def _had_before(self, whose: int, came: float) -> float:
        """What a user had had before a turn that came then."""
        return max(self._had.get(whose, 0.0), came)

    async def _wait(self, whose: int, came: float, seconds: float) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append((came, seconds, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # It was given the turn in the same moment.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _end(self, turns: int) -> None:
        """The next begins after so many turns of the loop: whoever comes meanwhile has a say in who that is."""
        if turns:
            asyncio.get_running_loop().call_soon(self._end, turns - 1)
        else:
            self._pass_on()

    def _should_have_had(self, whose: int) -> float:
        """What a user who waits will have had after the next turn."""
        came, seconds, _ = self._waiting[whose][0]
        return self._had_before(whose, came) + seconds

    def _pass_on(self) -> None:
        while self._waiting:
            whose = min(self._waiting, key=self._should_have_had)
            turns = self._waiting[whose]
            _, _, turn = turns.popleft()
            if not turns:
                del self._waiting[whose]
            if not turn.cancelled():
                turn.set_result(None)
                return
        self._is_taken = False
        self._had = {whose: had for whose, had in self._had.items() if had > self._now}
