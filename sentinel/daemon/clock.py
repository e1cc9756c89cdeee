"""What time is it: seconds since the epoch that never jump while the daemon runs.

The wall clock is read once, at construction; from then on time is that reading plus the progress of CLOCK_BOOTTIME, which
counts time spent in suspend and is untouched by NTP steps and by an operator setting the date. A hold of ten seconds
therefore lasts ten seconds, whatever happens to the wall clock meanwhile. When the two have come apart, or the machine was
asleep, `lapse` says so, and the daemon begins anew with another clock. Nothing below the purity line uses this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


#: Log lines and journal entries carry the wall clock's time: farther apart than this, events would be taken for old ones. NTP
#: slews what is less than half a second. Seconds.
_APART = 5.0
#: Shorter than any suspend that matters, longer than a stall. Seconds.
_ASLEEP = 5.0


class Clock:
    """One clock for one run of the daemon. The readings of time are arguments so that tests can move them."""

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
        """Seconds since the epoch; never goes back and never jumps."""
        return self._offset + self._since_boot()

    def monotonic(self) -> float:
        """Seconds of CLOCK_BOOTTIME, for measuring how long something took."""
        return self._since_boot()

    def drift(self) -> float:
        """Seconds by which the wall clock was set ahead (or back, negative) since the start.

        Time stamps that others took from the wall clock (a journal entry, a file's mtime) are this much ahead of `now`.
        """
        return self._wall() - self.now()

    def lapse(self) -> str:
        """Why time as it is kept here is no longer that of the world, as a sentence; empty while it is."""
        if abs(drift := self.drift()) > _APART:
            return f"the clock was set {'ahead' if drift > 0 else 'back'} by {abs(drift):.0f} s"
        # CLOCK_MONOTONIC stands still while the machine is suspended (clock_gettime(2)).
        if (slept := self._since_boot() - self._awake() - self._slept) > _ASLEEP:
            return f"the machine was asleep for {slept:.0f} s"
        return ""

    def boot_id(self) -> str:
        """Identity of this boot, 32 hex digits (random(4)); a position kept from another boot's /dev/kmsg means nothing.

        Empty where /proc does not tell.
        """
        try:
            return self._boot_id.read_text(encoding="ascii").strip().replace("-", "")
        except (OSError, UnicodeDecodeError):
            return ""
