"""Whose fault refusals are: the receiver's, or one alert's. Pure.

An answer like 500, 404 or 403 may mean that the receiver is broken, or that it cannot take one alert (a web application firewall
answers 403 to a command in a text). The answer alone does not say which; what it does with other alerts does:

- after a few refusals one alert is tried alone, each time another, in their order;
- once one is taken, the receiver works, and a refusal after that is a reason to look for the alert in it, by halves;
- an alert is at fault when it was refused alone and the receiver took another one before that and after it.

While it takes nothing, nothing is blamed: an outage costs no alert its place for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

#: Refusals in a row after which alerts are tried alone: with the usual pauses that is after 35 seconds.
_ENOUGH = 3


class Blame:
    """What one channel's receiver refused and took, as far as it says who is at fault."""

    def __init__(self) -> None:
        self._refusals = 0
        #: refused alone since the last delivery; True: the receiver had taken another one shortly before
        self._alone: dict[int, bool] = {}
        #: it took an alert after it had refused some
        self._works = False

    @property
    def tries_alone(self) -> bool:
        """Refused often enough that alerts are tried alone."""
        return self._refusals >= _ENOUGH

    def choose(self, ready: Sequence[int], mark_of: Callable[[int], str]) -> int | None:
        """The alert to try alone now; None: all, as usual. Never one whose alert has an earlier transition that is skipped."""
        if not self.tries_alone:
            return None
        skipped = {mark_of(number) for number in self._alone if number in ready} - {""}
        for number in ready:
            if number not in self._alone and mark_of(number) not in skipped:
                return number
        self._alone = {number: before for number, before in self._alone.items() if before}
        return None

    def refused(self, numbers: Sequence[int]) -> Literal["half", "other", "wait"]:
        """It answered, and did not take these. What to try next, and soon: half of them, another one; else nothing is clear."""
        if len(numbers) > 1:
            self._refusals += not self._works
            return "half" if self._works else "wait"
        first = numbers[0] not in self._alone
        self._alone[numbers[0]] = self._alone.get(numbers[0], False) or self._works
        if len(self._alone) > 1:
            # Two different ones in a row: rather the receiver than both.
            self._works = False
        # What was taken before speaks for the receiver: another one is tried at once, not after some more refusals.
        self._refusals = max(self._refusals + 1, _ENOUGH if self._works else 0)
        return "other" if first and self._works else "wait"

    def failed(self) -> None:
        """It did not answer: that is its own fault."""
        self._works = False

    def taken(self, *, rest: bool) -> tuple[int, ...]:
        """It took something; `rest`: others wait. Returns the alerts that are at fault."""
        guilty = tuple(number for number, before in self._alone.items() if before)
        self._works = rest and (self._works or self.tries_alone)
        self._refusals, self._alone = 0, {}
        return guilty
