"""Times as people read them: local, short for today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


_DAY = "%Y-%m-%d"


def seconds_of(stamp: str | None) -> float | None:
    """A time of the JSON form as seconds since the epoch."""
    return None if stamp is None else datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def clock(at: float, now: float | None, zone: tzinfo | None, form: str = "%H:%M:%S") -> str:
    """``16:05:12`` for today, else ``2026-11-23 16:05:12``. `now` None: always with the date. `zone` None: the machine's."""
    today = now is not None and moment(now, zone, _DAY) == moment(at, zone, _DAY)
    return moment(at, zone, form if today else f"{_DAY} {form}")


def moment(at: float, zone: tzinfo | None, form: str) -> str:
    """A time in a form of strftime(3)."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime(form)
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"
