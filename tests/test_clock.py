"""The daemon's clock: it goes on evenly, whatever is done to the wall clock."""

from __future__ import annotations

import re
import time
from pathlib import Path

from sentinel.clock import Clock


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


def test_the_real_clock_is_close_to_the_wall() -> None:
    """And the boot has an identity."""
    clock = Clock()

    assert abs(clock.now() - time.time()) < 1.0
    assert re.fullmatch("[0-9a-f]{32}", clock.boot_id())
