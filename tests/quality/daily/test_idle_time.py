"""A server is at rest by the processor time of its process."""

from __future__ import annotations

import pytest

from sentinel.quality.daily.idle_time import IdleTime

#: Ticks of the kernel's clock a second.
HERTZ = 100


def seen(*cpu: int, every: float = 5.0) -> float:
    """Seconds of rest after looks that found so many ticks used."""
    rest = IdleTime(HERTZ)
    for number, ticks in enumerate(cpu):
        rest.look(7, 500, ticks, number * every)
    return rest.seconds(7, (len(cpu) - 1) * every)


@pytest.mark.parametrize(
    ("cpu", "seconds"),
    [
        ([100] * 61, 300.0),
        ([100 + number // 4 for number in range(61)], 300.0),
        ([100] * 30 + [160] * 31, 150.0),
        ([100, 900, 1700, 2500], 0.0),
        ([100], 0.0),
    ],
    ids=["nothing", "asked for /health", "one short request", "works", "seen once"],
)
def test_only_work_ends_the_rest(cpu: list[int], seconds: float) -> None:
    assert seen(*cpu) == seconds


def test_another_process_of_the_same_id_begins_anew() -> None:
    rest = IdleTime(HERTZ)
    for at in range(0, 300, 5):
        rest.look(7, 500, 100, at)
    rest.look(7, 900, 100, 300)
    assert rest.seconds(7, 300) == 0.0


def test_what_was_not_watched_is_no_rest() -> None:
    rest = IdleTime(HERTZ)
    for at in (0.0, 5.0, 400.0, 405.0):
        rest.look(7, 500, 100, at)
    assert rest.seconds(7, 405.0) == 5.0


def test_a_clock_that_was_set_back_is_no_rest() -> None:
    rest = IdleTime(HERTZ)
    for at in (1000.0, 1005.0, 10.0):
        rest.look(7, 500, 100, at)
    assert rest.seconds(7, 10.0) == 0.0


def test_processes_that_ended_are_forgotten() -> None:
    rest = IdleTime(HERTZ)
    rest.look(7, 500, 100, 0.0)
    rest.keep({8})
    assert rest.seconds(7, 50.0) == 0.0
