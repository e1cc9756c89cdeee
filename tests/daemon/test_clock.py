"""The daemon's clock: it goes on evenly, whatever is done to the wall clock."""

from __future__ import annotations

import re
import time
from pathlib import Path

from sentinel.daemon.clock import Clock


def test_time_does_not_jump_with_the_wall_clock(tmp_path: Path) -> None:
    """An operator sets the date back by a day: time goes on by what really passed, and the drift is known."""
    wall, boot = [1000.0], [50.0]
    clock = Clock(lambda: wall[0], lambda: boot[0], tmp_path / "none")
    assert (clock.now(), clock.monotonic()) == (1000.0, 50.0)

    boot[0] += 10.0
    wall[0] -= 86400.0

    assert clock.now() == 1010.0
    assert clock.drift() == -86410.0
    assert clock.boot_id() == ""


def test_a_clock_that_was_set_and_a_machine_that_slept_are_known(tmp_path: Path) -> None:
    """What NTP slews is neither."""
    wall, boot, awake = [1000.0], [50.0], [50.0]
    clock = Clock(lambda: wall[0], lambda: boot[0], tmp_path / "none", lambda: awake[0])
    wall[0], boot[0], awake[0] = 2000.4, 1050.0, 1050.0
    assert clock.lapse() == ""
    wall[0] += 3600.0
    assert clock.lapse() == "the clock was set ahead by 3600 s"
    wall[0] -= 7200.0
    assert clock.lapse() == "the clock was set back by 3600 s"
    wall[0] += 3600.0 + 28800.0
    boot[0] += 28800.0
    assert clock.lapse() == "the machine was asleep for 28800 s"


def test_the_real_clock_is_close_to_the_wall() -> None:
    """And the boot has an identity."""
    clock = Clock()

    assert abs(clock.now() - time.time()) < 1.0
    assert re.fullmatch("[0-9a-f]{32}", clock.boot_id())
