"""The daemon's clock: seconds since the epoch that never jump while it runs.

The wall clock is read once, at construction; from then on time is that reading plus the progress of CLOCK_BOOTTIME, which
includes suspend and ignores NTP steps and manual changes of the date. A hold of ten seconds therefore lasts ten seconds,
whatever happens to the wall clock. When the two have diverged, or the machine was suspended, `lapse` returns why, and the
daemon restarts with a new clock. Nothing below the purity line uses this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


#: Log lines and journal entries carry wall-clock time: beyond this divergence, new events would look old. NTP slews offsets
#: below half a second. Seconds.
_APART = 5.0
#: Shorter than any suspend that matters, longer than a scheduling stall. Seconds.
_ASLEEP = 5.0


class Clock:
    """The clock of one run of the daemon. Its time sources are arguments, so that tests can move them."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = _since_boot,
        boot_id: Path = BOOT_ID,
        awake: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._since_boot = since_boot
        self._awake = awake
        self._boot_id = boot_id
        self._offset = wall() - since_boot()
        self._slept = since_boot() - awake()

    def now(self) -> float:
        """Seconds since the epoch; monotonic, without jumps."""
        return self._offset + self._since_boot()

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME, to measure durations."""
        return self._since_boot()

    def drift(self) -> float:
        """Seconds by which the wall clock was set forward (negative: back) since the start.

        Wall-clock timestamps of others (a journal entry, a file's mtime) are this much ahead of `now`.
        """
        return self._wall() - self.now()

    def lapse(self) -> str:
        """Why this clock is no longer valid, as a sentence; empty while it is valid."""
        if abs(drift := self.drift()) > _APART:
            return f"the clock was set {'ahead' if drift > 0 else 'back'} by {abs(drift):.0f} s"
        # CLOCK_MONOTONIC stops while the machine is suspended (clock_gettime(2)).
        if (slept := self._since_boot() - self._awake() - self._slept) > _ASLEEP:
            return f"the machine was asleep for {slept:.0f} s"
        return ""

    def boot_id(self) -> str:
        """Id of this boot, 32 hex digits (random(4)); a position saved in another boot's /dev/kmsg is meaningless.

        Empty where /proc does not have it.
        """
        try:
            return self._boot_id.read_text(encoding="ascii").strip().replace("-", "")
        except (OSError, UnicodeDecodeError):
            return ""
