"""What one user's processes may cost before others are looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sentinel.sources.processes import examination
from sentinel.sources.processes.examination import Examinations


class Clock:
    """Of the processor and of the wall."""

    def __init__(self) -> None:
        self.now = 100.0

    def thread_time(self) -> float:
        return self.now

    monotonic = thread_time

    def taking(self, seconds: float) -> Callable[[], str]:
        def work() -> str:
            self.now += seconds
            return "read"

        return work


def test_a_start_that_took_long_is_followed_by_a_pause_of_its_user_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of 1 GB and a configuration file beside it cost the watch for starts two seconds, for each start."""
    clock, looks = Clock(), Examinations()
    monkeypatch.setattr(examination, "time", clock)
    assert looks.at_once(1001, clock.taking(0.4)) == "read"
    assert looks.at_once(1001, clock.taking(2.0)) == "read"
    assert looks.at_once(1001, clock.taking(0.0)) is None
    assert looks.begin(1001, clock.taking(0.0)) is None
    assert looks.at_once(1002, clock.taking(0.0)) == "read"
    clock.now += 10.1
    assert looks.at_once(1001, clock.taking(0.0)) == "read"


def test_what_fails_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = Clock(), Examinations()
    monkeypatch.setattr(examination, "time", clock)

    def fails() -> str:
        clock.now += 1.0
        raise OSError

    with pytest.raises(OSError):
        looks.at_once(1001, fails)
    assert looks.at_once(1001, clock.taking(0.0)) is None
